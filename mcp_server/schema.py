"""Tool definitions as values: what an upstream published, what an agent is shown of it, and whether arguments fit.

Pure. A definition's raw object is kept as it came and its digest is over that; what we add for the agent (a suffix of
the description, `justification`) goes into a copy at listing time and is taken off again before anything goes upstream.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import ValidationError

from control.identity.charter import Justification, ToolGrant
from kit import canonical, json_schema, patterns
from kit.checks import Checker
from kit.errors import Invalid
from kit.references import References
from kit.work import WORK, TooMuch, bounded

JUSTIFICATION = "justification"
OURS = "preloop_"
"""Before the name of our argument where the tool has one of that name itself."""
OTHERWISE = "reason"
"""What it is called where those are all taken."""
NOBODYS = "xq_zvkwj"
"""A name that no tool means when its pattern takes it."""
PREFIXES = 8
MAX_BYTES = 256 * 1024
"""The largest definition we accept, as canonical JSON."""
MAX_ARGUMENTS = 256 * 1024
"""The largest arguments of one call, as canonical JSON."""
MIRROR = "x-mcp-header"
TOLD = 3
"""How many of the things wrong with some arguments an agent is told at once."""
SHOWN = 200
"""Characters of one complaint; it may quote the argument."""

ALWAYS = "Needs a person's approval: call it directly{how}; the answer may take minutes."
SOMETIMES = "May need a person's approval: call it directly{how}; the answer may then take minutes."
WHY = "Why this call is needed, in a sentence or two. Shown to the person who approves it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One tool of one upstream. `raw` is the object from its tools/list; `digest` is over all of it."""

    server: str
    tool: str
    raw: Mapping[str, Any]
    digest: str
    checker: Checker
    mirrors: bool = False
    """Does it want arguments repeated in headers?"""
    justification: str = JUSTIFICATION
    """What our argument is called here: no argument that the tool has itself, which goes upstream like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A tool that is left out: nobody could check arguments against its definition. `raw` is canonical JSON, as much of
    it as there can be."""

    tool: str
    raw: str
    reason: str


def unusable(raw: Mapping[str, Any], reason: str) -> Unusable:
    said = raw.get("name")
    name = (said if isinstance(said, str) else "(no name)")[:200].replace("\0", "").encode(errors="replace").decode()
    try:
        canonical.check(raw)
        text = canonical.dumps(raw)
    except (Invalid, ValueError):
        text = ""
    fits = 0 < len(text.encode()) <= MAX_BYTES
    return Unusable(tool=name, raw=text if fits else canonical.dumps({"name": name}), reason=reason)


def define(server: str, raw: Mapping[str, Any]) -> Definition:
    """Read one entry of a tools/list, or Invalid when nobody could check arguments against it."""
    try:
        return _defined(server, raw)
    except Invalid:
        raise
    except Exception as error:
        text = f"A tool of '{server}' cannot be read ({type(error).__name__})."
        raise Invalid("tool_malformed", text) from error


def _defined(server: str, raw: Mapping[str, Any]) -> Definition:
    name, schema = raw.get("name"), raw.get("inputSchema")
    if not isinstance(name, str) or not isinstance(schema, dict):
        raise Invalid("tool_malformed", f"A tool of '{server}' has no name or no input schema.")
    canonical.check(raw)
    text = canonical.dumps(raw)
    if len(text.encode()) > MAX_BYTES:
        raise Invalid("tool_too_large", f"The definition of '{name}' is larger than {MAX_BYTES // 1024} KB.")
    whose = f"'{name}'"
    checker = json_schema.validator(whose, schema)
    mirrors = any(MIRROR in node for node in json_schema.objects(schema))
    return Definition(
        server=server,
        tool=name,
        raw=raw,
        digest=canonical.digest(raw),
        checker=checker,
        mirrors=mirrors,
        justification=_ours(whose, schema),
    )


