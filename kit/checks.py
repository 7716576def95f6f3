"""JSON Schema's checks with their work counted: whatever a schema and a value hold, checking ends. Pure.

They are jsonschema's own, with those replaced that take more than linear time there. Every keyword that is applied is
counted, with what it walks over, each complaint with its length. Nothing is ever fetched, and one schema is one
dialect: a `$schema` further down changes nothing.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import specification_with

from kit.evaluated import unevaluated_items, unevaluated_properties, unexpected
from kit.patterns import matches
from kit.work import SCHEMA, TOLD, WALKED, WORK, bounded, breadth, budget

STEP = 8
"""Units of work of a keyword that is applied."""
LOOKUP = 16
"""Of a reference that is followed, beside that."""


class Checker:
    """Of values, against one schema that `check_schema` passed."""

    def __init__(self, kind: type[Validator], schema: Mapping[str, Any]) -> None:
        resource = specification_with(str(kind.META_SCHEMA["$schema"])).create_resource(schema)
        address = resource.id() or ""
        resolver = Registry().with_resource(address, resource).crawl().resolver(address)
        made: Any = _counted_kind(kind)
        self._validator: Validator = made(schema, _resolver=resolver)
        self._keys: dict[int, Any] = {}

    def complaints(self, value: Any, most: int, work: int = WORK) -> list[ValidationError]:  # noqa: ANN401
        """The first so many; TooMuch when looking for them takes more than `work`."""
        with bounded(work, self._keys):
            return [error for _, error in zip(range(most), self._validator.iter_errors(value), strict=False)]


def check_schema(kind: type[Validator], schema: Mapping[str, Any], work: int = SCHEMA) -> None:
    """SchemaError when it is no schema of this draft, TooMuch when that takes more than `work`."""
    made: Any = _counted_kind(kind)
    with bounded(work, {}):
        for error in made(kind.META_SCHEMA).iter_errors(schema):
            raise SchemaError.create_from(error)


@lru_cache
def _counted_kind(kind: type[Validator]) -> type[Validator]:
    own = {
        "$ref": _looked_up(kind, "$ref"),
        "$dynamicRef": _looked_up(kind, "$dynamicRef"),
        "$recursiveRef": _looked_up(kind, "$recursiveRef"),
        "additionalProperties": _additional,
        "const": _const,
        "dependencies": _dependent(kind, "dependencies"),
        "dependentRequired": _dependent(kind, "dependentRequired"),
        "enum": _enum,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "unevaluatedItems": unevaluated_items,
        "unevaluatedProperties": unevaluated_properties,
        "uniqueItems": _unique,
    }
    checks = {keyword: _counted(own.get(keyword, check)) for keyword, check in kind.VALIDATORS.items()}
    made: Any = extend(kind, checks)  # type: ignore[no-untyped-call]

    def evolve(self: Any, **changes: Any) -> Validator:  # noqa: ANN401 - jsonschema's own
        schema = changes.get("schema", self.schema)
        budget().spend(4 + breadth(schema) // WALKED)
        other: Validator = made(schema, _resolver=changes.get("_resolver", self._resolver))
        return other

    made.evolve = evolve
    counted: type[Validator] = made
    return counted


def _counted(check: Any) -> Any:  # noqa: ANN401 - checks in jsonschema's shape
    def step(validator: Any, value: Any, instance: object, schema: Any) -> Iterator[ValidationError]:  # noqa: ANN401
        walked = breadth(value) + (0 if isinstance(instance, str) else breadth(instance))
        budget().spend(STEP + walked // WALKED)
        for error in check(validator, value, instance, schema) or ():
            budget().spend(4 + len(error.message) // TOLD)
            yield error

    return step


def _key(value: object) -> object:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _key(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_key, value)))
    return (type(value).__name__ if isinstance(value, bool | str) else "other", value)


def _looked_up(kind: type[Validator], keyword: str) -> Any:  # noqa: ANN401
    plain: Any = kind.VALIDATORS.get(keyword)

    def check(validator: Any, value: Any, instance: object, schema: Any) -> Any:  # noqa: ANN401
        budget().spend(LOOKUP)
        return plain(validator, value, instance, schema)

    return check


def _dependent(kind: type[Validator], keyword: str) -> Any:  # noqa: ANN401
    plain: Any = kind.VALIDATORS.get(keyword)

    def check(validator: Any, named: Any, instance: object, schema: Any) -> Any:  # noqa: ANN401
        if not isinstance(instance, dict):
            return ()
        budget().spend(sum(breadth(each) for name, each in named.items() if name in instance) // WALKED)
        return plain(validator, named, instance, schema)

    return check


def _pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:  # noqa: ANN401
    if isinstance(instance, str) and not matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any,  # noqa: ANN401 - jsonschema's own
    found: Mapping[str, Any],
    instance: object,
    schema: object,
) -> Iterator[ValidationError]:
    for pattern, inner in found.items():
        for name, value in instance.items() if isinstance(instance, dict) else ():
            if matches(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional(validator: Any, extra: Any, instance: object, schema: Any) -> Iterator[ValidationError]:  # noqa: ANN401
    if not isinstance(instance, dict):
        return
    known, found = schema.get("properties", {}), schema.get("patternProperties", {})
    free = [name for name in instance if name not in known and not any(matches(each, name) for each in found)]
    if isinstance(extra, dict):
        for name in free:
            yield from validator.descend(instance[name], extra, path=name)
    elif not extra and free:
        yield ValidationError(f"Additional properties are not allowed ({unexpected(sorted(free))})")


def _enum(validator: object, values: list[Any], instance: object, schema: object) -> Iterator[ValidationError]:
    budget().spend(budget().size(instance))
    keys = budget().keys
    if id(values) not in keys:
        keys[id(values)] = frozenset(map(_key, values))
    if _key(instance) not in keys[id(values)]:
        yield ValidationError(f"{instance!r} is not one of {values!r}")


def _const(validator: object, value: object, instance: object, schema: object) -> Iterator[ValidationError]:
    budget().spend(budget().size(instance))
    keys = budget().keys
    if id(value) not in keys:
        keys[id(value)] = _key(value)
    if _key(instance) != keys[id(value)]:
        yield ValidationError(f"{value!r} was expected")


def _unique(validator: Any, wanted: object, instance: object, schema: object) -> Iterator[ValidationError]:  # noqa: ANN401
    if wanted and isinstance(instance, list):
        budget().spend(budget().size(instance))
        if len(set(map(_key, instance))) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")
