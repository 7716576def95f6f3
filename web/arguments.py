"""Arguments as typed rows for the person who decides: nothing cut silently, secrets masked by key name. Pure."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from web.format import Piece, pieces

MASK = "••••••••"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A leaf that is not the same in two versions; None where a version has none."""

    path: list[Piece]
    before: Argument | None
    after: Argument | None


def rows(args: object) -> list[Argument]:
    """`{"to": {"name": "A"}, "ids": [1]}` → rows `to.name` text 'A', `ids[0]` number '1'."""
    return [_leaf(value, path, secret) for path, value, secret in _walk(args, "", secret=False)]


def differences(before: object, after: object) -> list[Difference]:
    """Where two versions of arguments differ, leaf by leaf, in the order of the first."""
    old = {path: (value, secret) for path, value, secret in _walk(before, "", secret=False)}
    new = {path: (value, secret) for path, value, secret in _walk(after, "", secret=False)}
    found = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path in old and path in new and _typed(old[path][0]) == _typed(new[path][0]):
            continue
        was, now = ((_leaf(one[path][0], path, one[path][1]) if path in one else None) for one in (old, new))
        found.append(Difference(path=pieces(path or "value"), before=was, after=now))
    return found


def _walk(value: object, path: str, *, secret: bool) -> Iterator[tuple[str, object, bool]]:
    """Every leaf: its path, its value, and whether a name on the way says that it is a secret."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            hidden = secret or bool(_SECRET.search(str(key)))
            yield from _walk(inner, f"{path}.{key}" if path else str(key), secret=hidden)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{index}]", secret=secret)
    else:
        yield path, value, secret


def _leaf(value: object, path: str, secret: bool) -> Argument:
    kind, text = _typed(value)
    shown = [Piece(MASK)] if secret else pieces(text)
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
    return MASK if secret else value


def restored(value: Any, original: object, *, secret: bool = False) -> Any:  # noqa: ANN401 - a JSON value in, one out
    """`masked` undone: where a mask still stands in an edited version, the secret of the original stands again."""
    if isinstance(value, dict):
        known = original if isinstance(original, dict) else {}
        return {
            key: restored(inner, known.get(key), secret=secret or bool(_SECRET.search(str(key))))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        before = original if isinstance(original, list) else []
        return [
            restored(inner, before[at] if at < len(before) else None, secret=secret) for at, inner in enumerate(value)
        ]
    return original if secret and value == MASK else value


def editable(value: object) -> str:
    """JSON to change by hand: secrets masked, and what can't be seen or misleads written as its escape."""
    text = json.dumps(masked(value), indent=2, ensure_ascii=False)
    return "".join(_escape(piece.text) if piece.hidden else piece.text for piece in pieces(text))


def _escape(name: str) -> str:
    """'U+202E' → '\\u202e'."""
    return json.dumps(chr(int(name.removeprefix("U+"), 16)))[1:-1]
