"""What becomes of each field of a request on its way to a provider, and which fields a wire lets in at all.

Nothing here is a list of fields: what a wire lets in is asked of the wire, with every word that its source knows. A
field is carried if the provider is asked otherwise without it, recorded if `dropped` is another without it.
"""

import ast
import copy
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gateway.wires
from gateway.dialects.dialect import Dialect
from gateway.models import DIALECTS
from gateway.provider import transformed
from gateway.voices import kept
from gateway.wires.gemini_face import GEMINI
from gateway.wires.gemini_spelling import spelled
from gateway.wires.neutral import Address, Json, Request, Wire
from kit.errors import Invalid

MODELS = {"messages": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash", "chat": "gpt-5.1", "responses": "gpt-5.1"}
BOUND = 20_000
SCHEMAS = ("parameters", "schema", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "input_schema")
"""A wire lets any key into them, and each must arrive."""
DATA = (
    *SCHEMAS, "logit_bias", "response", "args", "labels", "metadata", "client_metadata", "input_examples",
    "annotations", "logprobs", "parsed", "provider_specific_fields", "prompt", "fileSearch", "fileData",
)  # fmt: skip
"""Objects whose keys are the client's own; so are those of a call's `input` and of a tool search's `parameters`."""
SAYS_NOTHING: Mapping[str, str] = {
    r"model > .*": "the alias: routing reads it",
    r".*\bstore > .*": "forced off, whatever is sent",
    r".*\binclude_usage > .*": "about our own answer, which keeps to it",
    r"(stream_options|generationConfig) > .*": "what is in it is looked at alone",
    r".*\b(modalities|responseModalities|behavior|allowed_callers|caller=direct) > .*": "only the default is let in",
    r".*\breasoning_effort > messages": "Anthropic's models do not think unless they are asked to",
    r".*\b(thinkingConfig|thinkingBudget) > messages": "the same; other budgets are carried",
    r".*\bstrict > messages": "Anthropic always keeps to the schema",
    r".*\bresponseMimeType > .*": "a schema is of JSON",
    r".*\binclude > .*": "encrypted thoughts are in every answer; the others are recorded",
    r".*\btool_calls=\w+\.index > .*": "its place in a stream that is over",
    r"input=\w+\.(id|status) > .*": "where a server keeps it: nothing is stored",
    r".*\b(messages=tool|custom_tool_call_output)\.name > .*": "of the call, which its id tells",
    r".*\btool_search_output\.(call_id|execution) > .*": "of a search that is recorded",
    r".*\b(tool_calls=\w+|function)\.annotations > .*": "no call has any",
    r".*\b(parsed|parsed_arguments|provider_specific_fields) > .*": "what SDKs add to an answer, said in it already",
    r".*\b(tool_calls=\w+|tool_use|function_call|custom_tool_call)\.(id|call_id) > gemini": "results follow in order",
    r".*\b(tool_call_id|tool_use_id|call_id) > gemini": "the same",
    r".*\b(parameters|parametersJsonSchema|input_schema)=\w+\.type > messages": "arguments are an object",
    r".*\bpropertyOrdering > .*": "the properties stand in that order",
}
"""Fields that need no carrying, by where they stand and who is asked, and why."""
Steps = tuple[str | int, ...]


def nodes(value: object, path: Steps = (), *, schemas: bool = False) -> Iterator[Steps]:
    """The path of every field of a body and of every object in a list, outer ones first; those in schemas on demand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            if not _is_data(value, name) or (schemas and name in SCHEMAS):
                yield from nodes(inner, (*path, name), schemas=schemas)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            if isinstance(inner, dict):
                yield (*path, place)
                yield from nodes(inner, (*path, place), schemas=schemas)


def _is_data(holder: Json, name: str) -> bool:
    return name in DATA or (name == "input" and holder.get("type") in ("tool_use", "server_tool_use"))


def at(value: Any, path: Steps) -> Any:
    for step in path:
        value = value[step]
    return value


def without(body: Json, path: Steps) -> Json:
    """The body less one field."""
    left: Json = json.loads(json.dumps(body))  # a copy in which nothing is shared
    del at(left, path[:-1])[path[-1]]
    return left


def kind(body: Json, path: Steps) -> str:
    """Where an object stands, whatever its place in a list: field by field, each with the `type` or `role` there."""
    found: list[str] = []
    for length in range(len(path) + 1):
        holder = at(body, path[:length])
        named = path[length - 1] if length and isinstance(path[length - 1], str) else ""
        told = _told(holder) if isinstance(holder, dict) else ""
        if named == "parts":  # of Google's: each says what it is by its field, whoever speaks
            found.clear()
        if named:
            found.append(str(named))
        if told and found:
            found[-1] += f"={told}"
    return ".".join(found)


def _told(holder: Json) -> str:
    type_ = holder.get("type")
    return str(type_ if type_ and type_ != "message" else holder.get("role") or "")


def parsed(wire: Wire, body: Json) -> Request:
    address = Address(alias="default") if wire is GEMINI else Address()
    return wire.parse(copy.deepcopy(body), address)


async def sent(wire: Wire, dialect: str, body: Json) -> tuple[str, frozenset[str]] | Invalid:
    """What a provider of a dialect is asked, and what is recorded as dropped; or why it is not asked at all."""
    try:
        request = parsed(wire, body)
        asked, dropped = await _asked(wire, DIALECTS[dialect], request)
    except Invalid as refused:
        return refused
    path = DIALECTS[dialect].path(MODELS[dialect], request.stream)
    return path + json.dumps(asked, ensure_ascii=False, sort_keys=True), frozenset(dropped)


async def _asked(wire: Wire, dialect: Dialect, request: Request) -> tuple[Json, Iterable[str]]:
    model, most = MODELS[dialect.name], min(request.max_output or BOUND, BOUND)
    if wire.name == dialect.name:
        body = dialect.passed(request, model, most)
        return body, kept(request, body, dialect.name)
    if dialect.asked is None:
        return await transformed(dialect.name, request, model, most)
    return dialect.asked(request, model, most)


async def lost(wire: Wire, dialect: str, body: Json) -> list[str]:
    """The fields of a body that are neither carried, nor recorded, nor refused."""
    whole = await sent(wire, dialect, body)
    if isinstance(whole, Invalid):
        return []
    text, dropped = whole
    found: list[str] = []
    recorded: list[Steps] = []
    for path in nodes(body, schemas=True):
        said = path[-1] in ("type", "role") and not any(name in SCHEMAS for name in path)
        if said or any(path[: len(told)] == told for told in recorded):
            continue  # what the rest is; or a part of something that is recorded
        less = await sent(wire, dialect, without(body, path))
        value = at(body, path)
        if isinstance(less, Invalid):  # it is needed: what it says must be there
            if (
                not isinstance(value, dict | list)
                and not _says_nothing(body, path, dialect)
                and _spelt(value) not in text
            ):
                found.append(".".join(map(str, path)))
        elif less[0] == text and dropped - less[1]:
            recorded.append(path)
        elif less[0] == text and isinstance(path[-1], str) and not _says_nothing(body, path, dialect):
            found.append(".".join(map(str, path)))
    return found


def _says_nothing(body: Json, path: Steps, dialect: str) -> bool:
    return _nothing(f"{kind(body, path)} > {dialect}")


def _nothing(where: str) -> bool:
    return any(re.fullmatch(pattern, where) for pattern in SAYS_NOTHING)


def _spelt(value: object) -> str:
    """How it looks in JSON; of a data URL only the data."""
    return json.dumps(value, ensure_ascii=False).strip('"').rpartition("base64,")[2]


def vocabulary() -> frozenset[str]:
    """Every word that the source of the wires knows: no field can be let in that is not one of them."""
    found = set()
    for file in sorted(Path(next(iter(gateway.wires.__path__))).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
    return frozenset(found)


def let_in(wire: Wire, body: Json, path: Steps, names: Iterable[str]) -> set[str]:
    """Which of some names the wire lets into one object of a body."""
    found = set()
    for name in names:
        if name in at(body, path):
            continue
        more = json.loads(json.dumps(body))
        at(more, path)[name] = "anything"
        try:
            parsed(wire, more)
        except Invalid as refused:
            if refused.code == "field_not_allowed" and f"`{name}`" in refused.message:
                continue
        found.add(spelled(name) if wire is GEMINI else name)
    return found


def untold(wire: Wire, specimens: Mapping[str, Json]) -> dict[str, set[str]]:
    """Fields that a wire lets in and no specimen has, by where they stand."""
    has: dict[str, set[str]] = defaultdict(set)
    where: dict[str, tuple[Json, Steps]] = {}
    for body in specimens.values():
        for place in [place for path in [(), *nodes(body)] for place in _objects(body, path)]:
            has[kind(body, place)] |= at(body, place).keys()
            where.setdefault(kind(body, place), (body, place))
    names = vocabulary()
    found = {}
    for told, (body, place) in where.items():
        missing = let_in(wire, body, place, names) - has[told] - {"type", "role"}
        found[told] = {name for name in missing if not _nothing(f"{told}.{name} > ")}
    return {told: names for told, names in found.items() if names}


def _objects(body: Json, path: Steps) -> Iterator[Steps]:
    """The objects that a field holds."""
    value = at(body, path)
    if path and _is_data(at(body, path[:-1]), str(path[-1])):
        return
    if isinstance(value, dict):
        yield path
    if isinstance(value, list):
        yield from ((*path, place) for place, inner in enumerate(value) if isinstance(inner, dict))
