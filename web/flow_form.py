"""A flow's edit form: a flat set of texts out of a file's values, and back into a copy of them. Pure.

Whatever the form doesn't show stays as it is in the file, and so does a value that nobody changed: `600` stays `600`,
and a default that isn't written down stays unwritten. A tick is 'on', none is ''.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from control.flows.flow import Agent, Cause, Flow
from control.identity.charter import Justification
from kit import canonical

Body = Mapping[str, Any]
Values = dict[str, str]
ON = "retries.on."
"""What the ticks for causes begin with."""
CAUSES: tuple[str, ...] = get_args(Cause)
RUNTIMES: tuple[str, ...] = get_args(Agent.model_fields["runtime"].annotation)
JUSTIFICATIONS: tuple[str, ...] = get_args(Justification)
CHOICES = {key: get_args(Flow.model_fields[key].annotation) for key in ("on_decline", "on_tool_error", "on_undefined")}
DEFAULTS = {
    "description": "",
    "agent.runtime": "",
    "agent.model": "default",
    "prompt": "",
    "limits.timeout": "30m",
    "limits.init": "",
    "limits.wall": "24h",
    "limits.concurrency": "1",
    "limits.budget_usd": "",
    "limits.max_log_mb": "50",
    "retries.attempts": "0",
    "retention.logs_days": "",
    "retention.payloads_days": "",
    "retention.results_days": "",
    "retries.after_tools": "",
    "on_decline": "fail",
    "on_tool_error": "report",
    "on_undefined": "render",
}
"""Each key of the form with what stands there when the file has none."""
_NUMBERS = {key for key in DEFAULTS if key.startswith(("limits.", "retention."))} - {"limits.budget_usd"} | {
    "retries.attempts"
}
_RULES = ("on", "group", "when", "justification", "deny")
_ERROR = re.compile(r"line \d+, ([\w.-]+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tool, or one pattern: `key` begins the names of its fields. `number` counts further entries of the same."""

    key: str
    server: str
    tool: str
    number: int


def rows(body: Body, seen: Mapping[str, Sequence[str]]) -> list[Row]:
    """The tools of a file, then those that were seen and are not in it."""
    found = [_row(*place) for place in _places(body)]
    there = {(row.server, row.tool) for row in found}
    more = [(server, tool) for server, tools in sorted(seen.items()) for tool in sorted(tools)]
    return [*found, *(_row(server, tool, 0) for server, tool in more if (server, tool) not in there)]


def _row(server: str, tool: str, number: int) -> Row:
    return Row(key=canonical.dumps([server, tool, number]), server=server, tool=tool, number=number)


def _places(body: Body) -> list[tuple[str, str, int]]:
    """Each entry's server, tool, and how many of the same come before it."""
    names = [(entry["server"], entry["tool"]) for entry in body.get("tools") or []]
    return [(*name, names[:at].count(name)) for at, name in enumerate(names)]


def values(body: Body, seen: Mapping[str, Sequence[str]]) -> Values:
    """What each field of the form shows for a file."""
    found = {name: _shown(_get(body, name), default) for name, default in DEFAULTS.items()}
    causes = _get(body, "retries.on")
    causes = ["model_error", "runner_lost"] if causes is None else causes
    found |= {ON + cause: "on" if cause in causes else "" for cause in CAUSES}
    entries = dict(zip(_places(body), body.get("tools") or [], strict=True))
    for row in rows(body, seen):
        entry = entries.get((row.server, row.tool, row.number))
        approval = (entry or {}).get("approval") or {}
        shown = (
            "on" if entry else "",
            approval.get("group"),
            approval.get("when"),
            (entry or {}).get("justification") or "none",
            (entry or {}).get("deny"),
        )
        found |= {f"{row.key}.{name}": _shown(value, "") for name, value in zip(_RULES, shown, strict=True)}
    return found


