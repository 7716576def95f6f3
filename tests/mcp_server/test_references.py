"""References of a schema: endless, broken or multiplying ones quarantine the tool; honest recursion works."""

import time
from typing import Any

import pytest

from kit.errors import Invalid
from mcp_server import schema

LEAF: dict[str, Any] = {"type": "string"}
DOUBLED: dict[str, Any] = {"a0": {}} | {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 19)}
CHAINED: dict[str, Any] = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(70)} | {"a70": {}}
TREE: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": LEAF, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name"],
        }
    },
}
AND, OR = (
    {"type": "object", "properties": {"op": {"const": op}, "of": {"items": {"$ref": "#/$defs/filter"}}}}
    for op in ("and", "or")
)
FILTERED: dict[str, Any] = {
    "properties": {"filter": {"$ref": "#/$defs/filter"}},
    "$defs": {"filter": {"oneOf": [AND, OR, LEAF]}},
}


def tool(**properties: Any) -> schema.Definition:
    return schema.define("fake", {"name": "look", "inputSchema": {"type": "object"} | properties})


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"$ref": "#"}, "schema_cycle"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, "schema_cycle"),
        ({"properties": {"x": {"$ref": "#/properties/x"}}}, "schema_cycle"),
        ({"$recursiveRef": "#", "$schema": "https://json-schema.org/draft/2019-09/schema"}, "schema_cycle"),
        ({"$ref": "#/$defs/missing"}, "schema_unresolved"),
        ({"properties": {"x": {"items": {"$ref": "#missing"}}}}, "schema_unresolved"),
        ({"properties": {"x": {"$ref": "#/required/7"}}, "required": ["x"]}, "schema_unresolved"),
        ({"$ref": "#/$defs/a18", "$defs": DOUBLED}, "schema_too_much"),
        ({"properties": {"x": {"$ref": "#/$defs/a18"}}, "$defs": DOUBLED}, "schema_too_much"),
        ({"$ref": "#/$defs/a0", "$defs": CHAINED}, "schema_too_much"),
    ],
)
def test_references_that_nobody_could_follow_quarantine_the_tool(properties: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        tool(**properties)
    assert refused.value.code == code
    assert "'look'" in refused.value.message


@pytest.mark.parametrize(
    ("properties", "fits", "fails"),
    [
        (TREE, {"name": "a", "children": [{"name": "b"}]}, {"name": "a", "children": [{"name": 1}]}),
        ({"properties": {"x": LEAF, "next": {"$ref": "#"}}}, {"next": {"next": {"x": "1"}}}, {"next": {"x": 1}}),
        ({"$defs": {"a/b c": LEAF}, "properties": {"x": {"$ref": "#/$defs/a~1b%20c"}}}, {"x": "1"}, {"x": 1}),
        ({"$defs": {"a": LEAF | {"$anchor": "here"}}, "properties": {"x": {"$ref": "#here"}}}, {"x": "1"}, {"x": 1}),
        (FILTERED, {"filter": {"op": "or", "of": ["a", {"op": "and", "of": []}]}}, {"filter": {"op": "xor", "of": []}}),
        ({"$defs": {"unused": {"$ref": "#/nowhere"}}, "properties": {"x": LEAF}}, {"x": "1"}, {"x": 1}),
        ({"properties": {"x": {"const": {"$ref": "#/nowhere"}}}}, {"x": {"$ref": "#/nowhere"}}, {"x": 1}),
        ({"$ref": "#/$defs/a3", "$defs": DOUBLED, "required": ["x"]}, {"x": 1}, {}),
    ],
)
def test_honest_references_mean_what_they_say(
    properties: dict[str, Any], fits: dict[str, Any], fails: dict[str, Any]
) -> None:
    definition = tool(**properties)
    assert schema.complaints(definition, fits) == ""
    assert schema.complaints(definition, fails) != ""


def test_what_doubles_with_each_level_of_a_value_is_refused_in_a_moment() -> None:
    below = {"properties": {"x": {"$ref": "#"}}}
    arguments: dict[str, Any] = {}
    for _ in range(40):
        arguments = {"x": arguments}
    definition = tool(allOf=[below, below])
    began = time.process_time()
    assert "too much work" in schema.complaints(definition, arguments)
    assert time.process_time() - began < 2
    assert schema.complaints(definition, {"x": {"x": {}}}) == ""
