"""Pictures as numbers: where the bars of a chart stand. Pure; templates draw them as SVG, which needs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEIGHT = 48
BAR, GAP = 20, 4
"""Together what a thumb needs: 24."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One execution: its height is its duration."""

    x: int
    y: int
    height: int


def bars(durations_ms: Sequence[int | None]) -> list[Bar]:
    """Oldest left. The longest fills the height; the shortest is still seen and can be clicked."""
    top = max((ms or 0 for ms in durations_ms), default=0) or 1
    heights = [max(6, round((ms or 0) / top * HEIGHT)) for ms in durations_ms]
    return [Bar(x=i * (BAR + GAP), y=HEIGHT - h, height=h) for i, h in enumerate(heights)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A share of a line of 1000 units."""

    name: str
    x: int
    width: int


def split(**parts_ms: int) -> list[Part]:
    """`split(queued=…, active=…, waiting=…)`: shares of one line, in order; what took time is at least visible."""
    total = sum(parts_ms.values())
    if total <= 0:
        return []
    widths = {name: max(6, round(ms / total * 1000)) for name, ms in parts_ms.items() if ms > 0}
    scale, x, found = 1000 / sum(widths.values()), 0.0, []
    for name, width in widths.items():
        found.append(Part(name=name, x=round(x), width=round(x + width * scale) - round(x)))
        x += width * scale
    return found


def shares(amounts: Mapping[str, int], whole: int) -> list[Part]:
    """What of a line of 1000 units each amount takes, one behind the other; anything is at least visible."""
    x, found = 0, []
    for name, amount in amounts.items():
        if amount > 0 and whole > 0:
            width = max(4, round(amount / whole * 1000))
            found.append(Part(name=name, x=x, width=width))
            x += width
    return found
