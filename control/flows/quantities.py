"""Durations, sizes and money as people write them in files, and back. Pure.

The types bring their JSON Schema along: text as it is written, not the number it becomes.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

NANO = 1_000_000_000
LONGEST = 366 * 86400
"""Seconds; no limit of a flow is longer than a year."""
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)")
_SIZE = re.compile(r"(\d{1,9})(m|g)")
_AMOUNT = re.compile(r"\d{1,9}(\.\d{1,9})?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | int) -> int:
    """'10m' → 600; a bare number is seconds."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _DURATION.fullmatch(str(text))
    if not found:
        raise ValueError(f"{str(text)[:40]!r} is not a duration; write 90s, 10m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def duration(whole: int) -> str:
    """600 → '10m': in the largest unit that leaves nothing over."""
    unit = next(unit for unit in ("d", "h", "m", "s") if whole % _UNITS[unit] == 0)
    return f"{whole // _UNITS[unit]}{unit}"


def mebibytes(text: str | int) -> int:
    """'2g' → bytes."""
    found = _SIZE.fullmatch(str(text))
    if not found:
        raise ValueError(f"{str(text)[:40]!r} is not a size; write 512m or 2g")
    return int(found[1]) << (20 if found[2] == "m" else 30)


def size(whole: int) -> str:
    """107374182400 → '100 GB': in the largest binary unit of which there is one, at most one decimal."""
    for shift, unit in ((40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")):
        if whole >> shift:
            return f"{whole / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{whole} bytes"


def dollars(text: object) -> int:
    """'2.00' → nano-dollars. A float would not be exact, so only text is taken."""
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueError(f'{str(text)[:40]!r} is not an amount; write it in quotes: "2.00"')
    whole, _, part = text.partition(".")
    return int(whole) * NANO + int(part.ljust(9, "0"))


def _written(pattern: str, *examples: str, bare: bool = False) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)}
    return WithJsonSchema({"anyOf": [text, {"type": "integer", "minimum": 0}]} if bare else text)


_DURATIONS = _written(_DURATION.pattern, "90s", "10m", "2h", "1d", bare=True)
Seconds = Annotated[int, BeforeValidator(seconds), Field(gt=0, le=LONGEST), _DURATIONS]
Pause = Annotated[int, BeforeValidator(seconds), Field(ge=0, le=3600), _DURATIONS]
"""Seconds, none at all or up to an hour."""
Bytes = Annotated[int, BeforeValidator(mebibytes), Field(gt=0, le=1 << 50), _written(_SIZE.pattern, "512m", "2g")]
Nano = Annotated[int, BeforeValidator(dollars), Field(ge=0), _written(_AMOUNT.pattern, "2.00")]


def usually(read: Callable[[str], int], written: str) -> Any:  # noqa: ANN401 - as pydantic's Field
    """A default that stands in the schema as it is written: `usually(seconds, "30m")`."""
    return Field(default=read(written), json_schema_extra={"default": written})
