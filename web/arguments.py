"""Arguments as typed rows for the person who decides: nothing cut silently, secrets masked, what is new marked; and the
request in the flow's own sentence. Pure.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit import masking
from kit.errors import Invalid
from kit.masking import MASK
from web.format import Piece, pieces

LONG = 240
"""Characters after which a value is folded; the whole of it stays on the page."""
MOVED = "Type the secret anew there, or leave the list or object that holds it as it is."
SPOKEN = 80
"""Characters of a value that still fit into a sentence."""
Path = tuple[str | int, ...]
"""The keys and indexes on the way to a value."""
_SLOT = re.compile(r"\{\{\s*args\.([^\s{}]+)\s*\}\}")
_STEP = re.compile(r"\.([^.\[\]\"]+)|\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)+\")\]")
_PLAIN = re.compile(r"\w[\w-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One leaf of the arguments, `number` in order. A masked one keeps its length, so that an empty secret is seen;
    of a text that only holds a secret the rest is shown. `mark` says how it stands to the call before."""

    number: int
    path: list[Piece]
    kind: str
    value: list[Piece]
    size: int
    masked: bool = False
    hidden: bool = False
    mark: str = ""
    was: "Argument | None" = None

    @property
    def long(self) -> bool:
        return self.size > LONG


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A leaf that is not the same in two versions; None where a version has none."""

    path: list[Piece]
    before: Argument | None
    after: Argument | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Where a value stands, and whether a name on the way says that it is a secret."""

    number: int
    path: Path
    value: object
    secret: bool


def rows(args: object, before: object = None, *, clear: int | None = None) -> list[Argument]:
    """`{"to": {"name": "A"}, "ids": [1]}` → rows `to.name` text 'A', `ids[0]` number '1'. With `before`, each is marked
    new, changed or same; the one whose number is `clear` is shown as it is."""
    old = {leaf.path: leaf for leaf in leaves(before)} if before is not None else None
    return [_row(leaf, old, clear) for leaf in leaves(args)]


def _row(leaf: Leaf, old: Mapping[Path, Leaf] | None, clear: int | None) -> Argument:
    shown = leaf.number == clear
    if old is None:
        return _leaf(leaf, clear=shown)
    was = old.get(leaf.path)
    if was is None:
        return _leaf(leaf, mark="new", clear=shown)
    if _typed(was.value) == _typed(leaf.value):
        return _leaf(leaf, mark="same", clear=shown)
    return _leaf(leaf, mark="changed", was=_leaf(was), clear=shown)


def gone(args: object, before: object) -> list[Argument]:
    """The leaves that the call before had and this one has not."""
    here = {leaf.path for leaf in leaves(args)}
    return [_leaf(leaf) for leaf in leaves(before) if leaf.path not in here]


def differences(before: object, after: object) -> list[Difference]:
    """Where two versions of arguments differ, leaf by leaf, in the order of the first."""
    old = {leaf.path: leaf for leaf in leaves(before)}
    new = {leaf.path: leaf for leaf in leaves(after)}
    found = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path in old and path in new and _typed(old[path].value) == _typed(new[path].value):
            continue
        was, now = (_leaf(one[path]) if path in one else None for one in (old, new))
        found.append(Difference(path=pieces(spelt(path)), before=was, after=now))
    return found


def leaves(value: object) -> list[Leaf]:
    """Every leaf, numbered in order."""
    found = enumerate(_walk(value, (), secret=False))
    return [Leaf(number=number, path=path, value=one, secret=secret) for number, (path, one, secret) in found]


def _walk(value: object, path: Path, *, secret: bool) -> Iterator[tuple[Path, object, bool]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            hidden = secret or masking.is_name(str(key))
            yield from _walk(inner, (*path, str(key)), secret=hidden)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index), secret=secret)
    else:
        yield path, value, secret


def spelt(path: Path) -> str:
    """('to', 'ids', 0) → 'to.ids[0]'. A key that could be taken for a way, or for another key, is quoted:
    ('to', 'a.b') → 'to["a.b"]', so no two of one call are spelt alike."""
    return "".join(map(_step, path)).removeprefix(".") or "value"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"


def _leaf(leaf: Leaf, *, mark: str = "", was: Argument | None = None, clear: bool = False) -> Argument:
    kind, text = _typed(leaf.value)
    open_ = masking.text(text) if kind == "text" else text
    masked = leaf.secret or open_ != text
    seen = text if clear else open_
    shown = [Piece(MASK)] if leaf.secret and not clear else pieces(seen)
    return Argument(
        number=leaf.number,
        path=pieces(spelt(leaf.path)),
        kind=kind,
        value=shown,
        size=len(text),
        masked=masked and not clear,
        hidden=leaf.secret and not clear,
        mark=mark,
        was=was,
    )


