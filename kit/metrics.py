"""Figures of this process for `/metrics`, in Prometheus' text format: counters, gauges, histograms.

A figure is made once, where it is counted, and known to `text` from then on. What is true of the database is asked of
the database when somebody looks, not counted here. Counting inside a unit of writing may count a repeated unit twice.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bounds for what a machine does."""
PATIENCE = (1, 2, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
"""Bounds for what a person does, in seconds."""
LONGEST = 120
"""Characters of a label's value."""


class Figure(Protocol):
    name: str

    def lines(self) -> Iterator[str]: ...


_known: dict[str, Figure] = {}


class Counter:
    """Only grows."""

    kind = "counter"

    def __init__(self, name: str, help_: str, *labels: str) -> None:
        self.name = name
        self._help = help_
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}
        _known[name] = self

    def add(self, *values: str, by: float = 1) -> None:
        """`values` are the labels', in their order."""
        self._values[values] = self._values.get(values, 0) + by

    def value(self, *values: str) -> float:
        return self._values.get(values, 0)

    def lines(self) -> Iterator[str]:
        yield from _head(self.name, self._help, self.kind)
        for values, value in tuple(self._values.items()):
            yield f"{self.name}{_labelled(self._labels, values)} {value:g}"


class Gauge(Counter):
    """Goes up and down."""

    kind = "gauge"

    def put(self, value: float, *values: str) -> None:
        self._values[values] = value

    @contextmanager
    def held(self, *values: str) -> Iterator[None]:
        """One more inside of this."""
        self.add(*values)
        try:
            yield
        finally:
            self.add(*values, by=-1)


class Histogram:
    """How many observations lie up to each bound."""

    def __init__(self, name: str, help_: str, *labels: str, bounds: Sequence[float] = SECONDS) -> None:
        self.name = name
        self._help = help_
        self._labels = labels
        self._bounds = tuple(bounds)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        _known[name] = self

    def observe(self, value: float, *values: str) -> None:
        counts = self._counts.setdefault(values, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[values] = self._sums.get(values, 0) + value

    def lines(self) -> Iterator[str]:
        yield from _head(self.name, self._help, "histogram")
        for values, counts in tuple(self._counts.items()):
            total = 0
            for bound, count in zip([*map("{:g}".format, self._bounds), "+Inf"], counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_labelled((*self._labels, 'le'), (*values, bound))} {total}"
            yield f"{self.name}_sum{_labelled(self._labels, values)} {self._sums[values]:g}"
            yield f"{self.name}_count{_labelled(self._labels, values)} {total}"


def text() -> str:
    """All figures of this process."""
    return "".join(f"{line}\n" for name in sorted(_known) for line in _known[name].lines())


def _head(name: str, help_: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"


def _labelled(labels: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value[:LONGEST].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
