"""JSON Schemas that somebody else wrote, in bounded time: no pattern backtracks, no reference leads outside or back to
itself, and no value takes more than so many steps. Pure. Neighbours: `patterns`, `references`.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing.exceptions import Unresolvable

from kit import patterns
from kit.errors import Invalid
from kit.references import References

SHOWN = 200
"""Characters of one complaint; it may quote the value."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def validator(whose: str, schema: dict[str, Any]) -> Validator:
    """To be used inside of `patterns.bounded`. Invalid when nobody could check a value against the schema; `whose`
    completes "The schema of …"."""
    if far := next(_elsewhere(schema), None):
        raise Invalid("schema_remote", f"The schema of {whose} refers to {far}, outside of itself.")
    kind = validator_for(schema, default=Draft202012Validator)
    unevaluated = any("unevaluatedProperties" in node for node in objects(schema))
    patterns.check(whose, _patterns(schema), unevaluated=unevaluated)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise Invalid("schema_invalid", f"The schema of {whose} is not valid: {error.message}") from error
    References(whose, schema).check()
    return patterns.linear(kind)(schema)


def complaint(found: Validator, value: Any) -> str:  # noqa: ANN401 - a JSON value
    """The first thing that is wrong with a value, and where; '' when nothing is."""
    try:
        with patterns.bounded():
            error = next(found.iter_errors(value), None)
    except (patterns.TooMuch, RecursionError):
        return "it takes too much work to check"
    except Unresolvable as unresolvable:
        return f"its schema refers to {str(unresolvable)[:SHOWN]}"
    return _said(error) if error else ""


def _said(error: ValidationError) -> str:
    path = ".".join(map(str, error.absolute_path))
    said = error.message if len(error.message) <= SHOWN else error.message[:SHOWN] + "…"
    return f"{path}: {said}" if path else said


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, itself first."""
    return (node for node, _ in _objects(value))


def _objects(value: object, depth: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    if isinstance(value, dict):
        yield value, depth
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner, depth + 1)


def _patterns(schema: object) -> Iterator[str]:
    """Every pattern of a schema."""
    for node in objects(schema):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        if isinstance(node.get("patternProperties"), dict):
            yield from node["patternProperties"]


def _elsewhere(schema: object) -> Iterator[str]:
    """References that would have to be fetched; `$id` below the root moves the base, so it counts."""
    for node, depth in _objects(schema):
        for key in _REFERENCES:
            if isinstance(node.get(key), str) and not node[key].startswith("#"):
                yield node[key]
        if depth and isinstance(node.get("$id"), str):
            yield node["$id"]
