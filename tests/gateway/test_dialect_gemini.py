"""Google's answers: read at every cut, and metered without a byte changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.dialect import Broken
from gateway.dialects.gemini import GEMINI
from gateway.upstream import UpstreamFailed
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Message,
    Reasoning,
    Request,
    Stop,
    Text,
)
from gateway.wires.seals import seal
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(Message(role="user"),), stream=True)
TRICKY = 'say {"error":{"code":500}} "finishReason":"STOP" \n\n data: x — é'
USED = {
    "promptTokenCount": 120,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 10,
    "totalTokenCount": 150,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 120}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    "serviceTier": "standard",
}
USAGE = Usage(input=100, cache_read=20, output=20, reasoning=10)
COUNTED = Counted(usage=USAGE, upstream_id="r-1", model="gemini-3-pro")
EARLY = {"promptTokenCount": 120, "totalTokenCount": 125, "thoughtsTokenCount": 5}


def chunk(*parts: Json, usage: Json | None = None, **candidate: Any) -> Json:
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    told = {"candidates": [{**content, "index": 0, **candidate}], "usageMetadata": usage or EARLY}
    return told | {"modelVersion": "gemini-3-pro", "responseId": "r-1"}


CHUNKS: list[Json] = [
    chunk({"text": "Let me ", "thought": True}),
    chunk({"text": "see.", "thought": True}),
    chunk({"text": TRICKY}),
    chunk(
        {"functionCall": {"name": "look", "args": {"a": [1, "ü"]}}, "thoughtSignature": "CSIG"},
        {"functionCall": {"id": "own", "name": "list", "args": {}}},
    ),
    chunk({"text": "", "thoughtSignature": "TSIG"}, finishReason="STOP", usage=USED),
]
ANSWER = chunk(
    {"text": "Let me see.", "thought": True},
    {"text": TRICKY, "thoughtSignature": "TSIG"},
    {"functionCall": {"name": "look", "args": {"a": 1}}},
    finishReason="STOP",
    usage=USED,
)


def streamed(chunks: list[Json], end: str = "\n") -> bytes:
    return "".join(f"data: {json.dumps(told, ensure_ascii=False)}{end}{end}" for told in chunks).encode()


STREAM = streamed(CHUNKS, "\r\n")
DELTAS: list[Delta] = [
    Reasoning(text="Let me "),
    Reasoning(text="see."),
    Text(text=TRICKY),
    CallBegun(id="call_r-1_0", name="look", seal=seal("gemini", "CSIG")),
    CallArguments(id="call_r-1_0", text='{"a":[1,"ü"]}'),
    CallBegun(id="own", name="list"),
    CallArguments(id="own", text="{}"),
    Reasoning(seal=seal("gemini", "TSIG"), redacted=True),
    Stop(reason="tool_calls"),
]


def fed(*pieces: bytes) -> list[Delta]:
    """What was said; how often it was counted depends on nothing but the chunks."""
    reader = GEMINI.reader(ASKED)
    return [delta for data in (*pieces, b"") for delta in reader.feed(data)]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Counted)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_reads_the_same_wherever_it_is_cut(end: str) -> None:
    stream = streamed(CHUNKS, end)
    whole = fed(stream)
    assert said(whole) == DELTAS
    assert [delta for delta in whole if isinstance(delta, Counted)][-1] == COUNTED
    for place in range(1, len(stream)):
        assert fed(stream[:place], stream[place:]) == whole
    assert fed(*(stream[i : i + 1] for i in range(len(stream)))) == whole


@given(at=st.lists(st.integers(0, 2500), max_size=40))
def test_a_stream_passes_untouched_and_is_counted_however_it_is_cut(at: list[int]) -> None:
    assert fed(*cut(STREAM, at)) == fed(STREAM)
    meter = GEMINI.meter(ASKED)
    passed = [meter.feed(data) for data in [*cut(STREAM, at), b""]]
    assert b"".join(passed) == STREAM
    assert all(data == b"" or data.endswith(b"\n\r\n") for data in passed)
    assert (meter.stopped, meter.counted, meter.reasons) == (True, COUNTED, {"0": "STOP"})
    calls = ['{"name":"look","args":{"a":[1,"ü"]}}', '{"id":"own","name":"list","args":{}}']
    assert meter.heard == len("".join(["Let me see.", TRICKY, *calls]).encode())


def test_a_whole_answer() -> None:
    body = json.dumps(ANSWER).encode()
    meter = GEMINI.meter(ASKED)
    assert meter.whole(body) == body
    assert (meter.stopped, meter.counted) == (True, COUNTED)
    assert meter.heard > len(TRICKY)
    assert GEMINI.reader(ASKED).whole(body) == [
        Reasoning(text="Let me see."),
        Reasoning(seal=seal("gemini", "TSIG")),
        Text(text=TRICKY),
        CallBegun(id="call_r-1_0", name="look"),
        CallArguments(id="call_r-1_0", text='{"a":1}'),
        COUNTED,
        Stop(reason="tool_calls"),
    ]


def test_an_answer_that_google_gives_no_id_gets_none_from_us() -> None:
    nameless = {name: value for name, value in ANSWER.items() if name != "responseId"}
    deltas = GEMINI.reader(ASKED).whole(json.dumps(nameless).encode())
    assert [delta.upstream_id for delta in deltas if isinstance(delta, Counted)] == [None]
    assert [delta.id for delta in deltas if isinstance(delta, CallBegun)] == ["call_turn1_0"]


def test_a_cut_stream_has_not_stopped_and_what_was_used_so_far_is_known() -> None:
    half = streamed(CHUNKS[:3]) + b'data: {"candidates":[{"finishReason":"STOP"'
    meter = GEMINI.meter(ASKED)
    assert meter.feed(half) + meter.feed(b"") == streamed(CHUNKS[:3])
    assert not meter.stopped
    assert meter.counted and meter.counted.usage == Usage(input=120, reasoning=5)
    assert not any(isinstance(delta, Stop) for delta in fed(half))


def test_several_candidates_end_with_the_last_of_them() -> None:
    meter = GEMINI.meter(Request(alias="a", messages=(), choices=2))
    for _ in range(2):  # some say it in every chunk
        meter.feed(streamed([chunk({"text": "a"}, finishReason="STOP")]))
        assert not meter.stopped
    meter.feed(streamed([chunk({"text": "b"}, index=1, finishReason="MAX_TOKENS")]))
    assert meter.stopped


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")],
)
def test_why_it_stopped(reason: str, stop: str) -> None:
    last = fed(streamed([chunk({"text": "so far"}, finishReason=reason)]))[-1]
    assert isinstance(last, Stop)
    assert last.reason == stop


def test_a_blocked_prompt_is_filtered() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    assert said(fed(streamed([blocked]))) == [Stop(reason="content_filter")]
    assert GEMINI.reader(ASKED).whole(json.dumps(blocked).encode())[-1] == Stop(reason="content_filter")
    meter = GEMINI.meter(ASKED)
    meter.feed(streamed([blocked]))
    assert meter.stopped


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_a_call_that_google_could_not_make_is_no_answer(reason: str) -> None:
    with pytest.raises(Broken, match=reason) as caught:
        fed(streamed([chunk({"text": "Half"}), chunk(finishReason=reason, usage=USED)]))
    assert [delta for delta in caught.value.deltas if not isinstance(delta, Counted)] == [Text(text="Half")]
    assert caught.value.deltas[-1] == COUNTED


def test_a_picture_that_no_other_wire_carries_is_told() -> None:
    with pytest.raises(Broken, match="picture"):
        fed(streamed([chunk({"inlineData": {"mimeType": "image/png", "data": "AA=="}})]))


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
PRETTY = json.dumps(ERROR, indent=2).encode()


@pytest.mark.parametrize("error", [streamed([ERROR]), PRETTY, b"\r\n" + PRETTY + b"\n", PRETTY + b"\r\n\r\n"])
def test_an_error_in_the_middle_is_broken_with_or_without_data_before_it(error: bytes) -> None:
    before = streamed(CHUNKS[2:3])
    for place in range(len(before), len(before + error)):
        pieces = [(before + error)[:place], (before + error)[place:], b""]
        meter, passed = GEMINI.meter(ASKED), list[bytes]()
        with pytest.raises(Broken, match="overloaded") as caught:
            passed.extend(map(meter.feed, pieces))
        assert b"".join([*passed, caught.value.passed]).strip() == before.strip()
        assert (caught.value.status, meter.stopped) == (503, False)
        reader, deltas = GEMINI.reader(ASKED), list[list[Delta]]()
        with pytest.raises(Broken, match="overloaded") as caught:
            deltas.extend(map(reader.feed, pieces))
        before_it = [delta for found in deltas for delta in found]
        assert said([*before_it, *caught.value.deltas]) == [Text(text=TRICKY)]


def test_an_error_with_a_good_status_is_broken() -> None:
    for look in (GEMINI.meter(ASKED).whole, GEMINI.reader(ASKED).whole):
        with pytest.raises(Broken, match="overloaded") as caught:
            look(PRETTY)
        assert caught.value.status == 503


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}'])
def test_another_dialect_is_told_as_such(body: bytes) -> None:
    with pytest.raises(ValueError):
        GEMINI.reader(ASKED).whole(body)


def test_a_stream_that_breaks_ends_with_a_bare_error() -> None:
    told = json.loads(GEMINI.meter(ASKED).fail(UpstreamFailed("Cut.", code="upstream_cut")))
    assert (told["error"]["code"], told["error"]["status"]) == (502, "UNAVAILABLE")
