"""Google's wire and dialect across the others: what is asked, what is answered, and signatures over two turns."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Dialect
from gateway.dialects.gemini import GEMINI
from gateway.dialects.messages import MESSAGES
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.neutral import Address, Delta, Json, Request, Wire
from kit.errors import Invalid
from tests.gateway.test_dialect_gemini import chunk, streamed
from tests.gateway.test_translation import CHAT_TOOLS, CLAUDE, MESSAGES_TOOLS, PNG, RESPONSES_TOOLS, SCHEMA, WORDS, read
from tests.gateway.test_translation import GEMINI as MODEL

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
    assert [(item["tool_call_id"], item["content"]) for item in results] == [("own_1", "one"), ("own_2", "gone")]
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


USED: Json = {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 15}
GOOGLE = [
    chunk({"text": "Let me", "thought": True}),
    chunk({"text": " see.", "thought": True}),
    chunk({"text": "I look"}),
    chunk({"text": " twice."}),
    chunk(
        {"functionCall": {"name": "look", "args": {"a": 1}}, "thoughtSignature": "GSIG"},
        {"functionCall": {"name": "look", "args": {"a": 1}}},
    ),
    chunk({"text": ""}, finishReason="STOP", usage=USED),
]
WHOLE = chunk(*(part for told in GOOGLE for part in told["candidates"][0]["content"]["parts"]), finishReason="STOP")
CLAUDES: list[Json] = [
    {"type": "thinking", "thinking": "Let me see.", "signature": "SIG=="},
    {"type": "redacted_thinking", "data": "DATA"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"a": 2}},
]


def heard(dialect: Dialect, request: Request, raw: bytes, *, stream: bool) -> list[Delta]:
    reader = dialect.reader(request)
    if not stream:
        return reader.whole(raw)
    return [delta for place in range(len(raw)) for delta in reader.feed(raw[place : place + 1])] + reader.feed(b"")


def told(wire: Wire, request: Request, deltas: list[Delta]) -> Any:
    face = wire.face(request, "att_1", 1)
    for delta in deltas:
        face.render(delta)
    return json.loads(face.body())


def spoken(wire: Wire, request: Request, deltas: list[Delta]) -> list[Json]:
    """A stream's events."""
    face = wire.face(request, "att_1", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()
    data = (line[6:] for line in raw.decode().split("\n") if line.startswith("data: "))
    return [json.loads(line) for line in data if line != "[DONE]"]


def results(ids: list[str]) -> dict[str, list[Json]]:
    """What comes of calls, in the words of each wire."""
    return {
        "chat": [{"role": "tool", "tool_call_id": id_, "content": "seen"} for id_ in ids],
        "responses": [{"type": "function_call_output", "call_id": id_, "output": "seen"} for id_ in ids],
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": i, "content": "seen"} for i in ids]}
        ],
    }


USER = {"role": "user", "content": "look"}
AGAIN: dict[str, Callable[[Json, list[Json]], Json]] = {
    "chat": lambda answer, came: {"messages": [USER, answer["choices"][0]["message"], *came]},
    "responses": lambda answer, came: {"input": [USER, *answer["output"], *came]},
    "messages": lambda answer, came: {
        "messages": [USER, {"role": "assistant", "content": answer["content"]}, *came],
    },
}
OFFERED = {"chat": CHAT_TOOLS, "responses": RESPONSES_TOOLS, "messages": MESSAGES_TOOLS}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_googles_answer_survives_two_turns_on_every_wire(wire: str, stream: bool) -> None:
    """Its answer, a client's history of it, its next request: calls in order, the signature where it was."""
    request = read(wire, **OFFERED[wire])
    raw = streamed(GOOGLE) if stream else json.dumps(WHOLE).encode()
    answer = told(WORDS[wire], request, heard(GEMINI, request, raw, stream=stream))
    assert "I look twice." in json.dumps(answer) and "Let me see." in json.dumps(answer)
    ids = ["call_r-1_0", "call_r-1_1"]
    again = read(wire, **OFFERED[wire], **AGAIN[wire](answer, results(ids)[wire]))
    body, dropped = await transformed("gemini", again, MODEL, 900)
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "I look twice."},
                {"function_call": {"name": "look", "args": {"a": 1}}, "thoughtSignature": "GSIG"},
                {"function_call": {"name": "look", "args": {"a": 1}}},
            ],
        },
        {"role": "user", "parts": [{"function_response": {"name": "look", "response": {"content": "seen"}}}] * 2},
    ]
    assert "signature" not in dropped


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_googles_stream_is_said_in_every_wire(wire: str) -> None:
    request = read(wire, **OFFERED[wire], stream=True)
    events = spoken(WORDS[wire], request, heard(GEMINI, request, streamed(GOOGLE), stream=True))
    raw = json.dumps(events)
    assert raw.index("Let me") < raw.index("I look") < raw.index("call_r-1_0") < raw.index("call_r-1_1")
    assert raw.count('{\\"a\\":1}') >= 2


