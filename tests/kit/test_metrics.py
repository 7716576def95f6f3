"""Figures in Prometheus' text format."""

import pytest

from kit import metrics
from kit.metrics import Counter, Gauge, Histogram


def lines(figure: metrics.Figure) -> list[str]:
    return [line for line in figure.lines() if not line.startswith("#")]


def test_a_counter_counts_by_its_labels_and_shows_zero_before_anything_happened() -> None:
    plain, labelled = Counter("test_plain_total", "Plain."), Counter("test_labelled_total", "Labelled.", "tool")
    assert (lines(plain), lines(labelled)) == (["test_plain_total 0"], [])
    labelled.add("pay")
    labelled.add("pay", by=2)
    assert lines(labelled) == ['test_labelled_total{tool="pay"} 3']


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
    assert lines(histogram) == [
        'test_seconds_bucket{outcome="approved",le="1"} 2',
        'test_seconds_bucket{outcome="approved",le="10"} 3',
        'test_seconds_bucket{outcome="approved",le="+Inf"} 4',
        'test_seconds_sum{outcome="approved"} 108.5',
        'test_seconds_count{outcome="approved"} 4',
    ]


def test_a_label_cannot_break_out_of_its_line() -> None:
    counter = Counter("test_odd_total", "Odd.", "rule")
    counter.add('args.note == "a\\b"\nfake_metric 1')
    assert lines(counter) == ['test_odd_total{rule="args.note == \\"a\\\\b\\"\\nfake_metric 1"} 1']
    assert metrics.text().count("\nfake_metric") == 0
