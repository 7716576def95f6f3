"""The Gemini wire: what it reads of a request and its address, and what it refuses. Its answers: `test_gemini_face`."""

import copy
import json
from typing import Any

import pytest

from gateway.wires.gemini_face import GEMINI
from gateway.wires.neutral import Address, Call, Image, Json, Request, Result, Said, Thought, Tool
from gateway.wires.seals import seal
from kit.errors import Invalid

PNG = "iVBORw0KGgo="
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
AT = Address(alias="default", stream=True)
CLI: Json = {
    "systemInstruction": {"role": "user", "parts": [{"text": "Be quick."}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "look"},
                {
                    "inlineData": {"mimeType": "image/png", "data": PNG},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                },
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "!", "thought": True, "thoughtSignature": "SIG"},
                {"text": "I look.", "thoughtSignature": "TSIG"},
                {"functionCall": {"id": "c1", "name": "look", "args": {"a": 1}}, "thoughtSignature": "CSIG"},
                {"functionCall": {"name": "list", "args": {}}},
                {"executableCode": {"id": "1", "language": "PYTHON", "code": "1"}},
                {"codeExecutionResult": {"id": "1", "outcome": "OUTCOME_OK", "output": "1"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "c1",
                        "name": "look",
                        "response": {"output": "here"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG, "displayName": "a"}}],
                    }
                },
                {"functionResponse": {"name": "list", "response": {"error": "gone"}}},
                {"text": "go on"},
            ],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "look", "description": "Look.", "parametersJsonSchema": SCHEMA},
                {"name": "list", "response": {"type": "STRING"}, "behavior": "BLOCKING"},
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
    "generationConfig": {
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "seed": 7,
        "presencePenalty": 0.5,
        "frequencyPenalty": 0.25,
        "maxOutputTokens": 900,
        "candidateCount": 2,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "responseModalities": ["TEXT"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512, "thinkingLevel": "HIGH"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "labels": {"team": "a"},
    "serviceTier": "standard",
    "store": True,
}
"""What Gemini CLI sends and more, all of it at once."""


def read(body: Json, address: Address = AT) -> Request:
    return GEMINI.parse(copy.deepcopy(body), address)


def asked(**fields: Any) -> Json:
    return {"contents": [{"role": "user", "parts": [{"text": "look"}]}], **fields}


def turn(role: str, *parts: Json) -> Json:
    return {"contents": [{"role": role, "parts": list(parts)}]}


def test_what_gemini_cli_sends_is_read_to_the_bottom() -> None:
    request = read(CLI)
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert request.messages[1].parts == (Said(text="look"), Image(media_type="image/png", data=PNG))
    assert request.messages[2].parts == (
        Thought(text="hm!", seal=seal("gemini", "SIG")),
        Thought(seal=seal("gemini", "TSIG"), redacted=True),
        Said(text="I look."),
        Call(id="c1", name="look", arguments='{"a":1}', seal=seal("gemini", "CSIG")),
        Call(id="own_2", name="list", arguments="{}"),
    )
    shown = Image(media_type="image/png", data=PNG)
    assert request.messages[3].parts == (Result(call_id="c1", parts=(Said(text="here"), shown)),)
    assert request.messages[4].parts == (Result(call_id="own_2", parts=(Said(text="gone"),), failed=True),)
    assert request.tools == (Tool(name="look", own="look", description="Look.", parameters=SCHEMA),)
    assert (request.alias, request.stream, request.tool_choice) == ("default", True, "required")
    assert request.sampling == {
        "temperature": 1,
        "top_p": 0.95,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "stop": ["END"],
    }
    assert (request.max_output, request.choices, request.thinking, request.effort) == (900, 2, 512, "high")
    assert request.format == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert (request.media, request.media_bytes) == (2, 2 * len(PNG))
    assert request.dropped == (
        "codeExecutionResult", "displayName", "executableCode", "includeThoughts", "labels", "mediaResolution",
        "safetySettings", "serviceTier", "tools.response", "topK",
    )  # fmt: skip


def snaked(value: Any) -> Any:
    """The same in the spelling of protocol buffers, but for data."""
    if isinstance(value, list):
        return [snaked(item) for item in value]
    if not isinstance(value, dict):
        return value
    data = ("args", "response", "parametersJsonSchema", "responseJsonSchema", "labels")
    named = {name: inner if name in data else snaked(inner) for name, inner in value.items()}
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): inner for name, inner in named.items()}


def test_both_spellings_are_one_and_leave_as_one() -> None:
    snake = snaked(CLI)
    assert "system_instruction" in snake and "thought_signature" in json.dumps(snake)
    assert read(snake) == read(CLI)
    assert read(snake).body == CLI


@pytest.mark.parametrize(
    "body",
    [
        asked(generationConfig={}, generation_config={}),
        asked(generationConfig={"maxOutputTokens": 9, "max_output_tokens": 9}),
        turn("user", {"inlineData": {"mimeType": "image/png", "mime_type": "text/html", "data": PNG}}),
    ],
)
def test_a_field_in_both_spellings_is_refused(body: Json) -> None:
    with pytest.raises(Invalid, match="are the same"):
        read(body)


