"""How Google's JSON spells a field: camelCase, or the snake_case of its protocol buffers.

Pure. Both mean one field (protobuf.dev/programming-guides/json), so a body is left with the first alone: what stands
there twice could mean two things. An OpenAPI schema keeps its spelling in `body`; all others are told JSON Schema.
"""

import re
from typing import Any

from gateway.wires.fields import flat_enough, only, required, typed
from gateway.wires.neutral import Json
from kit.errors import Invalid

_SNAKE = re.compile(r"_+([a-z0-9])", re.ASCII)
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_INSIDE = ("items", "additionalProperties")
_LISTS = ("anyOf", "prefixItems")
_MAPS = ("properties", "$defs", "defs")
_GOOGLE_ONLY = ("nullable", "propertyOrdering", "example")


def fields(body: Json, allowed: frozenset[str], where: str) -> Json:
    """The object itself, its fields spelled in camelCase and each on the list; Invalid names the one that is not."""
    for name in [name for name in body if name not in allowed]:
        camel = spelled(name)
        if camel == name or camel not in allowed:
            continue
        if camel in body:
            raise Invalid("field_invalid", f"The fields `{name}` and `{camel}` are the same.", "Send one of them.")
        body[camel] = body.pop(name)
    only(body, allowed, where)
    return body


def inner(body: Json, name: str, allowed: frozenset[str]) -> Json | None:
    """A field that is an object, checked; None when it was not sent."""
    value: Json | None = typed(body, name, dict)
    return None if value is None else fields(value, allowed, f"in `{name}`")


def needed(body: Json, name: str, allowed: frozenset[str]) -> Json:
    """The same for one that must be there."""
    required(body, name, dict)
    return inner(body, name, allowed) or {}


def spelled(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def json_schema(schema: Json, depth: int = 0) -> Json:
    """An OpenAPI schema, as Google's `parameters` and `responseSchema` are, as JSON Schema."""
    flat_enough(depth)
    told = {spelled(name): value for name, value in schema.items()}
    made = {name: _made(name, value, depth + 1) for name, value in told.items() if name not in _GOOGLE_ONLY}
    if isinstance(kind := told.get("type"), str):
        made["type"] = kind.lower()
        if made["type"] == "type_unspecified":
            del made["type"]
    if told.get("nullable") is True:
        _nullable(made)
    if "example" in told:
        made.setdefault("examples", [told["example"]])
    if isinstance(ordered := told.get("propertyOrdering"), list) and isinstance(made.get("properties"), dict):
        first = {name: made["properties"][name] for name in map(str, ordered) if name in made["properties"]}
        made["properties"] = first | made["properties"]
    return made


def _made(name: str, value: Any, depth: int) -> Any:  # noqa: ANN401 - a JSON value
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)  # 64 bits are a text in Google's JSON
    if name in _INSIDE and isinstance(value, dict):
        return json_schema(value, depth)
    if name in _LISTS and isinstance(value, list):
        return [json_schema(item, depth) if isinstance(item, dict) else item for item in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: json_schema(item, depth) if isinstance(item, dict) else item for key, item in value.items()}
    return value


def _nullable(made: Json) -> None:
    if "type" in made:
        made["type"] = [made["type"], "null"]
    elif isinstance(made.get("anyOf"), list):
        made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    if isinstance(made.get("enum"), list):
        made["enum"] = [*made["enum"], None]
