"""Pictures as numbers: where the bars of a chart stand. Pure; templates draw them as SVG, which needs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

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


def lengths(amounts: Sequence[str | None]) -> list[int]:
    """Of bars in a column 1000 wide, by decimal strings: the greatest fills it, what is more than nothing is seen; what
    is not known has none."""
    values = [Decimal(amount) if amount is not None else Decimal(0) for amount in amounts]
    top = max(values, default=Decimal(0))
    return [max(4, round(value / top * 1000)) if value > 0 else 0 for value in values]


def gauge(spent: str, held: str, limit: str) -> list[Part]:
    """What of a limit is spent, and what calls under way hold, on a line of 1000; never past its end."""
    whole, left, found = Decimal(limit), 1000, []
    for name, amount in (("over" if Decimal(spent) >= whole else "spent", spent), ("held", held)):
        width = min(left, max(4, round(Decimal(amount) / whole * 1000)) if Decimal(amount) > 0 and whole > 0 else 0)
        if width:
            found.append(Part(name=name, x=1000 - left, width=width))
            left -= width
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
