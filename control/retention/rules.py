"""How long each class of content is kept after its execution's end, and how much of it there may be. Pure.

What an admin set for the account stands before what `[retention]` of preloop.toml says, key by key; without a number
content stays for ever.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta

from control.flows.quantities import mebibytes, size
from kit.errors import Invalid

SETTLED = timedelta(hours=1)
"""What ended later than this ago is never deleted: its lines and late results may still come."""
LONGEST = 36_500
"""Days that may be written; more is for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Days by class after the end, and the bytes of all classes together; None is no limit."""

    logs_days: int | None = None
    payloads_days: int | None = None
    results_days: int | None = None
    bodies_days: int | None = None
    keep: int | None = None

    def until(self, kind: str, now: datetime) -> datetime | None:
        """What ended before then loses its content of this class; None: nothing does."""
        days: int | None = getattr(self, f"{kind}_days")
        return None if days is None else min(now - timedelta(days=days), now - SETTLED)

    def why(self, kind: str | None) -> str:
        """The rule as the record tells it: 'logs_days = 30', 'keep = 10 GB'."""
        return f"keep = {size(self.keep or 0)}" if kind is None else f"{kind}_days = {getattr(self, f'{kind}_days')}"


def over(file: Rules, own: Mapping[str, int | None]) -> Rules:
    """The file's rules with an admin's in their place; None there is for ever, also where the file has a number."""
    return replace(file, **own)


def checked(given: Mapping[str, object]) -> dict[str, int | None]:
    """What an admin wrote, with sizes in bytes: {"logs_days": 30, "keep": "10g"}; null is for ever. Invalid names the
    key."""
    known = {field.name for field in fields(Rules)}
    if unknown := sorted(given.keys() - known):
        raise Invalid(
            "retention_invalid", f"retention has no {unknown[0][:40]!r}.", f"It has {', '.join(sorted(known))}."
        )
    return {name: _checked(name, value) for name, value in given.items()}


def _checked(name: str, value: object) -> int | None:
    if value is None:
        return None
    if name == "keep":
        try:
            found = value if isinstance(value, int) else mebibytes(str(value))
        except ValueError as error:
            raise Invalid("retention_invalid", f"retention.keep: {error}.", "null keeps everything.") from error
        if isinstance(value, bool) or not 0 < found < 1 << 60:
            raise Invalid("retention_invalid", "retention.keep must be more than nothing.", 'Write "10g", or null.')
        return found
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LONGEST:
        text = f"retention.{name} is a number of days from 1 to {LONGEST}."
        raise Invalid("retention_invalid", text, "null keeps it for ever.")
    return value


def said(rules: Rules) -> dict[str, int | None]:
    """As REST shows them."""
    return asdict(rules)
