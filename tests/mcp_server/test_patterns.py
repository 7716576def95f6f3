"""Checks in linear time: they say what JSON Schema says, and nothing a schema or an argument holds makes them slow."""

import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kit import canonical
from kit.errors import Invalid
from mcp_server import schema


def tool(**properties: Any) -> schema.Definition:
    return schema.define("fake", {"name": "look", "inputSchema": {"type": "object"} | properties})


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (r"^[^@\s]+@[^@\s]+$", "a@b", "a b"),
        (r"^\d{4}-\d{2}$", "2026-11", "2026-1"),
        (r"^\u0041\/$", "A/", "B/"),
        (r"^\\u0041$", r"\u0041", "A"),
        ("b", "abc", "ac"),
    ],
)
def test_a_pattern_means_what_it_says(pattern: str, fits: str, fails: str) -> None:
    definition = tool(properties={"x": {"type": "string", "pattern": pattern}})
    assert schema.complaints(definition, {"x": fits}) == ""
    assert "does not match" in schema.complaints(definition, {"x": fails})


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "("])
def test_a_pattern_without_linear_time_quarantines_the_tool(pattern: str) -> None:
    places: list[dict[str, Any]] = [{"properties": {"x": {"pattern": pattern}}}, {"patternProperties": {pattern: {}}}]
    for where in places:
        with pytest.raises(Invalid) as refused:
            tool(**where)
        assert refused.value.code == "schema_pattern"


@pytest.mark.parametrize(
    ("properties", "arguments"),
    [
        ({"properties": {"x": {"pattern": "^(a+)+$"}}}, {"x": "a" * 40 + "!"}),
        ({"patternProperties": {"^(a+)+$": {"type": "null"}}}, {"a" * 40 + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"properties": {"x": {"uniqueItems": True}}}, {"x": [{"n": n} for n in range(20_000)]}),
    ],
)
def test_what_would_take_for_ever_elsewhere_takes_a_moment(properties: dict[str, Any], arguments: Any) -> None:
    definition = tool(**properties)
    began = time.process_time()
    schema.complaints(definition, arguments)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a1": 1},
        {"a1": "x"},
        {"b": 1},
        {"known": 1, "a1": "x", "b": 2},
        {"list": [1, 1.0]},
        {"list": [1, True]},
        {"list": [{"a": [1]}, {"a": [1]}]},
        {"list": [[], {}]},
    ],
)
@pytest.mark.parametrize("extra", [True, False, {"type": "integer"}])
def test_verdicts_are_those_of_the_plain_validator(value: dict[str, Any], extra: object) -> None:
    body = {
        "properties": {"known": {}, "list": {"uniqueItems": True}},
        "patternProperties": {"^a": {"type": "string"}},
        "additionalProperties": extra,
    }
    plain = Draft202012Validator({"type": "object"} | body).is_valid(value)
    assert (schema.complaints(tool(**body), value) == "") == plain


def test_arguments_of_more_than_256_kilobytes_are_refused() -> None:
    assert schema.complaints(tool(), {"x": "y" * (256 * 1024 - 8)}) == ""
    assert schema.complaints(tool(), {"x": "y" * (256 * 1024)}) == "its arguments are larger than 256 KB"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 2}', "json_duplicate_key"),
        ('{"a": NaN}', "json_not_a_number"),
        ('{"a": 1e999}', "json_not_a_number"),
        ('{"a": 9007199254740993}', "json_integer_too_large"),
        ("[" * 66 + "]" * 66, "json_too_deep"),
        ("[" * 100_000, "json_too_deep"),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(text: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        canonical.parse(text)
    assert refused.value.code == code
