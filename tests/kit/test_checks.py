"""JSON Schema's checks say what jsonschema says, and none is slow at the limits of a schema and a value."""

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft7Validator, Draft201909Validator, Draft202012Validator

from kit import canonical, json_schema
from kit.errors import Invalid
from kit.patterns import MOST

LIMIT = 256 * 1024
SECONDS = 10.0
"""Of the processor, for what takes minutes unchecked."""
Schema = dict[str, Any]
D4 = "http://json-schema.org/draft-04/schema#"
D7 = "http://json-schema.org/draft-07/schema#"
D2019 = "https://json-schema.org/draft/2019-09/schema"


def many(each: Callable[[int], object], size: int = LIMIT) -> list[Any]:
    """As many as fit into so many bytes of JSON."""
    room = size - 200
    return [each(number) for number in range(room // (len(json.dumps(each(room))) + 2))]


def named(value: object, size: int = LIMIT) -> dict[str, Any]:
    room = size - 200
    return {f"p{number}": value for number in range(room // (len(json.dumps({f"p{room}": value})) + 2))}


HALF, QUARTER = LIMIT // 2, LIMIT // 4
NUMBERS, NAMES = many(lambda n: n), list(named(0))
FEW = many(lambda n: {})
DEEP: dict[str, Any] = {
    f"a{n}": {"$anchor": f"a{n}", "$ref": f"#a{n + 1}", "$dynamicRef": f"#a{n + 1}"} for n in range(16)
}
DECOY: Schema = {
    "$ref": "#a0",
    "unevaluatedProperties": False,
    "$defs": DEEP | {"a16": {"$anchor": "a16", "type": "object"}},
    "default": {f"a{n}": {"$anchor": f"a{n}"} for n in range(17)},
}
SLOW: dict[str, tuple[Schema, Any]] = {
    "enum": ({"items": {"enum": NUMBERS}}, [NUMBERS[-1]] * 30_000),
    "enum of a large value": ({"anyOf": [{"enum": [n]} for n in range(8000)]}, NUMBERS),
    "const": (
        {"allOf": [{"$ref": "#/$defs/c"}] * 3000, "$defs": {"c": {"const": many(lambda n: 0, HALF // 2)}}},
        many(lambda n: 0, HALF // 2),
    ),
    "uniqueItems": ({"allOf": [{"$ref": "#/$defs/c"}] * 3000, "$defs": {"c": {"uniqueItems": True}}}, NUMBERS),
    "properties": ({"items": {"properties": named(True, QUARTER)}}, FEW),
    "required": ({"items": {"anyOf": [{"required": NAMES}, {}]}}, FEW),
    "dependentRequired": ({"items": {"anyOf": [{"dependentRequired": {"a": NAMES}}, {}]}}, many(lambda n: {"a": 1})),
    "dependentSchemas": ({"items": {"dependentSchemas": named({}, QUARTER)}}, FEW),
    "dependencies": (
        {"$schema": D7, "items": {"anyOf": [{"dependencies": {"a": NAMES}}, {}]}},
        many(lambda n: {"a": 1}),
    ),
    "patternProperties": ({"patternProperties": {f"q{n}z": {} for n in range(MOST)}}, named(1)),
    "patternProperties and more": (
        {"patternProperties": {f"q{n}z": {} for n in range(MOST)}, "additionalProperties": False},
        named(1),
    ),
    "additionalProperties": (
        {"allOf": [{"additionalProperties": {"$ref": "#/$defs/c"}}] * 4000, "$defs": {"c": {}}},
        named(1),
    ),
    "propertyNames": ({"allOf": [{"propertyNames": {"minLength": 1}}] * 2000}, named(1)),
    "pattern": ({"items": {"pattern": "[ab]{1000}" * 20 + "c"}}, ["ab" * 5000] * 20),
    "pattern of short texts": ({"items": {"pattern": "a" + "[ab]{1000}" * 20 + "c"}}, ["ab" * 500] * 200),
    "items": ({"allOf": [{"items": {}}] * 4000}, NUMBERS),
    "prefixItems": ({"allOf": [{"$ref": "#/$defs/c"}] * 3000, "$defs": {"c": {"prefixItems": [True] * 3000}}}, NUMBERS),
    "contains": ({"allOf": [{"contains": {"const": -1}, "minContains": 0}] * 4000}, NUMBERS),
    "additionalItems": ({"$schema": D7, "allOf": [{"items": [{}], "additionalItems": {}}] * 4000}, NUMBERS),
    "unevaluatedProperties": ({"properties": named(True, QUARTER), "unevaluatedProperties": False}, named(1)),
    "unevaluatedProperties of all": (
        {"allOf": [{"properties": {"a": {}}}] * 2500, "unevaluatedProperties": False},
        named(1),
    ),
    "unevaluatedItems": ({"prefixItems": [True] * 9000, "unevaluatedItems": False}, many(lambda n: 1)),
    "unevaluated, many ways": (DECOY, {"x": 1}),
    "unevaluated of 2019": ({"$schema": D2019, "items": [True] * 9000, "unevaluatedItems": False}, many(lambda n: 1)),
    "anyOf that repeats": ({"anyOf": [{"type": "null"}] * 5000}, "x" * (LIMIT - 2)),
    "oneOf that repeats": ({"items": {"oneOf": [{}, {"enum": NUMBERS}, {}]}}, [1] * 3000),
    "not": ({"items": {"not": {"not": {"enum": NUMBERS}}}}, [1] * 100_000),
    "unknown keywords": ({"items": {"type": "integer"} | named(1)}, [1] * 5000),
    "references by anchor": (
        {"items": {"$ref": "#here"}, "$defs": named({}, QUARTER) | {"p0": {"$anchor": "here"}}},
        [1] * 100_000,
    ),
    "long references": (
        {"items": {"$ref": "#/$defs/" + "x" * (HALF - 50)}, "$defs": {"x" * (HALF - 50): {}}},
        [1] * 50_000,
    ),
    "a dialect of its own": ({"properties": {"x": {"$schema": D7, "pattern": "^(a+)+$"}}}, {"x": "a" * 40 + "!"}),
}


@pytest.mark.parametrize("name", SLOW)
def test_no_keyword_is_slow_at_the_limits(name: str) -> None:
    schema, value = SLOW[name]
    assert max(len(canonical.dumps(each)) for each in SLOW[name]) <= LIMIT
    found = json_schema.validator("this", schema)
    began = time.process_time()
    json_schema.complaint(found, value)
    assert time.process_time() - began < SECONDS


LARGE: list[Schema] = [
    {"$schema": D4, "properties": {"a": {"enum": ["x", *NUMBERS]}}},
    {"required": [1, *NAMES]},
    {"properties": named({})},
    {"$schema": D4, "properties": named({})},
    {"anyOf": [{"type": "null"}] * 15_000},
    {"properties": {"a": {"$anchor": "a" * (LIMIT - 100) + "!"}}},
    {"properties": named({"$ref": "#/$defs/a"}), "$defs": {"a": {}}},
    {"properties": {"a": {"type": ["string", *NAMES]}}},
    {"anyOf": [{"pattern": f"a{{1000}}{n}"} for n in range(9000)]},
    {"pattern": "a" + "[ab]{1000}" * 20_000},
]


@pytest.mark.parametrize("schema", LARGE)
def test_no_schema_takes_long_to_read(schema: Schema) -> None:
    assert len(canonical.dumps(schema)) <= LIMIT
    began = time.process_time()
    with contextlib.suppress(Invalid):
        json_schema.validator("this", schema)
    assert time.process_time() - began < 3 * SECONDS


ONE: Schema = {"type": "string"}
SAID: list[tuple[Schema, list[Any]]] = [
    (
        {"enum": [1, "a", None, [1, {"b": 2}], False]},
        [1, 1.0, True, "a", "b", None, [1, {"b": 2.0}], [True, {"b": 2}], 0, False],
    ),
    ({"const": {"a": [0]}}, [{"a": [0]}, {"a": [0.0]}, {"a": [False]}, {}]),
    ({"const": 0}, [0, 0.0, False, "0"]),
    ({"dependentRequired": {"a": ["b", "c"]}}, [{}, {"a": 1}, {"a": 1, "b": 1, "c": 1}, 3]),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{}, {"a": 1}, {"a": 1, "b": 2}]),
    ({"$schema": D7, "dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, [{"a": 1}, {"a": 1, "b": 1}, {"c": 1}]),
    ({"$schema": D4, "$ref": "#/definitions/a", "definitions": {"a": ONE}}, ["x", 1]),
    ({"$ref": "#here", "$defs": {"a": ONE | {"$anchor": "here"}}}, ["x", 1]),
    ({"$schema": D2019, "properties": {"a": {"$recursiveRef": "#"}}, "required": ["b"]}, [{"b": 1}, {"a": {}, "b": 1}]),
    ({"contains": ONE, "maxContains": 1}, [[], ["a"], ["a", "b"], [1]]),
    ({"$schema": D2019, "items": [ONE], "additionalItems": False}, [["a"], ["a", 1], [1]]),
    ({"propertyNames": {"maxLength": 1}}, [{"a": 1}, {"ab": 1}]),
    ({"not": ONE}, ["a", 1]),
    ({"oneOf": [ONE, {"minLength": 2}]}, ["a", "ab", 1]),
    ({"if": ONE, "then": {"minLength": 2}, "else": {"minimum": 2}}, ["a", "ab", 1, 2]),
    ({"properties": {"a": True}, "unevaluatedProperties": False}, [{"a": 1}, {"b": 1}]),
    ({"properties": {"a": True}, "unevaluatedProperties": ONE}, [{"a": 1}, {"b": 1}, {"b": "x"}]),
    (
        {"allOf": [{"properties": {"a": {}}}, {"patternProperties": {"^b": {}}}], "unevaluatedProperties": False},
        [{"a": 1}, {"b1": 1}, {"c": 1}],
    ),
    ({"allOf": [{"additionalProperties": ONE}], "unevaluatedProperties": False}, [{"a": "x"}, {"a": 1}]),
    (
        {"anyOf": [{"required": ["k"], "properties": {"k": {}}}, {}], "unevaluatedProperties": False},
        [{"k": 1}, {"j": 1}],
    ),
    (
        {
            "if": {"required": ["k"]},
            "then": {"properties": {"k": {}}},
            "else": {"properties": {"j": {}}},
            "unevaluatedProperties": False,
        },
        [{"k": 1}, {"j": 1}, {"k": 1, "j": 1}],
    ),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"k": {}}}}, "unevaluatedProperties": False},
        [{"k": 1}, {"j": 1}],
    ),
    ({"dependentSchemas": {"a": {"properties": {"a": {}}}}, "unevaluatedProperties": False}, [{"a": 1}, {"b": 1}]),
    ({"prefixItems": [ONE], "unevaluatedItems": False}, [["a"], ["a", 1], [1], []]),
    ({"prefixItems": [ONE], "contains": {"minimum": 5}, "unevaluatedItems": False}, [["a", 6], ["a", 6, 1]]),
    ({"allOf": [{"items": ONE}], "unevaluatedItems": False}, [["a"], [1]]),
    ({"$schema": D2019, "items": [ONE], "unevaluatedItems": {"minimum": 2}}, [["a"], ["a", 2], ["a", 1]]),
    (
        {
            "$schema": D2019,
            "anyOf": [{"items": [ONE], "additionalItems": ONE}, {"items": [{}]}],
            "unevaluatedItems": False,
        },
        [["a", "b"], [1], [1, 2]],
    ),
]
KINDS = {D4: Draft4Validator, D7: Draft7Validator, D2019: Draft201909Validator}


@pytest.mark.parametrize("number", range(len(SAID)))
def test_verdicts_are_those_of_the_plain_validator(number: int) -> None:
    schema, values = SAID[number]
    plain = KINDS.get(schema.get("$schema", ""), Draft202012Validator)(schema)
    found = json_schema.validator("this", schema)
    verdicts = [json_schema.complaint(found, value) == "" for value in values]
    assert verdicts == [plain.is_valid(value) for value in values]
    assert len(set(verdicts)) == 2  # each of them tells fitting values from others


@pytest.mark.parametrize(
    "named",
    ["http://json-schema.org/draft-03/schema#", "https://example.com/mine", "", 1, None, ["x"], {}, True],
)
def test_a_schema_of_a_draft_nobody_knows_is_refused(named: object) -> None:
    with pytest.raises(Invalid) as refused:
        json_schema.validator("this", {"$schema": named, "type": "object"})
    assert refused.value.code == "schema_draft"


@pytest.mark.parametrize("named", [D4.rstrip("#"), D7.replace("http:", "https:"), D2019])
def test_a_draft_is_known_however_it_is_spelt(named: str) -> None:
    assert json_schema.complaint(json_schema.validator("this", {"$schema": named, "type": "object"}), []) != ""


def test_nothing_is_fetched_whatever_address_a_part_gives_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        part = {"id": f"http://127.0.0.1:{listening.getsockname()[1]}/", "properties": {"c": {"$ref": "#/c"}}}
        beside = {"x-part": {"properties": {"b": part}}, "c": {}}
        schema = {"$schema": D4, "properties": {"a": {"$ref": "#/x-part"}}} | beside
        said = json_schema.complaint(json_schema.validator("this", schema), {"a": {"b": {"c": 1}}})
        assert said.startswith("it cannot be checked")
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_part_that_was_never_read_as_a_schema_ends_in_a_complaint() -> None:
    found = json_schema.validator("this", {"properties": {"a": {"$ref": "#/x-odd"}}, "x-odd": {"minimum": "x"}})
    assert json_schema.complaint(found, {"a": 1}).startswith("it cannot be checked")
