"""Schemas at Anthropic and Gemini: as they were written, or in words beside them, or refused; LiteLLM sees none."""

import json
from typing import Any

import pytest

from gateway.dialects import schemas
from gateway.dialects.params import MOST_CALLS
from gateway.provider import transformed
from gateway.wires.fields import MOST_DEPTH
from gateway.wires.neutral import Address, Json, Request
from kit.errors import Invalid
from tests.gateway.carrying import MODELS, parsed
from tests.gateway.specimens_schemas import CHOICE, DESCRIBED, MAP, OPEN, RICH
from tests.gateway.test_carried import WIRES
from tests.gateway.test_weight import bomb

OLDER = "gemini-flash-latest"
"""A name from which LiteLLM does not know that the model takes JSON Schema."""


def _tool(schema: Json) -> Request:
    tool = {"type": "function", "function": {"name": "pay", "parameters": schema}}
    return _chat(tools=[tool])


def _chat(**more: Any) -> Request:
    return parsed(WIRES["chat"], {"model": "a", "messages": [{"role": "user", "content": "x"}], **more})


def _answer(schema: Json) -> Request:
    return _chat(response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})


def _deep(levels: int) -> Json:
    schema: Json = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("model", [MODELS["gemini"], OLDER])
@pytest.mark.parametrize("schema", [MAP, OPEN, bomb(60)])
async def test_gemini_gets_a_schema_as_it_was_written(schema: Json, model: str) -> None:
    body, dropped = await transformed("gemini", _tool(schema), model, 900)
    assert body["tools"] == [
        {"function_declarations": [{"name": "pay", "description": "", "parametersJsonSchema": schema}]}
    ]
    assert dropped == ()
    body, dropped = await transformed("gemini", _answer(schema), model, 900)
    config = body["generationConfig"]
    assert (config["response_json_schema"], config["response_mime_type"]) == (schema, "application/json")
    assert [name for name in config if "schema" in name.lower()] == ["response_json_schema"]
    assert dropped == ()


async def test_gemini_reads_a_reference_that_stands_alone_and_constants_as_lists() -> None:
    body, _ = await transformed("gemini", _tool(DESCRIBED), MODELS["gemini"], 900)
    (declared,) = body["tools"][0]["function_declarations"]
    at = declared["parametersJsonSchema"]["properties"]["at"]
    assert at == {"anyOf": [{"$ref": "#/$defs/Place"}], "description": "Where."}
    rich = schemas.gemini(RICH)
    assert rich["properties"]["currency"] == {"enum": ["EUR"]}
    assert rich["properties"]["from"] == {"$ref": "#/$defs/Place"}
    assert schemas.gemini({"$ref": "#/$defs/a", "anyOf": [{}]}) == {"$ref": "#/$defs/a", "anyOf": [{}]}


async def test_a_function_without_arguments_has_none_at_gemini() -> None:
    body, _ = await transformed("gemini", _tool({}), MODELS["gemini"], 900)
    assert body["tools"] == [{"function_declarations": [{"name": "pay", "description": ""}]}]


@pytest.mark.parametrize("schema", [RICH, MAP, OPEN, DESCRIBED, bomb(60)])
async def test_the_tools_of_anthropic_have_whole_schemas(schema: Json) -> None:
    body, dropped = await transformed("messages", _tool(schema), MODELS["messages"], 900)
    assert (body["tools"][0]["input_schema"], dropped) == (schema, ())


async def test_a_choice_of_arguments_is_dropped_with_a_record_at_anthropic() -> None:
    body, dropped = await transformed("messages", _tool(CHOICE), MODELS["messages"], 900)
    assert (body["tools"][0]["input_schema"], dropped) == (schemas.STUB, ("tools.parameters",))


async def test_what_anthropic_holds_no_answer_to_stands_beside_it_in_words_and_in_the_record() -> None:
    body, dropped = await transformed("messages", _answer(RICH), MODELS["messages"], 900)
    assert dropped == ("response_format.schema",)
    made = body["output_config"]["format"]["schema"]
    told = made["properties"]
    assert told["amount"] == {
        "type": "number",
        "description": '{"exclusiveMinimum":0,"maximum":500,"multipleOf":0.01}',
    }
    assert told["iban"]["description"] == '{"minLength":22,"format":"iban"}'
    assert told["tags"] == {
        "type": "array",
        "items": {"type": "string", "description": "A tag."},
        "description": '{"minItems":2}',
    }
    assert told["pet"]["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert (told["currency"], told["level"]) == ({"const": "EUR"}, {"enum": [1, 2, 3]})
    assert made["$defs"]["Place"] == RICH["$defs"]["Place"] | {"additionalProperties": False}
    assert made["additionalProperties"] is False


async def test_a_form_that_anthropic_takes_is_not_touched_but_closed() -> None:
    body, dropped = await transformed("messages", _answer(bomb(60)), MODELS["messages"], 900)
    made = body["output_config"]["format"]["schema"]
    assert dropped == ()
    assert json.loads(json.dumps(made).replace(', "additionalProperties": false', "")) == bomb(60)


@pytest.mark.parametrize(
    "schema",
    [
        MAP,
        {"type": "object"},
        {"type": ["object", "null"], "additionalProperties": True},
        {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
        {"anyOf": [{"type": "object", "patternProperties": {"^x": {}}}]},
    ],
)
async def test_an_answer_with_keys_that_nobody_named_is_refused_at_anthropic(schema: Json) -> None:
    with pytest.raises(Invalid, match="keys are not named"):
        await transformed("messages", _answer(schema), MODELS["messages"], 900)


async def test_a_json_answer_without_a_schema_is_dropped_with_a_record_at_anthropic() -> None:
    request = _chat(response_format={"type": "json_object"}, reasoning_effort="low")
    _, dropped = await transformed("messages", request, "claude-opus-4-6", 20_000)
    assert "response_format" in dropped


async def test_the_clients_own_schema_is_not_written_into() -> None:
    before = json.dumps(RICH)
    for request in (_tool(RICH), _answer(RICH)):
        for dialect in ("messages", "gemini"):
            await transformed(dialect, request, MODELS[dialect], 900)
        assert before in json.dumps(request.body) or before == json.dumps(RICH)
    assert before == json.dumps(RICH)


async def test_a_schema_has_an_end() -> None:
    for request, dialect in (
        (_answer(_deep(MOST_DEPTH + 1)), "messages"),
        (_answer(_deep(MOST_DEPTH + 1)), "gemini"),
        (_tool(_deep(MOST_DEPTH + 1)), "gemini"),
    ):
        with pytest.raises(Invalid, match="deeper than 64"):
            await transformed(dialect, request, MODELS[dialect], 900)
    await transformed("gemini", _tool(_deep(MOST_DEPTH)), MODELS["gemini"], 900)
    told = {"functionDeclarations": [{"name": "f", "parameters": _deep(400)}]}
    with pytest.raises(Invalid, match="deeper than 64"):
        WIRES["gemini"].parse({"contents": [], "tools": [told]}, Address(alias="a"))


@pytest.mark.parametrize("dialect", ["messages", "gemini"])
async def test_a_turn_has_so_many_calls_at_most_where_litellm_writes_it(dialect: str) -> None:
    calls = [
        {"id": f"c{number}", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
        for number in range(MOST_CALLS + 1)
    ]
    turn = {"role": "assistant", "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in calls]
    with pytest.raises(Invalid, match="calls in one turn"):
        await transformed(dialect, _chat(messages=[turn, *results]), MODELS[dialect], 900)
