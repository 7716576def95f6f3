"""Answers on the Gemini wire: chunks, whole calls, thoughts, usage, and how a stream breaks off."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.gemini import GEMINI as DIALECT
from gateway.upstream import UpstreamFailed
from gateway.wires.gemini_face import GEMINI
from gateway.wires.neutral import (
    Address,
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Message,
    Part,
    Reasoning,
    Request,
    Stop,
    Text,
    Thought,
)
from gateway.wires.seals import seal
from kit.errors import Refused
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(Message(role="user"),), stream=True)
USAGE = Usage(input=3, cache_read=2, output=4, reasoning=1)
PARALLEL: list[Delta] = [
    Reasoning(text="Let me"),
    Reasoning(text=" see."),
    Reasoning(seal=seal("messages", "SIG==")),
    Text(text="I"),
    Text(text=" look."),
    CallBegun(id="c1", name="look", seal=seal("gemini", "GSIG")),
    CallArguments(id="c1", text='{"a":'),
    CallBegun(id="c2", name="list"),
    CallArguments(id="c1", text="1}"),
    Counted(usage=USAGE),
    Stop(reason="tool_calls"),
]


def chunks(raw: bytes) -> list[Json]:
    """As Google's SDKs cut it: blank lines between, `data: ` before each, nothing else."""
    events = raw.decode().split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [json.loads(event[6:]) for event in events]


def spoken(deltas: list[Delta]) -> bytes:
    face = GEMINI.face(ASKED, "att_1", 1)
    return face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()


def whole(deltas: list[Delta]) -> Json:
    face = GEMINI.face(ASKED, "att_1", 1)
    for delta in deltas:
        face.render(delta)
    body: Json = json.loads(face.body())
    return body


def parts_of(chunk: Json) -> list[Json]:
    parts: list[Json] = chunk["candidates"][0]["content"]["parts"]
    return parts


def test_calls_come_whole_and_in_one_chunk_after_all_text() -> None:
    stream = chunks(spoken(PARALLEL))
    *said, called, last = stream
    assert [parts_of(chunk) for chunk in said[:2]] == [
        [{"text": "Let me", "thought": True}],
        [{"text": " see.", "thought": True}],
    ]
    assert [parts_of(chunk)[0]["text"] for chunk in said[3:]] == ["I", " look."]
    assert parts_of(called) == [
        {"functionCall": {"id": "c1", "name": "look", "args": {"a": 1}}, "thoughtSignature": "GSIG"},
        {"functionCall": {"id": "c2", "name": "list", "args": {}}},
    ]
    assert last == {
        "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 5,
            "cachedContentTokenCount": 2,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 1,
            "totalTokenCount": 10,
        },
        "modelVersion": "default",
        "responseId": "att_1",
    }
    assert not any("finishReason" in chunk["candidates"][0] for chunk in stream[:-1])


def test_a_whole_answer_says_the_same() -> None:
    body = whole(PARALLEL)
    thought, text, *calls = parts_of(body)
    assert (thought["text"], thought["thought"], text) == ("Let me see.", True, {"text": "I look."})
    assert calls == parts_of(chunks(spoken(PARALLEL))[-2])
    assert body["candidates"][0]["finishReason"] == "STOP"
    assert body["usageMetadata"]["totalTokenCount"] == 10


def test_a_foreign_seal_is_base64_and_comes_back_to_the_thought() -> None:
    """Google's SDKs take a signature for bytes; they write it anew in the alphabet of addresses."""
    (thought, *_) = parts_of(whole(PARALLEL))
    assert base64.b64decode(thought["thoughtSignature"], validate=True)
    for signature in (thought["thoughtSignature"], thought["thoughtSignature"].translate(str.maketrans("+/", "-_"))):
        echoed = {"role": "model", "parts": [thought | {"thoughtSignature": signature}]}
        request = GEMINI.parse({"contents": [echoed]}, Address(alias="default"))
        (part,) = request.messages[0].parts
        assert part == Thought(text="Let me see.", seal=seal("messages", "SIG=="))


