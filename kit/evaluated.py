"""`unevaluatedProperties` and `unevaluatedItems`: what no other keyword looked at, here or in the schemas that are
applied to the same place and hold. Pure.

jsonschema's own go through lists that grow with the schema and with the value at once, by Python's own patterns, and
are counted nowhere.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema.exceptions import ValidationError
from referencing.jsonschema import lookup_recursive_ref

from kit.patterns import matches
from kit.work import WALKED, breadth, budget

_Seen = set[str] | set[int]


def unevaluated_properties(
    validator: Any,  # noqa: ANN401 - jsonschema's own
    extra: Any,  # noqa: ANN401
    instance: object,
    schema: Any,  # noqa: ANN401
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        seen = _evaluated(validator, instance, schema, "unevaluatedProperties")
        wrong = [name for name in instance if name not in seen and not _fits(validator, instance[name], extra)]
        if wrong:
            yield ValidationError(f"Unevaluated properties are not allowed ({unexpected(sorted(wrong))})")


def unevaluated_items(
    validator: Any,  # noqa: ANN401 - jsonschema's own
    extra: Any,  # noqa: ANN401
    instance: object,
    schema: Any,  # noqa: ANN401
) -> Iterator[ValidationError]:
    if isinstance(instance, list):
        seen = _evaluated(validator, instance, schema, "unevaluatedItems")
        wrong = [item for at, item in enumerate(instance) if at not in seen and not _fits(validator, item, extra)]
        if wrong:
            yield ValidationError(f"Unevaluated items are not allowed ({unexpected(wrong)})")


def unexpected(things: list[Any]) -> str:
    return f"{', '.join(map(repr, things))} {'was' if len(things) == 1 else 'were'} unexpected"


def _fits(validator: Any, instance: object, schema: Any) -> bool:  # noqa: ANN401
    return next(validator.descend(instance, schema), None) is None


def _evaluated(validator: Any, instance: Any, schema: Any, own: str = "") -> set[Any]:  # noqa: ANN401
    """The names or indexes that a schema which holds has looked at, without what its keyword `own` adds."""
    if not isinstance(schema, dict):
        return set()
    budget().spend(8 + (breadth(schema) + breadth(instance)) // WALKED)
    look = _properties if isinstance(instance, dict) else _items
    seen = look(validator, instance, schema, own)
    for there, inner in _in_place(validator, instance, schema):
        seen |= _evaluated(there, instance, inner)
    return seen


def _properties(validator: object, instance: dict[str, Any], schema: dict[str, Any], own: str) -> set[Any]:
    if any(keyword in schema for keyword in {"additionalProperties", "unevaluatedProperties"} - {own}):
        return set(instance)
    known = schema.get("properties", {})
    found = schema.get("patternProperties", {})
    return {name for name in instance if name in known or any(matches(pattern, name) for pattern in found)}


def _items(validator: Any, instance: list[Any], schema: dict[str, Any], own: str) -> set[Any]:  # noqa: ANN401
    first = schema.get("prefixItems", [])
    items = schema.get("items")
    if isinstance(items, list):  # up to 2019-09
        first, items = items, schema.get("additionalItems")
    if items is not None or "unevaluatedItems" in schema.keys() - {own}:
        return set(range(len(instance)))
    seen = set(range(min(len(first), len(instance))))
    if "contains" in schema:
        seen |= {at for at, item in enumerate(instance) if _fits(validator, item, schema["contains"])}
    return seen


def _in_place(validator: Any, instance: Any, schema: dict[str, Any]) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Schemas applied to the same place that hold, each with the validator that resolves its references."""
    resolver = validator._resolver
    found = [resolver.lookup(schema[keyword]) for keyword in ("$ref", "$dynamicRef") if keyword in schema]
    if "$recursiveRef" in schema:
        found.append(lookup_recursive_ref(resolver))
    for there in found:
        yield validator.evolve(schema=there.contents, _resolver=there.resolver), there.contents
    for inner in _beside(validator, instance, schema):
        yield validator, inner


def _beside(validator: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:  # noqa: ANN401
    if isinstance(instance, dict):
        yield from (inner for name, inner in schema.get("dependentSchemas", {}).items() if name in instance)
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from (inner for inner in schema.get(keyword, ()) if _fits(validator, instance, inner))
    if "if" in schema:
        holds = _fits(validator, instance, schema["if"])
        if holds:
            yield schema["if"]
        yield schema.get("then" if holds else "else")