def test_chunks_that_a_client_kept_are_one_turn() -> None:
    """Google's own chat keeps every chunk of a stream as a turn of the model."""
    parts: list[Json] = [
        {"text": "Let me", "thought": True},
        {"text": " see.", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "SIG"},
        {"text": "I"},
        {"text": " look."},
        {"functionCall": {"name": "look"}},
        {"text": ""},
    ]
    (message,) = read({"contents": [{"role": "model", "parts": [part]} for part in parts]}).messages
    assert message.parts == (
        Thought(text="Let me see.", seal=seal("gemini", "SIG")),
        Said(text="I look."),
        Call(id="own_1", name="look", arguments="{}"),
    )


def test_results_without_an_id_are_of_the_calls_in_their_order() -> None:
    calls = {"role": "model", "parts": [{"functionCall": {"name": name}} for name in ("look", "list", "look")]}
    results: list[Json] = [{"functionResponse": {"name": name, "response": {}}} for name in ("list", "look", "look")]
    request = read({"contents": [calls, {"role": "user", "parts": results}]})
    assert [call.id for call in request.messages[0].calls] == ["own_1", "own_2", "own_3"]
    assert [message.call_id for message in request.messages[1:]] == ["own_2", "own_1", "own_3"]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "a"}, "a", False),
        ({"result": "a"}, "a", False),
        ({"error": "a"}, "a", True),
        ({"error": {"code": 1}}, '{"error":{"code":1}}', True),
        ({"result": 3}, '{"result":3}', False),
        ({"output": "a", "error": "b"}, '{"output":"a","error":"b"}', False),
        ({}, "", False),
    ],
)
def test_a_result_is_its_text_or_its_json(response: Json, text: str, failed: bool) -> None:
    request = read(turn("function", {"functionResponse": {"name": "look", "response": response}}))
    (part,) = request.messages[0].parts
    assert isinstance(part, Result)
    assert (part.text, part.failed) == (text, failed)


def test_a_picture_leaves_the_sdks_alphabet() -> None:
    """Google's Python SDK writes bytes in the alphabet of addresses, which no other provider reads."""
    request = read(turn("user", {"inlineData": {"mime_type": "image/png", "data": "__777wAB"}}))
    assert request.messages[0].parts == (Image(media_type="image/png", data="//777wAB"),)


def test_an_openapi_schema_is_told_as_json_schema() -> None:
    plain = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "nullable": True, "enum": ["a"]},
            "list": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1", "maxItems": "3"},
            "either": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
            "nullable": {"type": "TYPE_UNSPECIFIED"},
        },
        "required": ["type"],
        "property_ordering": ["list", "type"],
    }
    request = read(asked(tools=[{"functionDeclarations": [{"name": "look", "parameters": plain}]}]))
    assert request.tools[0].parameters == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["a", None]},
            "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
            "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
            "nullable": {},
        },
        "required": ["type"],
    }
    assert request.body["tools"][0]["functionDeclarations"][0]["parameters"] == plain


@pytest.mark.parametrize(
    ("config", "thinking", "effort"),
    [
        ({}, None, None),
        ({"thinkingBudget": -1}, None, None),
        ({"thinkingBudget": 0}, 0, None),
        ({"thinkingBudget": 2048, "includeThoughts": True}, 2048, None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None),
        ({"thinkingLevel": "LOW"}, None, "low"),
    ],
)
def test_thinking_is_so_many_tokens_or_a_level_or_as_the_model_likes(
    config: Json, thinking: int | None, effort: str | None
) -> None:
    request = read(asked(generationConfig={"thinkingConfig": config}))
    assert (request.thinking, request.effort) == (thinking, effort)


TOOLS = [{"functionDeclarations": [{"name": "look"}, {"name": "list"}]}]


@pytest.mark.parametrize(
    ("calling", "choice", "left", "dropped"),
    [
        ({}, None, ["look", "list"], ()),
        ({"mode": "AUTO"}, "auto", ["look", "list"], ()),
        ({"mode": "NONE"}, "none", ["look", "list"], ()),
        ({"mode": "ANY"}, "required", ["look", "list"], ()),
        ({"mode": "ANY", "allowedFunctionNames": ["list"]}, "required", ["list"], ()),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["list"]}, "auto", ["list"], ("functionCallingConfig.mode",)),
    ],
)
def test_the_mode_of_calling(calling: Json, choice: str | None, left: list[str], dropped: tuple[str, ...]) -> None:
    request = read(asked(tools=TOOLS, toolConfig={"functionCallingConfig": calling}))
    assert (request.tool_choice, [tool.name for tool in request.tools], request.dropped) == (choice, left, dropped)


def test_tools_that_run_at_google_are_told_by_name() -> None:
    hosted = [
        {"googleSearch": {"timeRangeFilter": {"startTime": "a", "endTime": "b"}}},
        {"url_context": {}},
        {"codeExecution": {}, "functionDeclarations": [{"name": "look"}]},
        {"googleMaps": {"enableWidget": True}},
        {"computerUse": {"environment": "ENVIRONMENT_BROWSER", "excludedPredefinedFunctions": ["drag"]}},
        {"googleSearchRetrieval": {"dynamicRetrievalConfig": {"mode": "MODE_DYNAMIC", "dynamicThreshold": 0.5}}},
        {"mcpServers": [{"name": "a", "streamableHttpTransport": {"url": "https://mcp.test"}}]},
    ]
    request = read(asked(tools=hosted))
    assert request.hosted == (
        "googleSearch", "urlContext", "codeExecution", "googleMaps", "computerUse", "googleSearchRetrieval",
        "mcpServers",
    )  # fmt: skip
    assert [tool.name for tool in request.tools] == ["look"]