def _ours(whose: str, schema: dict[str, Any]) -> str:
    """What our argument is called. A pattern that takes any name at all speaks of none."""
    names, found = References(whose, schema).properties()
    with bounded(WORK, {}):
        telling = [pattern for pattern in found if not patterns.matches(pattern, NOBODYS)]
        for word in (JUSTIFICATION, OTHERWISE):
            for times in range(PREFIXES):
                name = OURS * times + word
                if name not in names and not any(patterns.matches(pattern, name) for pattern in telling):
                    return name
    raise Invalid("tool_malformed", f"The schema of {whose} leaves no name for our argument.")


def complaints(definition: Definition, arguments: Mapping[str, Any], work: int = WORK) -> str:
    """What is wrong with the arguments in a sentence for the model, '' when nothing is. With less `work` than that it
    ends in TooMuch where it was not enough."""
    if len(canonical.dumps(arguments).encode()) > MAX_ARGUMENTS:
        return f"its arguments are larger than {MAX_ARGUMENTS // 1024} KB"
    try:
        return "; ".join(map(_say, json_schema.complaints(definition.checker, arguments, TOLD, work)))
    except TooMuch:
        if work < WORK:
            raise
        return "its arguments take too much work to check: send smaller or flatter ones"


def _say(error: ValidationError) -> str:
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required" and isinstance(error.validator_value, list):
        # one error a missing name, and the message alone says which
        missing = next((name for name in error.validator_value if error.message.startswith(repr(name))), "?")
        return f"required argument '{'.'.join([*path, missing])}' missing"
    said = error.message if len(error.message) <= SHOWN else error.message[:SHOWN] + "…"
    return f"argument '{'.'.join(path)}': {said}" if path else said


def wanted(grants: Sequence[ToolGrant]) -> Justification:
    """The strictest wish of all grants that match a tool."""
    wishes = {grant.justification for grant in grants}
    return "required" if "required" in wishes else "optional" if "optional" in wishes else "none"


def advertise(definition: Definition, name: str, grants: Sequence[ToolGrant]) -> dict[str, Any]:
    """The tool as this agent sees it: visible name, a suffix when a person is asked, `justification` when wanted."""
    shown = {**definition.raw, "name": name}
    asks, ours = wanted(grants), definition.justification
    if gates := [grant.approval for grant in grants if grant.approval]:
        how = f", with `{ours}`" if asks != "none" else ""
        suffix = (ALWAYS if any(gate.when is None for gate in gates) else SOMETIMES).format(how=how)
        shown["description"] = f"{definition.raw.get('description') or ''}\n\n{suffix}".strip()
    if asks != "none":
        schema = dict(definition.raw["inputSchema"])
        schema["properties"] = {**schema.get("properties", {}), ours: {"type": "string", "description": WHY}}
        if asks == "required":
            schema["required"] = [*schema.get("required", []), ours]
        shown["inputSchema"] = schema
    return shown


def part(
    definition: Definition, grants: Sequence[ToolGrant], arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """(the arguments for the upstream, the justification), or Invalid when one is required and there is none."""
    asks, ours = wanted(grants), definition.justification
    if asks == "none":
        return dict(arguments), None
    rest = {name: value for name, value in arguments.items() if name != ours}
    said = arguments.get(ours)
    if said is not None and not isinstance(said, str):
        raise Invalid("invalid_arguments", f"argument '{ours}': {said!r} is not of type 'string'"[:SHOWN])
    if asks == "required" and not (said or "").strip():
        raise Invalid("invalid_arguments", f"required argument '{ours}' missing")
    return rest, said


def names(
    owned: Collection[tuple[str, str]], waiting: Collection[tuple[str, str]] = frozenset()
) -> dict[tuple[str, str], str]:
    """(server, its name for a thing) → the visible name: its own, or `server__name` for all of one name where two
    servers have it, and for a name that looks like one of those. What is still `waiting` to be served gives way:
    nothing is renamed for it."""
    times = Counter(name for _, name in owned)
    served = Counter(name for server, name in owned if (server, name) not in waiting)
    joined = {f"{server}__{name}" for server, name in owned if times[name] > 1}
    long = {
        (server, name)
        for server, name in owned
        if name in joined or (times if (server, name) in waiting else served)[name] > 1
    }
    return {key: "__".join(key) if key in long else key[1] for key in owned}
