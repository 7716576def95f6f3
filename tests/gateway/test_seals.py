"""Signatures and ciphertext of thoughts: to their maker through any wire, and to nobody else."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.messages import MESSAGES
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.neutral import Address, CallArguments, CallBegun, Delta, Json, Request, Stop, Wire
from gateway.wires.seals import seal
from tests.gateway.test_translation import CHAT_TOOLS, CLAUDE, GEMINI, MESSAGES_TOOLS, RESPONSES_TOOLS, WORDS, read

ANSWER: list[Json] = [
    {"type": "thinking", "thinking": "Let me see.", "signature": "SIG=="},
    {"type": "redacted_thinking", "data": "DATA"},
    {"type": "text", "text": "I look twice."},
    {"type": "thinking", "thinking": "Both at once.", "signature": "SIG2=="},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"a": 1}},
]


def _streamed(content: list[Json]) -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    events: list[Json] = [{"type": "message_start", "message": {"id": "msg_1", "usage": usage}}]
    for index, block in enumerate(content):
        texts = {name: block[name] for name in ("text", "thinking", "signature") if name in block}
        empty = block | dict.fromkeys(texts, "") | ({"input": {}} if "input" in block else {})
        deltas = [{"type": f"{name}_delta", name: text} for name, text in texts.items()]
        if "input" in block:
            deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}
    events += [stop, {"type": "message_stop"}]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@pytest.mark.parametrize("stream", [True, False])
async def test_signed_thoughts_of_anthropic_survive_two_turns_on_responses(stream: bool) -> None:
    """Anthropic's answer, Codex's history of it, Anthropic's next request: thoughts signed, in order, unchanged."""
    request = read("responses", **RESPONSES_TOOLS, reasoning={"effort": "high"}, stream=stream)
    items = _said(WORDS["responses"], request, _answered(request, stream=stream))["output"]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "seen"}
        for item in items
        if item["type"] == "function_call"
    ]
    talk = [{"role": "user", "content": "look"}, *items, *results]
    again = read("responses", input=talk, tools=RESPONSES_TOOLS["tools"], reasoning={"effort": "high"})
    body, dropped = await transformed("messages", again, CLAUDE, 20_000)
    assert body["messages"][1] == {"role": "assistant", "content": ANSWER}
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == ["toolu_1", "toolu_2"]
    assert body["thinking"]["type"] == "enabled"
    assert dropped == ()
    assert CHAT.asked
    other, dropped = CHAT.asked(again, "model", 900)
    assert "SIG" not in json.dumps(other) and "preloop." not in json.dumps(other)
    assert "reasoning" in dropped


async def test_signed_thoughts_of_anthropic_survive_two_turns_on_googles_wire() -> None:
    """Google's wire has a place for signatures on every part."""
    here = Address(alias="default")
    tools: Json = {"tools": [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": {"type": "object"}}]}]}
    user = {"role": "user", "parts": [{"text": "look"}]}
    request = GEMINI_WIRE.parse({"contents": [user], **tools}, here)
    turn = _said(GEMINI_WIRE, request, _answered(request, stream=True))["candidates"][0]["content"]
    ids = [part["functionCall"].get("id") for part in turn["parts"] if "functionCall" in part]
    results = [{"functionResponse": {"id": id_, "name": "look", "response": {"output": "seen"}}} for id_ in ids]
    thinking = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}}}
    talk = {"contents": [user, turn, {"role": "user", "parts": results}], **tools, **thinking}
    body, dropped = await transformed("messages", GEMINI_WIRE.parse(talk, here), CLAUDE, 20_000)
    assert body["messages"][1] == {"role": "assistant", "content": ANSWER}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert "reasoning" not in dropped


async def test_signed_thoughts_of_anthropic_are_sent_to_no_one_else() -> None:
    talk = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": [_tool_result("toolu_1"), _tool_result("toolu_2")]},
    ]
    request = read("messages", messages=talk, **MESSAGES_TOOLS)
    assert CHAT.asked and RESPONSES.asked
    for body, dropped in (
        await transformed("gemini", request, GEMINI, 900),
        CHAT.asked(request, "model", 900),
        RESPONSES.asked(request, "model", 900),
    ):
        assert "SIG" not in json.dumps(body) and "DATA" not in json.dumps(body)
        assert "reasoning" in dropped


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
async def test_signatures_of_geminis_calls_survive_two_turns_on_every_wire(wire: str) -> None:
    """Gemini 3 refuses a history whose first call lost its signature."""
    deltas: list[Delta] = [
        CallBegun(id="c1", name="look", seal=seal("gemini", "GSIG")),
        CallArguments(id="c1", text='{"a":1}'),
        CallBegun(id="c2", name="look"),
        CallArguments(id="c2", text='{"a":1}'),
        Stop(reason="tool_calls"),
    ]
    tools: Json = {"chat": CHAT_TOOLS, "responses": RESPONSES_TOOLS, "messages": MESSAGES_TOOLS}[wire]
    history = HISTORIES[wire](_said(WORDS[wire], read(wire, **tools), deltas))
    body, dropped = await transformed("gemini", read(wire, **tools, **history), GEMINI, 900)
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"function_call": {"name": "look", "args": {"a": 1}}, "thoughtSignature": "GSIG"},
                {"function_call": {"name": "look", "args": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "parts": [{"function_response": {"name": "look", "response": {"content": "seen"}}}] * 2,
        },
    ]
    assert "reasoning" not in dropped and "signature" not in dropped


def _chat_history(answer: Json) -> Json:
    results = [{"role": "tool", "tool_call_id": name, "content": "seen"} for name in ("c1", "c2")]
    return {"messages": [{"role": "user", "content": "look"}, answer["choices"][0]["message"], *results]}


def _responses_history(answer: Json) -> Json:
    results = [{"type": "function_call_output", "call_id": name, "output": "seen"} for name in ("c1", "c2")]
    return {"input": [{"role": "user", "content": "look"}, *answer["output"], *results]}


def _messages_history(answer: Json) -> Json:
    user = {"role": "user", "content": [_tool_result("c1"), _tool_result("c2")]}
    turn = {"role": "assistant", "content": answer["content"]}
    return {"messages": [{"role": "user", "content": "look"}, turn, user]}


def _tool_result(name: str) -> Json:
    return {"type": "tool_result", "tool_use_id": name, "content": "seen"}


HISTORIES: dict[str, Callable[[Json], Json]] = {
    "chat": _chat_history,
    "responses": _responses_history,
    "messages": _messages_history,
}


def _answered(request: Request, *, stream: bool) -> list[Delta]:
    """Anthropic's answer as our reader reads it."""
    reader = MESSAGES.reader(request)
    if stream:
        return reader.feed(_streamed(ANSWER))
    whole = {"type": "message", "id": "msg_1", "content": ANSWER, "stop_reason": "tool_use", "usage": {}}
    return reader.whole(json.dumps(whole).encode())


def _said(wire: Wire, request: Request, deltas: list[Delta]) -> Any:
    face = wire.face(request, "att_1", 1)
    for delta in deltas:
        face.render(delta)
    return json.loads(face.body())
