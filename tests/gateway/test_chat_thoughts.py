"""Signed thoughts through Chat Completions: out in `thinking_blocks`, back in by those or by `reasoning_details`."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.chat import CHAT as DIALECT
from gateway.dialects.messages import MESSAGES
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.chat import CHAT
from gateway.wires.neutral import HERE, Delta, Json, Reasoning, Stop, Text, Thought
from gateway.wires.seals import seal
from kit.errors import Invalid
from tests.fakes import raw_provider as raw
from tests.gateway.plane import open_plane
from tests.gateway.test_passing import asking
from tests.gateway.test_translation import CHAT_TOOLS, CLAUDE, read

ANSWER: list[Json] = [
    {"type": "thinking", "thinking": "Let me see.", "signature": "SIG=="},
    {"type": "redacted_thinking", "data": "DATA"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
]
BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "Let me see.", "signature": seal("messages", "SIG==")},
    {"type": "redacted_thinking", "data": seal("messages", "redacted:DATA")},
]
DETAILS: list[Json] = [
    {"type": "reasoning.text", "text": "Let me see.", "signature": seal("messages", "SIG=="), "index": 0},
    {"type": "reasoning.encrypted", "data": seal("messages", "redacted:DATA"), "id": "r", "format": "x", "index": 1},
]
TOOLS: Json = {"tools": CHAT_TOOLS["tools"]}
RESULT: Json = {"role": "tool", "tool_call_id": "toolu_1", "content": "seen"}


def _answered(*, stream: bool) -> Json:
    """The message of an answer of Anthropic's, as a Chat client has it."""
    request = read("chat", **TOOLS, stream=stream)
    whole = {"type": "message", "id": "msg_1", "content": ANSWER, "stop_reason": "tool_use", "usage": {}}
    deltas = MESSAGES.reader(request).whole(json.dumps(whole).encode())
    face = CHAT.face(request, "att_1", 1)
    if not stream:
        for delta in deltas:
            face.render(delta)
        message: Json = json.loads(face.body())["choices"][0]["message"]
        return message
    return _gathered(face.begin() + b"".join(map(face.render, deltas)) + face.end())


def _gathered(events: bytes) -> Json:
    """What a client makes of a stream: texts and arguments go on, blocks are added."""
    found: Json = {"role": "assistant", "content": "", "reasoning_content": "", "thinking_blocks": [], "tool_calls": []}
    for line in events.decode().splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                found[name] += delta.get(name) or ""
            found["thinking_blocks"] += delta.get("thinking_blocks", [])
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    found["tool_calls"].append({name: value for name, value in call.items() if name != "index"})
                else:
                    found["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return found


def _history(message: Json) -> Json:
    return {"messages": [{"role": "user", "content": "look"}, message, RESULT], "reasoning_effort": "high"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_signed_thoughts_of_anthropic_survive_two_turns_on_chat(stream: bool) -> None:
    message = _answered(stream=stream)
    indexed = [{"index": place, **block} for place, block in enumerate(BLOCKS)]
    assert message["thinking_blocks"] == (indexed if stream else BLOCKS)
    assert message["reasoning_content"] == "Let me see."
    body, dropped = await transformed("messages", read("chat", **TOOLS, **_history(message)), CLAUDE, 20_000)
    assert body["messages"][1] == {"role": "assistant", "content": ANSWER}
    assert body["thinking"]["type"] == "enabled"
    assert dropped == ()


async def test_openrouters_details_are_the_same_thoughts() -> None:
    message = _answered(stream=False)
    del message["thinking_blocks"]
    talk = _history(message | {"reasoning_details": DETAILS})
    body, dropped = await transformed("messages", read("chat", **TOOLS, **talk), CLAUDE, 20_000)
    assert body["messages"][1] == {"role": "assistant", "content": ANSWER}
    assert dropped == ()


@pytest.mark.parametrize("field", [{"thinking_blocks": BLOCKS}, {"reasoning_details": DETAILS}], ids=["litellm", "or"])
def test_another_provider_is_told_none_of_it_and_that_is_recorded(field: Json) -> None:
    request = read("chat", **TOOLS, **_history({"role": "assistant", "content": "I look."} | field))
    assert DIALECT.asked and RESPONSES.asked
    for body, dropped in (DIALECT.asked(request, "m", 9), RESPONSES.asked(request, "m", 9)):
        assert "preloop." not in json.dumps(body) and "SIG" not in json.dumps(body)
        assert "reasoning" in dropped
    passed = json.dumps(DIALECT.passed(request, "m", 9))
    assert "preloop." not in passed and "thinking_blocks" not in passed and "reasoning_details" not in passed


def test_what_a_chat_provider_signed_itself_passes_as_it_is() -> None:
    blocks = [{"type": "thinking", "thinking": "Mine.", "signature": "RAW"}, {"type": "redacted_thinking", "data": "R"}]
    details = [{"type": "reasoning.summary", "summary": "Mine."}, {"type": "reasoning.encrypted", "data": "R"}]
    sent = {"role": "assistant", "content": "I look.", "thinking_blocks": blocks, "reasoning_details": details}
    request = read("chat", **TOOLS, **_history(sent))
    assert DIALECT.passed(request, "m", 9)["messages"][1] == sent
    assert [part for part in request.messages[1].parts if isinstance(part, Thought)] == [
        Thought(text="Mine.", seal=seal("chat", "RAW")),
        Thought(seal=seal("chat", "R"), redacted=True),
    ]


async def test_what_another_provider_thought_is_told_as_dropped_on_the_same_dialect(tmp_path: Path) -> None:
    async with raw.serve(raw.whole(raw.completion())) as provider:
        alias = {"model": "up", "base_url": provider.url, "api_key": "k", "dialects": ["chat"]}
        async with open_plane(tmp_path, {"m": alias}) as plane:
            session, token = await plane.session("m")
            thought = {"role": "assistant", "content": "I look.", "thinking_blocks": BLOCKS}
            async with asking(plane, token, messages=[{"role": "user", "content": "look"}, thought]) as answer:
                assert answer.status_code == 200
            await plane.settled()
            dropped = [data["dropped"] for type_, data in await plane.happened(session) if type_ == "model.requested"]
            assert dropped == [["reasoning"]]
            assert provider.requests[0]["messages"][1] == {"role": "assistant", "content": "I look."}


def test_ciphertext_of_openai_comes_back_to_it_through_chat() -> None:
    deltas: list[Delta] = [
        Reasoning(text="Hm."),
        Reasoning(seal=seal("responses", "CIPHER")),
        Text(text="So."),
        Stop(reason="stop"),
    ]
    face = CHAT.face(read("chat"), "att_1", 1)
    for delta in deltas:
        face.render(delta)
    message = json.loads(face.body())["choices"][0]["message"]
    assert RESPONSES.asked
    body, dropped = RESPONSES.asked(read("chat", **_history(message)), "m", 9)
    assert {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "CIPHER",
    } in (body["input"])
    assert "reasoning" not in dropped


@pytest.mark.parametrize(
    "field",
    [
        {"thinking_blocks": [{"type": "thinking", "thinking": "a", "url": "x"}]},
        {"thinking_blocks": [{"type": "other", "thinking": "a"}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": 1}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "api_base": "x"}]},
        {"reasoning_details": [{"type": "reasoning.other"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "a", "signature": "b"}]},
        {"reasoning_details": "a"},
    ],
)
def test_a_block_holds_nothing_but_its_fields(field: Any) -> None:
    with pytest.raises(Invalid):
        CHAT.parse({"model": "m", "messages": [{"role": "assistant", "content": "a", **field}]}, HERE)
