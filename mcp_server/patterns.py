"""JSON Schema's checks that a hostile schema or argument could make slow, in linear time instead. Pure.

Patterns run on RE2, which never backtracks; what RE2 can't say (look-ahead, back-references) quarantines the tool.
`uniqueItems` compares by key, not each with each.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import re2
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from kit.errors import Invalid

KEPT = 4096
"""Compiled patterns."""
_ESCAPED = re.compile(r"\\(\\|u([0-9a-fA-F]{4})|/)")


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


def check(tool: str, found: Iterable[str], *, unevaluated: bool) -> None:
    """Refuse patterns that can't be matched in linear time. `unevaluatedProperties` runs those beside it by Python's
    own engine, so next to it there may be none."""
    for pattern in found:
        if unevaluated:
            raise Invalid("tool_pattern", f"The schema of '{tool}' has both patterns and `unevaluatedProperties`.")
        try:
            _compiled(pattern)
        except re2.error as error:
            said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            raise Invalid(
                "tool_pattern",
                f"The schema of '{tool}' has the pattern {pattern[:200]!r}, which has no linear time: {said}.",
            ) from error


def matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


def linear(kind: type[Validator]) -> type[Validator]:
    """A validator of the same draft, with the checks of this file in the place of its own."""
    own = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional(kind),
        "uniqueItems": _unique,
    }
    made: type[Validator] = extend(kind, own)  # type: ignore[no-untyped-call]
    return made


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
