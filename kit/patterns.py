"""JSON Schema's checks that a hostile schema or argument could make slow, in linear time instead. Pure.

Patterns run on RE2, which never backtracks; what RE2 can't say (look-ahead, back-references) is refused.
`uniqueItems` compares by key, not each with each. What a small schema may multiply all the same (each level of a value
against two branches that both go below) is counted while it is checked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import re2
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from kit.errors import Invalid

KEPT = 4096
"""Compiled patterns."""
STEPS = 50_000
"""Keywords of a schema that may be applied to one value, in all."""
_ESCAPED = re.compile(r"\\(\\|u([0-9a-fA-F]{4})|/)")


_LEFT: ContextVar[list[int]] = ContextVar("left")


class TooMuch(Exception):
    """Checking a value took more than `STEPS`."""


@contextmanager
def bounded() -> Iterator[None]:
    """Checks inside of this end in `TooMuch` when they took their steps."""
    token = _LEFT.set([STEPS])
    try:
        yield
    finally:
        _LEFT.reset(token)


@lru_cache(KEPT)
def _compiled(pattern: str) -> Any:  # noqa: ANN401 - RE2's binding has no types
    options = re2.Options()
    options.log_errors = False
    return re2.compile(_ESCAPED.sub(_translated, pattern), options)


def _translated(found: "re.Match[str]") -> str:
    """ECMAScript's \\u0041 and \\/ in RE2's spelling."""
    if found[2]:
        return f"\\x{{{found[2]}}}"
    return "/" if found[1] == "/" else found[0]


def check(whose: str, found: Iterable[str], *, unevaluated: bool) -> None:
    """Refuse patterns that can't be matched in linear time. `unevaluatedProperties` runs those beside it by Python's
    own engine, so next to it there may be none."""
    for pattern in found:
        if unevaluated:
            raise Invalid("schema_pattern", f"The schema of {whose} has both patterns and `unevaluatedProperties`.")
        try:
            _compiled(pattern)
        except re2.error as error:
            said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            raise Invalid(
                "schema_pattern",
                f"The schema of {whose} has the pattern {pattern[:200]!r}, which has no linear time: {said}.",
            ) from error


def matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


def linear(kind: type[Validator]) -> type[Validator]:
    """A validator of the same draft, with the checks of this file in the place of its own, each of them counted. To be
    used inside of `bounded`."""
    own = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional(kind),
        "uniqueItems": _unique,
    }
    counted = {keyword: _counted(check) for keyword, check in {**kind.VALIDATORS, **own}.items()}
    made: type[Validator] = extend(kind, counted)  # type: ignore[no-untyped-call]
    return made


def _counted(check: Any) -> Any:  # noqa: ANN401 - checks in jsonschema's shape
    def step(validator: Any, value: Any, instance: object, schema: Any) -> Any:  # noqa: ANN401
        left = _LEFT.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooMuch
        return check(validator, value, instance, schema)

    return step


def _pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:  # noqa: ANN401
    if isinstance(instance, str) and not matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any,  # noqa: ANN401 - jsonschema's own
    patterns: Mapping[str, Any],
    instance: object,
    schema: object,
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for name, value in instance.items():
            if matches(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional(kind: type[Validator]) -> Any:  # noqa: ANN401 - a check in jsonschema's shape
    plain: Any = kind.VALIDATORS["additionalProperties"]

    def check(validator: Any, extra: Any, instance: object, schema: Any) -> Iterator[ValidationError]:  # noqa: ANN401
        patterns = schema.get("patternProperties", {})
        if not isinstance(instance, dict):
            return
        known = schema.get("properties", {})
        free = {
            name: value
            for name, value in instance.items()
            if name not in known and not any(matches(pattern, name) for pattern in patterns)
        }
        without = {key: value for key, value in schema.items() if key != "patternProperties"}
        yield from plain(validator, extra, free, without | {"properties": {}})

    return check


def _unique(validator: Any, wanted: object, instance: object, schema: object) -> Iterator[ValidationError]:  # noqa: ANN401
    if wanted and isinstance(instance, list) and len(set(map(_key, instance))) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _key(value: object) -> object:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _key(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_key, value)))
    return (type(value).__name__ if isinstance(value, bool | str) else "other", value)
