"""JSON Schemas on their way to a provider: whole where it takes them, in words where it can't, never LiteLLM's work.

Pure. A transform gets `STUB`, and what the client wrote is put into its body after it (`mended`): LiteLLM writes every
`$ref` out, and leaves out what it does not know. Neighbour: `params` stubs, `provider` asks how much a schema grows
where LiteLLM calls a provider by itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gateway.wires.fields import MOST_DEPTH, flat_enough
from gateway.wires.neutral import Json, Request, compact
from kit.errors import Invalid

STUB: Json = {"type": "object", "properties": {}}
MOST_WRITTEN_OUT = 1 << 18
"""Bytes that all references may add when they are written out, at a provider where that is LiteLLM's to do."""
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONES = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedProperties",
    "unevaluatedItems",
)  # fmt: skip
_DEFINED = ("$defs", "definitions")
_COMBINED = ("anyOf", "oneOf", "allOf")
_UNHELD = frozenset([
    "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minProperties",
    "maxProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems", "if", "then", "else", "not",
])  # fmt: skip
"""What Anthropic takes in no form of an answer: platform.claude.com/docs/en/build-with-claude/structured-outputs"""
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


def of_answer(request: Request) -> Json:
    """The schema of the wanted answer; empty when there is none."""
    return ((request.format or {}).get("json_schema") or {}).get("schema") or {}


def gemini(schema: Json) -> Json:
    """The same schema as Google reads JSON Schema: a `$ref` stands alone, and a constant is a list of one."""
    return _changed(schema, _read_by_google, 0)


def _read_by_google(schema: Json) -> Json:
    if "$ref" in schema and "anyOf" not in schema and any(not name.startswith("$") for name in schema):
        schema = {name: value for name, value in schema.items() if name != "$ref"} | {
            "anyOf": [{"$ref": schema["$ref"]}]
        }
    if isinstance(schema.get("const"), str | int | float) and "enum" not in schema:
        schema = {name: value for name, value in schema.items() if name != "const"} | {"enum": [schema["const"]]}
    return schema


def tool_input(schema: Json) -> tuple[Json, bool]:
    """What Anthropic takes for the arguments of a tool, and whether that is less: an object, and no choice of some."""
    made = {name: value for name, value in schema.items() if name not in _COMBINED} | {"type": "object"}
    made.setdefault("properties", {})
    return made, schema.get("type", "object") != "object" or any(name in schema for name in _COMBINED)


def answer(schema: Json) -> tuple[Json, bool]:
    """A form that Anthropic holds an answer to, and whether that is less than was asked for: what it can't hold it to
    stands as JSON in the description beside it. Invalid: an object whose keys nobody has named."""
    less: list[str] = []
    return _held(schema, 0, less), bool(less)


def _held(schema: Json, depth: int, less: list[str]) -> Json:
    flat_enough(depth)
    words: Json = {name: value for name, value in schema.items() if _is_unheld(name, value, schema)}
    kept = {name: value for name, value in schema.items() if name not in words}
    if "$ref" in schema:  # it stands alone
        words = {name: value for name, value in kept.items() if name != "$ref" and name not in _DEFINED}
        kept = {name: value for name, value in kept.items() if name not in words}
    made = _inside(kept, lambda inner: _held(inner, depth + 1, less))
    if "oneOf" in made:
        made["anyOf"] = made.pop("oneOf")
        less.append("oneOf")
    less += words
    if words and "$ref" not in schema:
        made["description"] = f"{schema.get('description', '')} {compact(words)}".strip()
    if _is_object(schema) and "$ref" not in schema:
        _close(made, schema, less)
    return made


def _is_unheld(name: str, value: object, schema: Json) -> bool:
    if name == "minItems":
        return value not in (0, 1)
    if name == "oneOf":
        return "anyOf" in schema
    if name == "items":
        return not isinstance(value, dict)
    return name in _UNHELD or (name == "format" and value not in _FORMATS)


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _close(made: Json, schema: Json, less: list[str]) -> None:
    """No other keys than those that are named: Anthropic's models are held to nothing else."""
    more = schema.get("additionalProperties")
    named = schema.get("properties") or any(name in schema for name in _COMBINED)
    if more not in (None, False, True, {}) or (more is not False and not named):
        raise Invalid(
            "schema_not_carried",
            "This model can't be held to an answer with an object whose keys are not named.",
            "Name them in `properties`, or ask for a list of pairs.",
        )
    if more not in (None, False):
        less.append("additionalProperties")
    made["additionalProperties"] = False


def _changed(schema: Json, change: Callable[[Json], Json], depth: int) -> Json:
    """A schema with each that is in it, itself too, changed; the inner ones first."""
    flat_enough(depth)
    return change(_inside(schema, lambda inner: _changed(inner, change, depth + 1)))


def _inside(schema: Json, change: Callable[[Json], Json]) -> Json:
    made: Json = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            made[name] = {key: change(item) if isinstance(item, dict) else item for key, item in value.items()}
        elif name in _LISTS and isinstance(value, list):
            made[name] = [change(item) if isinstance(item, dict) else item for item in value]
        elif name in _ONES and isinstance(value, dict):
            made[name] = change(value)
        else:
            made[name] = value
    return made


def growth(schemas: list[Json]) -> int:
    """Bytes that are added at most when each `$ref` is written out, by its last word as LiteLLM does; Invalid when they
    are too many."""
    return sum(_Growth(schema).bytes() for schema in schemas if b'"$ref"' in msgspec.json.encode(schema))


class _Growth:
    """Sums only: nothing is written out to be measured, and each definition is looked at once."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._defined: dict[str, list[Any]] = {}
        self._sizes: dict[str, int] = {}
        self._open: list[str] = []
        for node in _objects(schema):
            for name in _DEFINED:
                for key, value in (node[name] if isinstance(node.get(name), dict) else {}).items():
                    self._defined.setdefault(key, []).append(value)

    def bytes(self) -> int:
        return self._added(self._schema)

    def _added(self, value: object) -> int:
        refs = [node["$ref"] for node in _objects(value) if isinstance(node.get("$ref"), str)]
        added = sum(self._size(ref.rpartition("/")[2]) for ref in refs)
        if added > MOST_WRITTEN_OUT:
            raise Invalid(
                "schema_too_large",
                f"With each `$ref` written out, as this model needs it, a schema grows by more than {MOST_WRITTEN_OUT} "
                "bytes.",
                "Refer less often, or ask a model that takes `$ref`.",
            )
        return added

    def _size(self, name: str) -> int:
        """Of a definition that is written out; one that is in itself is left as it is there."""
        if name in self._sizes or name not in self._defined or self._open[-1:] == [name]:
            return self._sizes.get(name, 0)
        if name in self._open or len(self._open) > MOST_DEPTH:
            raise Invalid(
                "schema_too_large",
                "A schema refers to itself by way of others, or too deep, which can't be written out as this model "
                "needs it.",
                "Ask a model that takes `$ref`.",
            )
        self._open.append(name)
        self._sizes[name] = max(len(msgspec.json.encode(one)) + self._added(one) for one in self._defined[name])
        self._open.pop()
        return self._sizes[name]


def _objects(value: object) -> Iterator[Json]:
    """Every object in a value, however deep."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
