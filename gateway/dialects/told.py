"""What a provider's JSON says, whatever its shape: what is not of the expected kind counts as not said.

Pure. Clients' JSON is read strictly instead (`wires/fields`); providers' answers are theirs to shape.
"""

import re
from typing import Any

from gateway.wires.neutral import Json, compact

MOST_TOKENS = 10**9
_WORD = re.compile(r"[\w.:/@+-]{1,100}", re.ASCII)


def count(told: Json, *names: str) -> int:
    """The first of some counts that is there; none is 0."""
    for name in names:
        value: Any = told.get(name)
        if type(value) is int and value > 0:
            return min(value, MOST_TOKENS)
    return 0


def inner(told: Json, *names: str) -> Json:
    """The first of some fields that is an object; none is empty."""
    for name in names:
        if isinstance(found := told.get(name), dict):
            return found
    return {}


def spoken(value: object, *names: str) -> int:
    """Bytes of all texts under some names, at any depth; an object under one of them counts as its JSON."""
    if isinstance(value, list):
        return sum(spoken(item, *names) for item in value)
    if not isinstance(value, dict):
        return 0
    return sum(_size(item, *names) if name in names else spoken(item, *names) for name, item in value.items())


def _size(value: object, *names: str) -> int:
    if isinstance(value, list):
        return spoken(value, *names)
    text = compact(value) if isinstance(value, dict) else value
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0


def word(value: object) -> str | None:
    """A name or a reason of the provider's; None where it is a text of any other kind."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def objects(value: object) -> list[Json]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
