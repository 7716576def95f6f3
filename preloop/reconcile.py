"""Our book against a provider's: what differs by day and model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from preloop.exports import Key, Used

FINEST = -9
"""Digits after the point that we have: nano-dollars."""
NOTHING = Used(cost_usd=Decimal())
"""What we know of a model that nobody called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model on one day; a side that knows nothing of it has None."""

    day: str
    model: str
    ours: Used | None
    theirs: Used | None
    differs: bool


def compare(ours: Mapping[Key, Used], theirs: Mapping[Key, Used], tolerance: Decimal) -> list[Line]:
    """All lines, by day and model. `tolerance` is in percent of their figure; none of it counts where one is zero."""
    return [
        Line(
            day=key[0],
            model=key[1],
            ours=ours.get(key),
            theirs=theirs.get(key),
            differs=_differs(ours.get(key) or NOTHING, theirs.get(key) or Used(), tolerance),
        )
        for key in sorted({*ours, *theirs})
    ]


def _differs(ours: Used, theirs: Used, tolerance: Decimal) -> bool:
    """Costs are compared where they have one, at as many digits as theirs has."""
    if _apart(Decimal(ours.input), Decimal(theirs.input), tolerance):
        return True
    if _apart(Decimal(ours.output), Decimal(theirs.output), tolerance):
        return True
    if theirs.cost_usd is None:
        return False
    if ours.cost_usd is None:
        return True
    digits = max(int(theirs.cost_usd.as_tuple().exponent), FINEST)
    return _apart(ours.cost_usd.quantize(Decimal(1).scaleb(digits)), theirs.cost_usd, tolerance)


def _apart(ours: Decimal, theirs: Decimal, tolerance: Decimal) -> bool:
    return abs(ours - theirs) * 100 > tolerance * abs(theirs)


def renamed(theirs: Mapping[Key, Used], names: Mapping[str, str]) -> dict[Key, Used]:
    """Their models under our names: a dated snapshot is what we asked for by its short name."""
    found: dict[Key, Used] = {}
    for (day, model), used in theirs.items():
        key = (day, names.get(model, model))
        found[key] = found.get(key, Used()) + used
    return found
