"""Google's wire to providers of the other dialects: what they are asked, what they can't carry."""

import copy
import json
from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.neutral import Address, Json, Request
from kit.errors import Invalid
from tests.gateway.test_translation import CHAT_TOOLS, CLAUDE, PNG, SCHEMA

LOOK: Json = {"role": "user", "parts": [{"text": "look"}]}
TOOLS: Json = {
    "tools": [{"functionDeclarations": [{"name": "look", "description": "Look.", "parametersJsonSchema": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
}
TALK: list[Json] = [
    LOOK,
    {
        "role": "model",
        "parts": [
            {"text": "hm", "thought": True},
            {"text": "I look twice."},
            {"functionCall": {"name": "look", "args": {"a": 1}}, "thoughtSignature": "GSIG"},
            {"functionCall": {"name": "look", "args": {"a": 2}}},
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "look", "response": {"output": "one"}}},
            {"functionResponse": {"name": "look", "response": {"error": "gone"}}},
        ],
    },
]


def asked(**fields: Any) -> Request:
    """A request of Google's wire."""
    return GEMINI_WIRE.parse(copy.deepcopy({"contents": [LOOK], **fields}), Address(alias="default"))


async def put(dialect: str, request: Request) -> tuple[Json, tuple[str, ...]]:
    """The request in another dialect's words."""
    if dialect == "messages":
        return await transformed("messages", request, CLAUDE, 20_000)
    way = {"chat": CHAT, "responses": RESPONSES}[dialect].asked
    assert way
    return way(request, "model", 20_000)


SYSTEM: Json = {"systemInstruction": {"parts": [{"text": "Be quick."}]}}
CONFIG: Json = {"generationConfig": {"temperature": 1, "stopSequences": ["END"]}}


async def test_text_reaches_all() -> None:
    request = asked(**SYSTEM, **CONFIG)
    chat, dropped = await put("chat", request)
    assert chat["messages"] == [{"role": "system", "content": "Be quick."}, {"role": "user", "content": "look"}]
    assert (chat["temperature"], chat["stop"], dropped) == (1, ["END"], ())
    responses, dropped = await put("responses", request)
    assert "Be quick." in json.dumps(responses) and "look" in json.dumps(responses["input"])
    assert (responses["temperature"], dropped) == (1, ("stop",))
    messages, dropped = await put("messages", request)
    assert messages["system"] == [{"type": "text", "text": "Be quick."}]
    assert messages["messages"] == [{"role": "user", "content": [{"type": "text", "text": "look"}]}]
    assert (messages["temperature"], messages["stop_sequences"], dropped) == (1, ["END"], ())


async def test_tools_reach_all() -> None:
    request = asked(**TOOLS)
    chat, _ = await put("chat", request)
    assert (chat["tools"], chat["tool_choice"]) == (CHAT_TOOLS["tools"], "required")
    responses, _ = await put("responses", request)
    (offered,) = responses["tools"]
    assert (offered["name"], offered["parameters"]) == ("look", SCHEMA)
    assert responses["tool_choice"] == "required"
    messages, _ = await put("messages", request)
    (offered,) = messages["tools"]
    assert (offered["name"], offered["description"], offered["input_schema"]) == ("look", "Look.", SCHEMA)
    assert messages["tool_choice"]["type"] == "any"


async def test_parallel_calls_and_their_results_reach_all() -> None:
    request = asked(contents=TALK, **TOOLS)
    chat, dropped = await put("chat", request)
    _, turn, *results = chat["messages"]
    assert turn["content"] == "I look twice."
    assert [(call["id"], call["function"]["arguments"]) for call in turn["tool_calls"]] == [
        ("own_1", '{"a":1}'),
        ("own_2", '{"a":2}'),
    ]
    assert [(item["tool_call_id"], item["content"]) for item in results] == [("own_1", "one"), ("own_2", "Error: gone")]
    assert dropped == ("reasoning", "signature")
    responses, dropped = await put("responses", request)
    calls = [item for item in responses["input"] if item["type"] == "function_call"]
    outputs = [item for item in responses["input"] if item["type"] == "function_call_output"]
    assert [item["call_id"] for item in calls] == [item["call_id"] for item in outputs] == ["own_1", "own_2"]
    assert dropped == ("reasoning", "signature")
    messages, dropped = await put("messages", request)
    assert messages["messages"][1]["content"] == [
        {"type": "text", "text": "I look twice."},
        {"type": "tool_use", "id": "own_1", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": "own_2", "name": "look", "input": {"a": 2}},
    ]
    assert messages["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "own_1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "own_2", "content": "gone", "is_error": True},
    ]
    assert dropped == ("reasoning", "signature")
    for body in (chat, responses, messages):
        assert "GSIG" not in json.dumps(body) and "preloop" not in json.dumps(body)


async def test_pictures_reach_all() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    request = asked(contents=[{"role": "user", "parts": [{"text": "see"}, picture]}])
    url = f"data:image/png;base64,{PNG}"
    chat, _ = await put("chat", request)
    assert chat["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": url}}
    responses, _ = await put("responses", request)
    assert url in json.dumps(responses["input"])
    messages, _ = await put("messages", request)
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert messages["messages"][0]["content"][1] == {"type": "image", "source": source}


async def test_a_picture_that_a_model_can_not_see_is_refused() -> None:
    picture = {"inlineData": {"mimeType": "image/heic", "data": PNG}}
    with pytest.raises(Invalid, match="heic"):
        await put("messages", asked(contents=[{"role": "user", "parts": [picture]}]))


@pytest.mark.parametrize(
    "wanted",
    [
        {"responseJsonSchema": SCHEMA},
        {
            "responseSchema": {
                "type": "OBJECT",
                "properties": {"a": {"type": "NUMBER"}},
                "required": ["a"],
                "additionalProperties": False,
            }
        },
    ],
)
async def test_structured_output_reaches_all(wanted: Json) -> None:
    request = asked(generationConfig={"responseMimeType": "application/json", **wanted})
    chat, _ = await put("chat", request)
    assert chat["response_format"]["json_schema"]["schema"] == SCHEMA
    responses, _ = await put("responses", request)
    assert responses["text"]["format"]["schema"] == SCHEMA
    messages, _ = await put("messages", request)
    assert messages["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


async def test_thinking_reaches_those_who_think() -> None:
    request = asked(generationConfig={"thinkingConfig": {"thinkingBudget": 2048}})
    assert (await put("messages", request))[0]["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert (await put("chat", request))[1] == ("thinking",)
    request = asked(generationConfig={"thinkingConfig": {"thinkingLevel": "high"}})
    assert (await put("chat", request))[0]["reasoning_effort"] == "high"
    assert (await put("responses", request))[0]["reasoning"]["effort"] == "high"


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@pytest.mark.parametrize(
    "fields", [{"tools": [{"googleSearch": {}}]}, {"generationConfig": {"candidateCount": 2}}], ids=["hosted", "two"]
)
async def test_what_would_change_the_question_is_refused(dialect: str, fields: Json) -> None:
    with pytest.raises(Invalid):
        await put(dialect, asked(**fields))
