"""JSON Schemas that somebody else wrote, in bounded time: no pattern backtracks, no reference leads outside or back to
itself, and no value takes more than so much work. Pure. Neighbours: `patterns`, `references`, `checks`.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    SchemaError,
)
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from kit import patterns
from kit.checks import Checker, check_schema
from kit.errors import Invalid
from kit.references import References
from kit.work import WORK, TooMuch

SHOWN = 200
"""Characters of one complaint; it may quote the value."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


DRAFTS: dict[str, type[Validator]] = {
    "json-schema.org/draft-04/schema": Draft4Validator,
    "json-schema.org/draft-06/schema": Draft6Validator,
    "json-schema.org/draft-07/schema": Draft7Validator,
    "json-schema.org/draft/2019-09/schema": Draft201909Validator,
    "json-schema.org/draft/2020-12/schema": Draft202012Validator,
}


def validator(whose: str, schema: dict[str, Any]) -> Checker:
    """Invalid when nobody could check a value against the schema; `whose` completes "The schema of …"."""
    kind = _draft(whose, schema)
    if far := next(_elsewhere(schema), None):
        raise Invalid("schema_remote", f"The schema of {whose} refers to {far[:SHOWN]}, outside of itself.")
    patterns.check(whose, _patterns(schema))
    try:
        check_schema(kind, schema)
    except SchemaError as error:
        raise Invalid("schema_invalid", f"The schema of {whose} is not valid: {error.message[:SHOWN]}") from error
    except (TooMuch, RecursionError) as error:
        raise Invalid("schema_too_much", f"The schema of {whose} takes too much work to read.") from error
    References(whose, schema).check()
    return Checker(kind, schema)


def complaint(found: Checker, value: Any) -> str:  # noqa: ANN401 - a JSON value
    """The first thing that is wrong with a value, and where; '' when nothing is."""
    try:
        wrong = complaints(found, value, 1)
    except TooMuch:
        return "it takes too much work to check"
    return _said(wrong[0]) if wrong else ""


def complaints(found: Checker, value: Any, most: int, work: int = WORK) -> list[ValidationError]:  # noqa: ANN401
    """The first so many things that are wrong with a value; TooMuch when `work` was not enough to see. What cannot be
    checked is wrong too."""
    try:
        return found.complaints(value, most, work)
    except RecursionError as error:
        raise TooMuch from error
    except TooMuch:
        raise
    except Exception as error:  # a part that is reached by reference alone was never read as a schema
        return [ValidationError(f"it cannot be checked: {str(error)[:SHOWN]}")]


def _draft(whose: str, schema: dict[str, Any]) -> type[Validator]:
    named = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    kind = DRAFTS.get(named.partition("://")[2].removesuffix("#")) if isinstance(named, str) else None
    if kind is None:
        raise Invalid("schema_draft", f"The schema of {whose} is of no draft we know: {str(named)[:SHOWN]}.")
    return kind


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
