"""Answers from Google to every wire and from every dialect to Google's, and signatures over two turns."""

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
from gateway.wires.neutral import Delta, Json, Request, Wire
from tests.gateway.test_dialect_gemini import chunk, streamed
from tests.gateway.test_translation import CHAT_TOOLS, MESSAGES_TOOLS, RESPONSES_TOOLS, WORDS, read
from tests.gateway.test_translation import GEMINI as MODEL
from tests.gateway.test_translation_gemini import LOOK, TOOLS, asked, put

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