def claude(content: list[Json]) -> bytes:
    usage = {"input_tokens": 9, "output_tokens": 4}
    message = {"type": "message", "id": "msg_1", "content": content, "stop_reason": "tool_use", "usage": usage}
    return json.dumps(message).encode()


def turns(answer: Json, *, chunks: list[Json] | None) -> Iterator[Json]:
    """How Google's own chat keeps an answer: as one turn, or chunk by chunk when it was a stream."""
    for told_ in chunks or [answer]:
        yield told_["candidates"][0]["content"]


@pytest.mark.parametrize("stream", [True, False])
async def test_anthropics_signed_thoughts_survive_two_turns_on_googles_wire(stream: bool) -> None:
    request = asked(**TOOLS)
    deltas = heard(MESSAGES, request, claude(CLAUDES), stream=False)
    chunks = spoken(GEMINI_WIRE, request, deltas) if stream else None
    history = list(turns(told(GEMINI_WIRE, request, deltas), chunks=chunks))
    parts = [{"functionResponse": {"id": f"toolu_{n}", "name": "look", "response": {"output": "seen"}}} for n in (1, 2)]
    again = asked(
        contents=[LOOK, *history, {"role": "user", "parts": parts}],
        tools=TOOLS["tools"],
        generationConfig={"thinkingConfig": {"thinkingBudget": 2048}},
    )
    body, dropped = await put("messages", again)
    assert body["messages"][1] == {"role": "assistant", "content": CLAUDES}
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == ["toolu_1", "toolu_2"]
    assert (body["thinking"]["type"], dropped) == ("enabled", ())
    passed = json.dumps(GEMINI.passed(again, "m", 9))
    assert "Let me see" not in passed and 'thought": true' not in passed


CHAT_ANSWER: Json = {
    "id": "1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Let me see.",
                "tool_calls": [
                    {"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": f'{{"a":{n}}}'}}
                    for n in (1, 2)
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}
RESPONSE: Json = {
    "id": "resp_1",
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}], "encrypted_content": "X"},
        {"type": "message", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look", "arguments": '{"a":1}'},
        {"type": "function_call", "id": "f2", "call_id": "c2", "name": "look", "arguments": '{"a":2}'},
    ],
    "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
}


@pytest.mark.parametrize(
    ("dialect", "answer"), [(CHAT, CHAT_ANSWER), (RESPONSES, RESPONSE), (MESSAGES, json.loads(claude(CLAUDES)))]
)
@pytest.mark.parametrize("stream", [True, False])
def test_every_answer_is_said_on_googles_wire(dialect: Dialect, answer: Json, stream: bool) -> None:
    request = asked(**TOOLS)
    deltas = heard(dialect, request, json.dumps(answer).encode(), stream=False)
    told_ = spoken(GEMINI_WIRE, request, deltas) if stream else [told(GEMINI_WIRE, request, deltas)]
    parts = [part for content in (item["candidates"][0]["content"] for item in told_) for part in content["parts"]]
    assert "".join(part["text"] for part in parts if part.get("thought")) == "Let me see."
    assert "".join(part["text"] for part in parts if "text" in part and not part.get("thought")) == "I look."
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert [(call["name"], call["args"]) for call in calls] == [("look", {"a": 1}), ("look", {"a": 2})]
    assert told_[-1]["usageMetadata"]["totalTokenCount"] == 13
    assert told_[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_ciphertext_of_responses_survives_two_turns_on_googles_wire() -> None:
    request = asked(**TOOLS)
    answer = told(GEMINI_WIRE, request, heard(RESPONSES, request, json.dumps(RESPONSE).encode(), stream=False))
    again = asked(contents=[LOOK, answer["candidates"][0]["content"], LOOK], **TOOLS)
    body, dropped = await put("responses", again)
    (thought,) = [item for item in body["input"] if item["type"] == "reasoning"]
    assert (thought["encrypted_content"], dropped) == ("X", ())


async def test_the_signature_of_a_text_survives_two_turns_on_messages() -> None:
    request = read("messages")
    answer = told(
        WORDS["messages"],
        request,
        heard(
            GEMINI,
            request,
            streamed([chunk({"text": "Seen.", "thoughtSignature": "T"}, finishReason="STOP")]),
            stream=True,
        ),
    )
    again = read("messages", **AGAIN["messages"](answer, [{"role": "user", "content": "go on"}]))
    body, dropped = await transformed("gemini", again, MODEL, 900)
    assert body["contents"][1] == {"role": "model", "parts": [{"text": "Seen.", "thoughtSignature": "T"}]}
    assert dropped == ()