def typed(fields: Mapping[str, str], shown: Values) -> Values:
    """What somebody made of a form. A tool whose fields were not on their page is left as it is."""
    found = {}
    for name, was in shown.items():
        on_page = not name.startswith("[") or f"{name.rpartition('.')[0]}.group" in fields
        found[name] = fields.get(name, "").replace("\r\n", "\n") if on_page else was
    return found


def merged(mine: Values, base: Values, newest: Values) -> Values:
    """What was changed by hand goes onto the newest version; the rest is as that has it."""
    changed = {name: value for name, value in mine.items() if value != base.get(name)}
    return newest | changed


def applied(body: Body, wanted: Values, seen: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The file with what the form says; what is as it was shown is not touched."""
    shown, found = values(body, seen), copy.deepcopy(dict(body))
    for name in DEFAULTS:
        if wanted[name] != shown[name]:
            _put(found, name, _value(name, wanted[name]))
    causes = [cause for cause in CAUSES if wanted[ON + cause]]
    if causes != [cause for cause in CAUSES if shown[ON + cause]]:
        _put(found, "retries.on", causes)
    if any(wanted.get(name) != was for name, was in shown.items() if name.startswith("[")):
        _put(found, "tools", _tools(body, wanted, rows(body, seen)) or None)
    return found


def _tools(body: Body, wanted: Values, all_rows: Sequence[Row]) -> list[dict[str, Any]]:
    entries = dict(zip(_places(body), copy.deepcopy(body.get("tools") or []), strict=True))
    found = []
    for row in all_rows:
        if not wanted.get(f"{row.key}.on"):
            continue
        entry = entries.get((row.server, row.tool, row.number)) or {"server": row.server, "tool": row.tool}
        rules = {name: wanted.get(f"{row.key}.{name}", "") for name in _RULES}
        if rules["group"] or rules["when"]:
            entry["approval"] = dict(entry.get("approval") or {})
            _put(entry, "approval.group", rules["group"] or None)
            _put(entry, "approval.when", rules["when"] or None)
        else:
            entry.pop("approval", None)
        if rules["justification"] != (entry.get("justification") or "none"):
            _put(entry, "justification", rules["justification"] or None)
        _put(entry, "deny", rules["deny"] or None)
        found.append(entry)
    return found


def located(message: str, body: Body) -> tuple[str, str]:
    """Of an error as `review` words it: the field it is about, '' if the form has none, and what it says."""
    hit = _ERROR.match(message)
    if not hit:
        return "", message
    key, said = hit.groups()
    path = key.split(".")
    if path[0] == "tools" and len(path) > 1 and path[1].isdecimal() and int(path[1]) < len(_places(body)):
        row = _row(*_places(body)[int(path[1])])
        name = path[-1] if path[-1] in _RULES else "group" if "approval" in path else "on"
        return f"{row.key}.{name}", f"{row.tool}, {'.'.join(path[2:]) or 'tool'}: {said}"
    return (key if key in DEFAULTS else ON + "model_error" if key == "retries.on" else ""), f"{key}: {said}"


def _shown(value: object, default: str) -> str:
    if value is None:
        return default
    if isinstance(value, bool):
        return "on" if value else ""
    return value if isinstance(value, str) else json.dumps(value)


def _value(name: str, text: str) -> Any:  # noqa: ANN401 - a JSON value
    if name == "retries.after_tools":
        return bool(text)
    text = text if name == "prompt" else text.strip()
    if name in _NUMBERS and text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    return text or (None if name != "prompt" else "")


def _get(body: Body, name: str) -> Any:  # noqa: ANN401 - a JSON value
    found: Any = body
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _put(body: dict[str, Any], name: str, value: object) -> None:
    """None takes the key away, and a mapping that is empty then."""
    key, _, rest = name.partition(".")
    if rest:
        inner = dict(body.get(key) or {})
        _put(inner, rest, value)
        value = inner or None
    if value is None:
        body.pop(key, None)
    else:
        body[key] = value
