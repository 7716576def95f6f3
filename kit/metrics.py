"""Figures of this process for `/metrics`: prometheus-client's counters, gauges and histograms, labels by position.

A figure is made once, where it is counted, and known to `text` from then on. What is true of the database is asked of
the database when somebody looks, not counted here. Counting inside a unit of writing may count a repeated unit twice.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds for what a machine does."""
PATIENCE = (1, 2, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
"""Bounds for what a person does, in seconds."""
LONGEST = 120
"""Characters of a label's value."""
PLANE = prometheus_client.CollectorRegistry()
"""What is true of the whole plane, read from its database: one role shows it, and replicas of that show the same."""
MANY = 1000
"""Additions that wait at most: summed up together they cost a fifth."""
_Metric = TypeVar("_Metric", bound=MetricWrapperBase)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class _Seen(Generic[_Metric]):
    """One figure for each set of labels that was seen: to look it up anew costs five times what counting does."""

    def __init__(self, metric: _Metric) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], _Metric] = {} if metric._labelnames else {(): metric}

    def of(self, values: tuple[str, ...]) -> _Metric:
        return self._known.get(values) or self._labelled(tuple([value[:LONGEST] for value in values]))

    def _labelled(self, values: tuple[str, ...]) -> _Metric:
        return self._known.setdefault(values, self._metric.labels(*values))


class Counter:
    """Only grows. Its name ends in `_total`."""

    def __init__(self, name: str, help_: str, *labels: str) -> None:
        self._name = name
        self._labels = labels
        self._seen = _Seen(prometheus_client.Counter(name, help_, labels))
        self._added: deque[tuple[tuple[str, ...], float]] = deque()
        _counters.append(self)

    def add(self, *values: str, by: float = 1) -> None:
        """`values` are the labels', in their order. From any thread."""
        self._added.append((values, by))
        if len(self._added) >= MANY:
            self.sum_up()

    def sum_up(self) -> None:
        """Bring what was added to where it is looked at."""
        sums: dict[tuple[str, ...], float] = {}
        with suppress(IndexError):  # none is left
            while True:
                values, by = self._added.popleft()
                sums[values] = sums.get(values, 0) + by
        for values, total in sums.items():
            self._seen.of(values).inc(total)

    def value(self, *values: str) -> float:
        """What stands there now; 0 before anything happened."""
        self.sum_up()
        return _sample(self._name, self._labels, values)


_counters: list[Counter] = []


class Gauge:
    """Goes up and down."""

    def __init__(self, name: str, help_: str, *labels: str, of_plane: bool = False) -> None:
        self._name = name
        self._labels = labels
        self._registry = PLANE if of_plane else prometheus_client.REGISTRY
        self._seen = _Seen(prometheus_client.Gauge(name, help_, labels, registry=self._registry))

    def put(self, value: float, *values: str) -> None:
        self._seen.of(values).set(value)

    def add(self, *values: str, by: float = 1) -> None:
        self._seen.of(values).inc(by)

    def value(self, *values: str) -> float:
        """What stands there now."""
        return _sample(self._name, self._labels, values, self._registry)

    @contextmanager
    def held(self, *values: str) -> Iterator[None]:
        """One more inside of this."""
        with self._seen.of(values).track_inprogress():
            yield


class Histogram:
    """How many observations lie up to each bound."""

    def __init__(self, name: str, help_: str, *labels: str, bounds: Sequence[float] = SECONDS) -> None:
        self._name = name
        self._labels = labels
        self._seen = _Seen(prometheus_client.Histogram(name, help_, labels, buckets=bounds))

    def observe(self, value: float, *values: str) -> None:
        self._seen.of(values).observe(value)

    def count(self, *values: str) -> float:
        """How many observations there were."""
        return _sample(f"{self._name}_count", self._labels, values)


def text(*, plane: bool = False) -> str:
    """All figures of this process, in Prometheus' text format, its own use of the machine too; and those of the
    `plane`, which must have been read before."""
    for counter in _counters:
        counter.sum_up()
    registries = (prometheus_client.REGISTRY, PLANE) if plane else (prometheus_client.REGISTRY,)
    return "".join([prometheus_client.generate_latest(registry).decode() for registry in registries])


def _sample(
    name: str,
    labels: tuple[str, ...],
    values: tuple[str, ...],
    registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY,
) -> float:
    shown = dict(zip(labels, [value[:LONGEST] for value in values], strict=True))
    return registry.get_sample_value(name, shown) or 0
