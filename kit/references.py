"""What a schema's own references make of it: none leads nowhere, none leads back to itself at one place of a value, and
together they stay small. Pure.

A subschema is applied `in place` (to the same value: `$ref`, `allOf`, …) or `below` (to a part of it: `properties`,
`items`, …). Going below uses up the value, so recursion through it is fine; recursion in place never ends, and
branching in place doubles with every level.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from kit.errors import Invalid

APPLIED = 10_000
"""Subschemas that may be applied to one place of a value, each counted as often as it is reached."""
DEEP = 64
"""How long a chain of subschemas that are applied in place may be."""
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
BELOW = (
    *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
)
_NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies")
_DEPENDENT = ("dependentRequired", "dependentSchemas", "dependencies")
_ANCHORS = (("$anchor", ""), ("$dynamicAnchor", ""), ("$id", "#"), ("id", "#"))

Schema = Mapping[str, Any]


class References:
    """Of one schema. `whose` completes "The schema of …"."""

    def __init__(self, whose: str, root: Schema) -> None:
        self._whose = whose
        self._root = root
        self._anchors = dict(_anchors(root))
        self._known: dict[int, tuple[int, int]] = {}  # by identity: how many are applied, how long their chain is

    def check(self) -> None:
        """Invalid when a value could not be checked in bounded time."""
        due, seen = [self._root], set[int]()
        while due:
            schema = due.pop()
            if id(schema) not in seen:
                seen.add(id(schema))
                self._measure(schema, [])
                due += [*self._in_place(schema), *_inner(schema, BELOW)]

    def properties(self) -> tuple[set[str], set[str]]:
        """Names of properties that the schema speaks of, wherever in place, and patterns of them."""
        due, seen, names, patterns = [self._root], set[int](), set[str](), set[str]()
        while due:
            schema = due.pop()
            if id(schema) not in seen:
                seen.add(id(schema))
                names.update(name for name in _named(schema) if isinstance(name, str))
                patterns.update(schema.get("patternProperties", ()))
                if isinstance(wanted := schema.get("propertyNames"), Mapping) and "pattern" in wanted:
                    patterns.add(wanted["pattern"])
                due += self._in_place(schema)
        return names, patterns

    def _measure(self, schema: Schema, above: list[int]) -> tuple[int, int]:
        if id(schema) in above:
            raise Invalid("schema_cycle", f"The schema of {self._whose} refers to itself without an end.")
        if id(schema) not in self._known:
            path = [*above, id(schema)]
            inner = [self._measure(each, path) for each in self._in_place(schema)] if len(path) <= DEEP else []
            applied, deep = 1 + sum(count for count, _ in inner), 1 + max((chain for _, chain in inner), default=0)
            self._known[id(schema)] = (applied, deep)
        applied, deep = self._known[id(schema)]
        if applied > APPLIED or len(above) + deep > DEEP:
            raise Invalid(
                "schema_too_much",
                f"The schema of {self._whose} takes too much work: one value would be checked against more than "
                f"{APPLIED} subschemas, or against a chain of more than {DEEP}.",
            )
        return applied, deep

    def _in_place(self, schema: Schema) -> Iterator[Schema]:
        yield from _inner(schema, IN_PLACE)
        for key in REFERENCES:
            if isinstance(reference := schema.get(key), str):
                found = self._resolved(reference)
                if isinstance(found, Mapping):
                    yield found
                elif not isinstance(found, bool):
                    raise Invalid(
                        "schema_unresolved",
                        f"The schema of {self._whose} refers to {reference[:200]}, which it does not have.",
                    )

    def _resolved(self, reference: str) -> object:
        """What '#', '#/a/pointer' (RFC 6901) or '#anchor' means; None when there is nothing."""
        fragment = unquote(reference.removeprefix("#"))
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment)
        found: object = self._root
        for part in fragment.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


def _named(schema: Schema) -> Iterator[object]:
    wanted = schema.get("propertyNames")
    for key in ("enum", "const"):
        value = wanted.get(key, ()) if isinstance(wanted, Mapping) else ()
        yield from value if isinstance(value, list) else [value]
    for key in ("properties", "required", *_DEPENDENT):
        named = schema.get(key)
        yield from named if isinstance(named, Mapping | list) else ()
    for key in _DEPENDENT:
        found = schema.get(key)
        for named in found.values() if isinstance(found, Mapping) else ():
            yield from named if isinstance(named, list) else ()


def _inner(schema: Schema, keys: tuple[str, ...]) -> Iterator[Schema]:
    for key in keys:
        value = schema.get(key)
        if isinstance(value, Mapping):
            value = list(value.values()) if key in _NAMED else [value]
        yield from (each for each in value or () if isinstance(each, Mapping)) if isinstance(value, list) else ()


def _anchors(value: object) -> Iterator[tuple[str, Schema]]:
    if isinstance(value, Mapping):
        for key, mark in _ANCHORS:
            if isinstance(name := value.get(key), str) and name.startswith(mark):
                yield name.removeprefix(mark), value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _anchors(inner)
