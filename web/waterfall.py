"""Where the time of one run went: a bar each for its set-up, model calls, tool calls and waits for a person, on one
line of time. Pure: geometry and words; a template draws them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from web.format import duration

WIDTH = 1000
LEAST = 5
"""Units of a bar that took no time: it is still to be seen."""
MOST = 60
"""Bars of a picture; of more, those that go on, that failed and that took longest are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What took time. `kind` is setup, model, tool or approval; `href` leads to its row. Without `end` it goes on."""

    kind: str
    label: str
    href: str
    begin: datetime
    end: datetime | None
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of the picture; `x` and `width` are of 1000 units, `name` is what is read out instead of it."""

    kind: str
    label: str
    href: str
    x: int
    width: int
    ms: int
    open: bool
    bad: bool
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    bars: Sequence[Bar]
    more: int
    """How many others are not drawn."""
    total_ms: int


def waterfall(spans: Sequence[Span], begin: datetime, now: datetime, most: int = MOST) -> Waterfall:
    """In the order of their beginnings, from `begin` to `now`, which is the end of a run that is over."""
    end = max([now, *(span.end or now for span in spans)])
    chosen = sorted(spans, key=lambda span: (span.end is not None, not span.bad, -_ms(span.begin, span.end or end)))
    bars = [_bar(span, begin, end) for span in sorted(chosen[:most], key=lambda span: span.begin)]
    return Waterfall(bars=bars, more=len(spans) - len(bars), total_ms=_ms(begin, end))


def _bar(span: Span, begin: datetime, end: datetime) -> Bar:
    """What goes on reaches the right edge, however short the run is."""
    after, took = _ms(begin, span.begin), _ms(span.begin, span.end or end)
    scale = WIDTH / max(_ms(begin, end), 1)
    width = min(WIDTH, max(LEAST, round(took * scale)))
    x = min(round(after * scale), WIDTH - width)
    told = " and still going" if span.end is None else " failed" if span.bad else ""
    return Bar(
        kind=span.kind,
        label=span.label,
        href=span.href,
        x=x,
        width=WIDTH - x if span.end is None else width,
        ms=took,
        open=span.end is None,
        bad=span.bad,
        name=f"{span.label}: {duration(took)}{told}, {duration(after)} after the start",
    )


def _ms(begin: datetime, end: datetime) -> int:
    return max(0, round((end - begin).total_seconds() * 1000))
