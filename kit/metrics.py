"""Figures of this process for `/metrics`: prometheus-client's counters, gauges and histograms, labels by position.

A figure is made once, where it is counted, and known to `text` from then on. What is true of the database is asked of
the database when somebody looks, not counted here. Counting inside a unit of writing may count a repeated unit twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds for what a machine does."""
PATIENCE = (1, 2, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
"""Bounds for what a person does, in seconds."""
LONGEST = 120
"""Characters of a label's value."""
_Metric = TypeVar("_Metric", bound=MetricWrapperBase)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Counter:
    """Only grows. Its name ends in `_total`."""

    def __init__(self, name: str, help_: str, *labels: str) -> None:
        self._name = name
        self._labels = labels
        self._metric = prometheus_client.Counter(name, help_, labels)

    def add(self, *values: str, by: float = 1) -> None:
        """`values` are the labels', in their order."""
        _one(self._metric, values).inc(by)

    def value(self, *values: str) -> float:
        """What stands there now; 0 before anything happened."""
        return _sample(self._name, self._labels, values)


class Gauge:
    """Goes up and down."""

    def __init__(self, name: str, help_: str, *labels: str) -> None:
        self._name = name
        self._labels = labels
        self._metric = prometheus_client.Gauge(name, help_, labels)

    def put(self, value: float, *values: str) -> None:
        _one(self._metric, values).set(value)

    def add(self, *values: str, by: float = 1) -> None:
        _one(self._metric, values).inc(by)

    def value(self, *values: str) -> float:
        """What stands there now."""
        return _sample(self._name, self._labels, values)

    @contextmanager
    def held(self, *values: str) -> Iterator[None]:
        """One more inside of this."""
        with _one(self._metric, values).track_inprogress():
            yield


class Histogram:
    """How many observations lie up to each bound."""

    def __init__(self, name: str, help_: str, *labels: str, bounds: Sequence[float] = SECONDS) -> None:
        self._name = name
        self._labels = labels
        self._metric = prometheus_client.Histogram(name, help_, labels, buckets=bounds)

    def observe(self, value: float, *values: str) -> None:
        _one(self._metric, values).observe(value)

    def count(self, *values: str) -> float:
        """How many observations there were."""
        return _sample(f"{self._name}_count", self._labels, values)


def text() -> str:
    """All figures of this process, in Prometheus' text format, its own use of the machine too."""
    return prometheus_client.generate_latest().decode()


def _one(metric: _Metric, values: tuple[str, ...]) -> _Metric:
    return metric.labels(*[value[:LONGEST] for value in values]) if values else metric


def _sample(name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> float:
    shown = dict(zip(labels, [value[:LONGEST] for value in values], strict=True))
    return prometheus_client.REGISTRY.get_sample_value(name, shown) or 0