@pytest.mark.parametrize("raw", ["SIG==", "a>?b~", "ÿ", "x" * 5000])
def test_any_seal_survives_the_wire(raw: str) -> None:
    answer = whole([Reasoning(seal=seal("messages", raw)), Stop(reason="stop")])
    request = GEMINI.parse({"contents": [answer["candidates"][0]["content"]]}, Address(alias="default"))
    expected: tuple[Part, ...] = (Thought(seal=seal("messages", raw)),)
    assert request.messages[0].parts == expected


@pytest.mark.parametrize(
    ("reason", "said"),
    [("stop", "STOP"), ("length", "MAX_TOKENS"), ("tool_calls", "STOP"), ("content_filter", "SAFETY")],
)
def test_why_it_stopped(reason: Any, said: str) -> None:
    deltas: list[Delta] = [Text(text="a"), Stop(reason=reason)]
    assert whole(deltas)["candidates"][0]["finishReason"] == said
    assert chunks(spoken(deltas))[-1]["candidates"][0]["finishReason"] == said


def test_a_call_that_broke_off_is_left_out_and_the_answer_was_too_long() -> None:
    deltas = [*PARALLEL[:7], Stop(reason="tool_calls")]
    assert whole(deltas)["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert "functionCall" not in json.dumps(chunks(spoken(deltas)))


def test_a_broken_stream_ends_bare_and_without_a_call() -> None:
    face = GEMINI.face(ASKED, "att_1", 1)
    before = face.begin() + b"".join(face.render(delta) for delta in PARALLEL[:9])
    assert "functionCall" not in json.dumps(chunks(before))
    for fault, code in ((UpstreamFailed("Cut.", code="upstream_cut"), 502), (Refused("budget_exceeded", "Gone."), 402)):
        said = face.fail(fault)
        assert json.loads(said)["error"]["code"] == code
        assert b"\n" not in said


def test_a_pause_is_blank_lines() -> None:
    assert GEMINI.keep_alive.strip() == b""


def test_an_empty_answer_has_its_end() -> None:
    assert [parts_of(chunk) for chunk in chunks(spoken([Stop(reason="stop")]))] == [[{"text": ""}]]
    assert whole([Stop(reason="stop")])["candidates"][0]["finishReason"] == "STOP"


words = st.text(min_size=1, max_size=20)
talk = st.lists(
    st.one_of(st.builds(Text, text=words), st.builds(Reasoning, text=words), st.sampled_from(["look", "list"])),
    max_size=8,
)


@given(said=talk, at=st.lists(st.integers(0, 4000), max_size=20))
def test_what_our_face_says_our_reader_hears(said: list[Any], at: list[int]) -> None:
    deltas: list[Delta] = []
    for number, item in enumerate(said):
        if isinstance(item, str):
            deltas += [CallBegun(id=f"c{number}", name=item), CallArguments(id=f"c{number}", text='{"a":1}')]
        else:
            deltas.append(item)
    called = any(isinstance(item, str) for item in said)
    deltas += [Counted(usage=USAGE), Stop(reason="tool_calls" if called else "stop")]
    raw = spoken(deltas)
    places = sorted({place for place in at if 0 < place < len(raw)})
    reader = DIALECT.reader(ASKED)
    heard = [
        delta
        for start, end in zip([0, *places], [*places, len(raw)], strict=True)
        for delta in reader.feed(raw[start:end])
    ]
    body = json.dumps(whole(deltas)).encode()
    for found in ([*heard, *reader.feed(b"")], DIALECT.reader(ASKED).whole(body)):
        for kind in (Text, Reasoning):
            assert _text(found, kind) == _text(deltas, kind)
        calls = (CallBegun, CallArguments, Stop)
        assert [d for d in found if isinstance(d, calls)] == [d for d in deltas if isinstance(d, calls)]
        assert [delta.usage for delta in found if isinstance(delta, Counted)] == [USAGE]


def _text(deltas: list[Delta], kind: type[Text] | type[Reasoning]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, kind))
