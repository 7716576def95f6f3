"""Arguments as typed rows for the person who decides: nothing cut silently, secrets masked by key name. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from web.format import Piece, pieces

LONG = 240
"""Characters after which a value is folded; the whole of it stays on the page."""
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token$|api[-_ ]?key|authorization|credential|private[-_ ]?key|^pin$|cvv|cvc", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One leaf of the arguments. A masked one keeps its length, so that an empty secret is seen."""

    path: list[Piece]
    kind: str
    value: list[Piece]
    size: int
    masked: bool = False

    @property
    def long(self) -> bool:
        return self.size > LONG


def rows(args: object) -> list[Argument]:
    """`{"to": {"name": "A"}, "ids": [1]}` → rows `to.name` text 'A', `ids[0]` number '1'."""
    return list(_walk(args, "", secret=False))


def _walk(value: object, path: str, *, secret: bool) -> Iterator[Argument]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            hidden = secret or bool(_SECRET.search(str(key)))
            yield from _walk(inner, f"{path}.{key}" if path else str(key), secret=hidden)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{index}]", secret=secret)
    else:
        yield _leaf(value, path, secret)


def _leaf(value: object, path: str, secret: bool) -> Argument:
    kind, text = _typed(value)
    shown = [Piece("•" * 8)] if secret else pieces(text)
    return Argument(path=pieces(path or "value"), kind=kind, value=shown, size=len(text), masked=secret)


def _typed(value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        return "yes/no", "true" if value else "false"
    if isinstance(value, int | float):
        return "number", str(value)
    if isinstance(value, str):
        return "text", value
    return ("nothing", "null") if value is None else ("empty", "{}" if isinstance(value, dict) else "[]")


def masked(value: object, *, secret: bool = False) -> object:
    """The same value with its secrets replaced, for showing JSON."""
    if isinstance(value, dict):
        return {k: masked(v, secret=secret or bool(_SECRET.search(str(k)))) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v, secret=secret) for v in value]
    return "••••••••" if secret else value