def _typed(value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        return "yes/no", "true" if value else "false"
    if isinstance(value, int | float):
        return "number", str(value)
    if isinstance(value, str):
        return "text", value
    return ("nothing", "null") if value is None else ("empty", "{}" if isinstance(value, dict) else "[]")


# the sentence ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A run of a sentence: the flow's own words, or a value that the agent chose."""

    text: list[Piece]
    value: bool


def sentence(template: str | None, args: object) -> list[Spoken] | None:
    """'Pay {{args.amount}} USD' → the words and the values; None where a value is missing or too long to be spoken:
    then the tool's bare name says more."""
    if not template:
        return None
    known: dict[Path | None, Leaf] = {leaf.path: leaf for leaf in leaves(args)}
    said: list[Spoken] = []
    for at, part in enumerate(_SLOT.split(template)):
        if at % 2 == 0:
            said += [Spoken(text=pieces(part), value=False)] if part else []
        elif (value := _spoken(known.get(_path(part)))) is None:
            return None
        else:
            said.append(Spoken(text=value, value=True))
    return said


def _path(text: str) -> Path | None:
    """'to.ids[0]' → ('to', 'ids', 0), as `spelt` has it; None where it is no way to a value."""
    left, steps = f".{text}", list[str | int]()
    while hit := _STEP.match(left):
        key, index, quoted = hit.groups()
        try:
            steps.append(key if key is not None else int(index) if index is not None else json.loads(quoted))
        except ValueError:
            return None
        left = left[hit.end() :]
    return None if left else tuple(steps)


def _spoken(leaf: Leaf | None) -> list[Piece] | None:
    if leaf is None or isinstance(leaf.value, dict | list) or leaf.value in (None, ""):
        return None
    if isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool) and not leaf.secret:
        return pieces(f"{leaf.value:,}")
    shown = _leaf(leaf)
    return shown.value if shown.size <= SPOKEN else None


# changing by hand -----------------------------------------------------------------------------------------------------


def restored(value: Any, original: object, *, secret: bool = False) -> Any:  # noqa: ANN401 - a JSON value in, one out
    """`masking.masked` undone: where a mask stands as it was shown, what it stands for stands again. Invalid where a
    mask was moved or written into: nobody can mean those eight dots."""
    if isinstance(value, dict):
        known = original if isinstance(original, dict) else {}
        _no_swap(value, {key: masking.masked(inner, secret=secret) for key, inner in known.items()})
        return {
            key: restored(inner, known.get(key), secret=secret or masking.is_name(str(key)))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return _restored_list(value, original, secret)
    if not isinstance(value, str) or MASK not in value or value == original:
        return value
    if original is None or value != masking.masked(original, secret=secret):
        raise Invalid(
            "mask_changed", f"{MASK} stands where no secret was.", "Leave a masked value as it is, or write it anew."
        )
    return original


def _restored_list(values: list[Any], original: object, secret: bool) -> list[Any]:
    """Places in a list are no names: an element that holds a mask must stand as it was shown where it was shown, in a
    list as long as that one, and no other of the same look may have come or gone."""
    before = original if isinstance(original, list) else []
    shown = [_text(masking.masked(inner, secret=secret)) for inner in before]
    said = [_text(inner) for inner in values]
    for at, text in enumerate(said):
        if MASK not in text:
            continue
        if len(said) != len(shown) or text != shown[at] or said.count(text) != shown.count(text):
            raise Invalid("mask_changed", f"{MASK} stands in a list where a mask was moved, or may have been.", MOVED)
    return [before[at] if MASK in text else values[at] for at, text in enumerate(said)]


def _no_swap(values: dict[str, Any], shown: dict[str, object]) -> None:
    """Refuse an object that stands with its masks where another one was."""
    known = {key: _text(inner) for key, inner in shown.items()}
    for key, inner in values.items():
        text = _text(inner)
        if MASK in text and text != known.get(key) and text in known.values():
            raise Invalid("mask_changed", f"{MASK} stands in {key!r}, where a mask was moved.", MOVED)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def editable(value: object) -> str:
    """JSON to change by hand: secrets masked, and what can't be seen or misleads written as its escape."""
    text = json.dumps(masking.masked(value), indent=2, ensure_ascii=False)
    return "".join(_escape(piece.text) if piece.hidden else piece.text for piece in pieces(text))


def _escape(name: str) -> str:
    """'U+202E' → '\\u202e'."""
    return json.dumps(chr(int(name.removeprefix("U+"), 16)))[1:-1]
