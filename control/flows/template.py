"""Prompt templates: `{{trigger_event.payload.items[0].name | json | default("x") | truncate(2000)}}`, filled in one
pass. Pure.

What is filled in stays text, also where it contains `{{…}}`. Strings go in as they are, everything else as JSON. What
is undefined renders as `undefined` and is named, with what the event has instead.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit import canonical
from kit.errors import Invalid

_OPEN, _CLOSE = "{{", "}}"
_BLANK = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d][\w-]*")
_INDEX = re.compile(r"\[\s*(-?\d{1,9})\s*\]")
_QUOTED = re.compile(r"""\[\s*(?:("(?:[^"\\]|\\.)*")|'([^']*)')\s*\]""", re.DOTALL)
_TEXT = re.compile(r"'([^']*)'")
_FILTER = re.compile(r"\|\s*(json|default|truncate)\b")
HINT = 'Write {{trigger_event.payload.items[0]["a key"] | default("none") | truncate(2000)}}; {{"{{"}} is two braces.'
CUT = 2000
"""Characters that `truncate` leaves when it is not told."""
NEAR, LONG, TOLD, HINTED = 50, 60, 5, 5
"""Keys that are looked at for a hint, how long they are at most, how many are told when none is near, and how many
variables of one prompt get a hint: looking for what is near takes a millisecond for ten long keys."""
UNDEFINED = "undefined"
_MISSING = object()


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_READER = json.JSONDecoder(parse_constant=_constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    name: Literal["json", "default", "truncate"]
    argument: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One `{{…}}`: where its value is, or the text that stands in it, and what is done to it."""

    path: tuple[str | int, ...]
    spelled: str
    filters: tuple[Filter, ...] = ()

    @property
    def optional(self) -> bool:
        """Does it say itself what stands there when there is nothing?"""
        return any(one.name == "default" for one in self.filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A variable nobody filled, and what the event has where it was looked for."""

    name: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    text: str
    unresolved: tuple[Unresolved, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a rendered text, and the slot that it stands in; `missing` when the slot had no value."""

    text: str
    slot: Slot | None = None
    missing: bool = False


def parts(template: str, variables: Mapping[str, Any]) -> Iterator[Part]:
    """A rendered text in pieces. Invalid only for a template that can't be read."""
    for piece in _pieces(template):
        if isinstance(piece, Slot):
            value = _filled(piece, variables)
            text = UNDEFINED if value is _MISSING else _text(value)
            yield Part(text=text, slot=piece, missing=value is _MISSING)
        else:
            yield Part(text=piece)


def render(template: str, variables: Mapping[str, Any]) -> Rendered:
    """Fill every slot from `variables`, which are JSON. Invalid only for a template that can't be read."""
    unresolved: dict[str, Unresolved] = {}
    said = []
    for part in parts(template, variables):
        if part.slot and part.missing and part.slot.spelled not in unresolved:
            bare = Unresolved(name=part.slot.spelled, hint="")
            unresolved[bare.name] = missing(part.slot, variables) if len(unresolved) < HINTED else bare
        said.append(part.text)
    return Rendered(text="".join(said), unresolved=tuple(unresolved.values()))


def slots(template: str) -> list[Slot]:
    """The variables a template uses; one that can't be read is Invalid."""
    return [piece for piece in _pieces(template) if isinstance(piece, Slot)]


def has(slot: Slot, variables: Mapping[str, Any]) -> bool:
    return _value(slot.path, variables)[0] is not _MISSING


def missing(slot: Slot, variables: Mapping[str, Any]) -> Unresolved:
    """Why a slot has no value: "payload has `payment`"."""
    _, depth, there = _value(slot.path, variables)
    return Unresolved(name=slot.spelled, hint=_has(_called(slot.path[:depth]), there, slot.path[depth]))


# reading --------------------------------------------------------------------------------------------------------------


def _pieces(template: str) -> Iterator[str | Slot]:
    at = 0
    while (begins := template.find(_OPEN, at)) >= 0:
        if begins > at:
            yield template[at:begins]
        piece, at = _slot(template, begins)
        yield piece
    yield template[at:]


def _slot(template: str, begins: int) -> tuple[str | Slot, int]:
    """What stands between braces, and where the text goes on."""
    start = at = _blank(template, begins + len(_OPEN))
    if template.startswith(('"', "'"), at):
        literal, at = _json(template, at, begins)
        piece: str | Slot = str(literal)
        at = _blank(template, at)
    else:
        path, at = _path(template, at)
        spelled = template[start:at]
        filters, at = _filters(template, _blank(template, at), begins)
        piece = Slot(path=path, spelled=spelled, filters=filters)
    if not template.startswith(_CLOSE, at) or (isinstance(piece, Slot) and not piece.path):
        raise _unreadable(template, begins, at)
    return piece, at + len(_CLOSE)


def _path(template: str, at: int) -> tuple[tuple[str | int, ...], int]:
    steps: list[str | int] = []
    while True:
        dot = bool(steps) and template.startswith(".", at)
        if (name := _NAME.match(template, at + dot)) and (dot or not steps):
            steps.append(name[0])
            at = name.end()
        elif steps and (index := _INDEX.match(template, at)):
            steps.append(int(index[1]))
            at = index.end()
        elif steps and (quoted := _QUOTED.match(template, at)):
            steps.append(_unquoted(quoted, template, at))
            at = quoted.end()
        else:
            return tuple(steps), at


def _unquoted(quoted: re.Match[str], template: str, at: int) -> str:
    if quoted[1] is None:
        return str(quoted[2])
    try:
        return str(json.loads(quoted[1], strict=False))
    except ValueError as error:
        raise _unreadable(template, at, at) from error


def _filters(template: str, at: int, begins: int) -> tuple[tuple[Filter, ...], int]:
    found: list[Filter] = []
    while spelled := _FILTER.match(template, at):
        name, at = spelled[1], _blank(template, spelled.end())
        argument, given = None, template.startswith("(", at)
        if given:
            at = _blank(template, at + 1)
            given = not template.startswith(")", at)
            if given:
                argument, at = _json(template, at, begins)
            at = _blank(template, at)
            if not template.startswith(")", at):
                raise _unreadable(template, begins, at)
            at = _blank(template, at + 1)
        found.append(_filter(name, argument, given=given))
    return tuple(found), at


def _filter(name: str, argument: Any, *, given: bool) -> Filter:  # noqa: ANN401 - a JSON value
    if name == "default":
        return Filter(name="default", argument=argument if given else "")
    if name == "json":
        if given:
            raise Invalid("template_invalid", "The filter json takes nothing in brackets.", HINT)
        return Filter(name="json", argument=None)
    if given and (not isinstance(argument, int) or isinstance(argument, bool) or argument < 0):
        raise Invalid("template_invalid", "truncate takes a number of characters.", "Write truncate(2000).")
    return Filter(name="truncate", argument=argument if given else CUT)


def _json(template: str, at: int, begins: int) -> tuple[Any, int]:
    """A JSON value, or a text in single quotes, and where the template goes on after it."""
    if text := _TEXT.match(template, at):
        return text[1], text.end()
    try:
        value, at = _READER.raw_decode(template, at)
        canonical.check(value)
        return value, at
    except (ValueError, RecursionError) as error:
        raise _unreadable(template, begins, at) from error


def _blank(template: str, at: int) -> int:
    found = _BLANK.match(template, at)
    return found.end() if found else at


def _unreadable(template: str, begins: int, at: int) -> Invalid:
    line = template.count("\n", 0, begins) + 1
    shown, rest = template[begins : begins + LONG].split("\n")[0], template[at : at + 20].split("\n")[0]
    return Invalid("template_invalid", f"Line {line} of the prompt: {shown!r} can't be read at {rest!r}.", HINT)


# filling --------------------------------------------------------------------------------------------------------------


def _filled(slot: Slot, variables: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a JSON value, or _MISSING
    value = _value(slot.path, variables)[0]
    for one in slot.filters:
        if one.name == "default":
            value = one.argument if value is _MISSING else value
        elif value is not _MISSING:
            value = _json_text(value) if one.name == "json" else _text(value)[: one.argument]
    return value


def _value(path: Sequence[str | int], variables: Mapping[str, Any]) -> tuple[Any, int, Any]:
    """The value at a path; or _MISSING, how many of its steps led somewhere, and where."""
    value: Any = variables
    for depth, step in enumerate(path):
        there = value
        if isinstance(value, Mapping):
            value = value.get(step, _MISSING) if isinstance(step, str) else _MISSING
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            value = _MISSING
        if value is _MISSING:
            return _MISSING, depth, there
    return value, len(path), value


def _text(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return value if isinstance(value, str) else _json_text(value)


def _json_text(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return json.dumps(value, ensure_ascii=False)


def _called(path: Sequence[str | int]) -> str:
    """The last name on a path, with its indexes: `items[0]`."""
    called = "the template"
    for step in path:
        called = step[:LONG] if isinstance(step, str) else f"{called}[{step}]"
    return called


def _has(name: str, value: Any, wanted: str | int) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, Mapping):
        keys = [key for key in list(value)[:NEAR] if len(key) <= LONG]
        told = difflib.get_close_matches(str(wanted), keys, n=1) or keys[:TOLD]
        more = ", …" if len(told) < len(value) and len(told) != 1 else ""
        if not told:
            return f"{name} has no short keys" if value else f"{name} is empty"
        return f"{name} has {', '.join(f'`{key}`' for key in told)}{more}"
    if isinstance(value, list):
        return f"{name} is a list of {len(value)}"
    kinds = {str: "a text", bool: "true or false", type(None): "null"}
    return f"{name} is {kinds.get(type(value), 'a number')}"
