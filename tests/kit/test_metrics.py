"""Figures in Prometheus' text format, by prometheus-client."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit import metrics
from kit.metrics import Counter, Gauge, Histogram


def lines(name: str) -> list[str]:
    return [line for line in metrics.text().splitlines() if line.startswith(name)]


def test_a_counter_counts_by_its_labels_and_shows_zero_before_anything_happened() -> None:
    Counter("test_plain_total", "Plain.")
    labelled = Counter("test_labelled_total", "Labelled.", "tool")
    assert (lines("test_plain"), lines("test_labelled")) == (["test_plain_total 0.0"], [])
    labelled.add("pay")
    labelled.add("pay", by=2)
    assert lines("test_labelled") == ['test_labelled_total{tool="pay"} 3.0']
    assert (labelled.value("pay"), labelled.value("ship")) == (3, 0)


def test_a_gauge_goes_down_again_also_after_an_error() -> None:
    gauge = Gauge("test_gauge", "Gauge.", "wire")

    def work() -> None:
        with gauge.held("older"):
            assert gauge.value("older") == 1
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert gauge.value("older") == 0


def test_a_histogram_s_buckets_hold_all_below_them() -> None:
    histogram = Histogram("test_seconds", "Seconds.", "outcome", bounds=(1, 10))
    for value in (0.5, 1, 7, 100):
        histogram.observe(value, "approved")
    assert lines("test_seconds") == [
        'test_seconds_bucket{le="1.0",outcome="approved"} 2.0',
        'test_seconds_bucket{le="10.0",outcome="approved"} 3.0',
        'test_seconds_bucket{le="+Inf",outcome="approved"} 4.0',
        'test_seconds_count{outcome="approved"} 4.0',
        'test_seconds_sum{outcome="approved"} 108.5',
    ]


def test_a_label_cannot_break_out_of_its_line_and_is_cut_when_long() -> None:
    counter = Counter("test_odd_total", "Odd.", "rule")
    counter.add('args.note == "a\\b"\nfake_metric 1')
    counter.add("x" * 500)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    said = [sample.labels["rule"] for sample in families["test_odd"].samples]
    assert said == ['args.note == "a\\b"\nfake_metric 1', "x" * metrics.LONGEST]
    assert metrics.text().count("\nfake_metric") == 0
