"""Prompt templates: `{{trigger_event.payload.items[0].name | default("x") | truncate(2000)}}`, filled in one pass.
Pure.

A payload that contains `{{…}}` stays text. What is undefined renders as `undefined` and is named, with the nearest key
that the payload does have.
"""

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

from kit.errors import Invalid

_SLOT = re.compile(r"\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_STEP = re.compile(r"""\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[(?:"([^"]*)"|'([^']*)')\]""")
_FILTER = re.compile(r"(json|default|truncate)(?:\((.*)\))?", re.DOTALL)
_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A variable nobody filled, and the key that was probably meant."""

    name: str
    near: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    text: str
    unresolved: tuple[Unresolved, ...]


def render(template: str, variables: dict[str, Any]) -> Rendered:
    """Fill every slot from `variables`; strings as they are, everything else as JSON."""
    unresolved: list[Unresolved] = []

    def fill(slot: re.Match[str]) -> str:
        path, *filters = _split(slot[1])
        value, near = _look_up(path.strip(), variables)
        for spelled in filters:
            value = _apply(spelled.strip(), value)
        if value is _MISSING:
            unresolved.append(Unresolved(name=path.strip(), near=near))
            return "undefined"
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return Rendered(text=_SLOT.sub(fill, template), unresolved=tuple(unresolved))


def names(template: str) -> list[str]:
    """The variables a template uses; an unreadable slot is Invalid."""
    found = []
    for slot in _SLOT.finditer(template):
        path, *filters = _split(slot[1])
        _steps(path.strip())
        for spelled in filters:
            _apply(spelled.strip(), "")
        found.append(path.strip())
    return found


def _split(slot: str) -> list[str]:
    """Split at pipes that are not inside quotes."""
    return [part for part in re.split(r"""\|(?=(?:[^"]*"[^"]*")*[^"]*$)""", slot)]


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if not step or (at > 0 and step[1] and path[at] != "."):
            raise Invalid("template_invalid", f"{{{{{path}}}}} can't be read at {path[at:]!r}.", "Write a.b[0].c")
        steps.append(int(step[2]) if step[2] else step[1] or step[3] or step[4] or "")
        at = step.end()
    return steps


def _look_up(path: str, variables: dict[str, Any]) -> tuple[Any, str | None]:
    """The value at a path, or _MISSING and the key that is nearest to the one that was asked for."""
    value: Any = variables
    for step in _steps(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            keys = [str(key) for key in value] if isinstance(value, dict) else []
            near = difflib.get_close_matches(str(step), keys, n=1, cutoff=0.4) or keys[:1]
            return _MISSING, near[0] if near else None
    return value, None


def _apply(spelled: str, value: Any) -> Any:  # noqa: ANN401 - template values are JSON
    found = _FILTER.fullmatch(spelled)
    if not found:
        raise Invalid("template_invalid", f"{spelled!r} is not a filter.", "There are json, default(…), truncate(n).")
    name, argument = found[1], found[2]
    if name == "default":
        return json.loads(argument or '""') if value is _MISSING else value
    if value is _MISSING:
        return value
    if name == "json":
        return json.dumps(value, ensure_ascii=False)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[: int(argument or 2000)]
