"""Streams of OpenAI's dialects: read at every cut, metered without a byte changed, spoken by us and heard again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import sse
from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Dialect
from gateway.dialects.responses import RESPONSES
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Reasoning,
    Request,
    Stop,
    Text,
    Tool,
    Wire,
)
from tests.gateway.openai_answers import (
    ASKED,
    DONE,
    EVENTS,
    QUIET,
    RECORDED,
    SPOKEN,
    STREAM,
    TAIL,
    USAGE,
    USED,
    chunk,
    cut,
    fed,
    joined,
    kept,
    piece,
)


@pytest.mark.parametrize(("dialect", "stream", "deltas"), RECORDED)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_stream_reads_the_same_wherever_it_is_cut(
    dialect: Dialect, stream: bytes, deltas: list[Delta], line_end: bytes
) -> None:
    stream = stream.replace(b"\n", line_end)
    assert fed(dialect, stream) == deltas
    for place in range(1, len(stream)):
        assert fed(dialect, stream[:place], stream[place:]) == deltas
    assert fed(dialect, *(stream[i : i + 1] for i in range(len(stream)))) == deltas


@pytest.mark.parametrize(("dialect", "stream", "deltas"), RECORDED)
@given(at=st.lists(st.integers(0, 4000), max_size=40))
def test_a_stream_reads_the_same_in_any_pieces(
    dialect: Dialect, stream: bytes, deltas: list[Delta], at: list[int]
) -> None:
    assert fed(dialect, *cut(stream, at)) == deltas


@pytest.mark.parametrize(("dialect", "stream", "deltas"), RECORDED)
@given(at=st.lists(st.integers(0, 4000), max_size=40))
def test_a_meter_changes_no_byte_and_knows_the_end(
    dialect: Dialect, stream: bytes, deltas: list[Delta], at: list[int]
) -> None:
    meter = dialect.meter(ASKED)
    passed = [meter.feed(data) for data in cut(stream, at)]
    assert b"".join(passed) == stream
    assert all(data == b"" or data.endswith(b"\n\n") for data in passed)
    assert meter.stopped
    assert meter.counted == next(delta for delta in deltas if isinstance(delta, Counted))
    assert 0 < meter.heard < len(stream)


@pytest.mark.parametrize("place", range(1, len(STREAM), 7))
def test_usage_that_only_we_asked_for_is_taken_out(place: int) -> None:
    meter = CHAT.meter(QUIET)
    passed = meter.feed(STREAM[:place]) + meter.feed(STREAM[place:])
    assert passed == STREAM.replace(TAIL[1], b"")
    assert meter.counted
    assert meter.counted.usage == USAGE


def test_usage_beside_the_last_words_stays_where_it_is() -> None:
    stream = chunk({"content": "Hi."}) + chunk({}, finish="stop", usage=USED)
    meter = CHAT.meter(QUIET)
    assert meter.feed(stream) == stream
    assert (meter.stopped, meter.counted is not None) == (True, True)
    assert fed(CHAT, stream)[-1] == Stop(reason="stop")


def test_several_choices_end_with_the_last_of_them() -> None:
    meter = CHAT.meter(Request(alias="a", messages=(), choices=2))
    for _ in range(2):  # some say it twice
        meter.feed(chunk({}, finish="stop"))
        assert not meter.stopped
    meter.feed(chunk({}, finish="length", index=1))
    assert (meter.stopped, meter.finished) == (True, False)
    meter.feed(DONE)
    assert meter.finished


@pytest.mark.parametrize("size", [1, 7, 300, 10**6])
@pytest.mark.parametrize("encoded", [True, False])
def test_what_was_heard_is_its_text_however_the_reads_fell(size: int, encoded: bool) -> None:
    words = ["Grüße \n", 'a "quoted" word', "\\", "dull ", "dull ", "dull "]
    deltas: list[Json] = [{"role": "assistant", "content": ""}, {"reasoning_content": "Hm."}]
    deltas += [{"content": word} for word in words] + [piece(0, "", id="a", name="look"), piece(0, '{"a": 1}')]
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    stream = b"".join(
        b"data: %s\n\n" % json.dumps({"id": "c", "choices": [choice]}, ensure_ascii=encoded).encode()
        for choice in choices
    )
    meter = CHAT.meter(ASKED)
    for start in range(0, len(stream), size):
        meter.feed(stream[start : start + size])
    assert meter.heard == len("".join(["Hm.", *words, "look", '{"a": 1}']).encode())


@pytest.mark.parametrize("size", [9, 10**6])
def test_what_a_response_says_is_heard_once_and_nothing_of_the_request(size: int) -> None:
    meter = RESPONSES.meter(ASKED)
    for start in range(0, len(EVENTS), size):
        meter.feed(EVENTS[start : start + size])
    found = [delta for delta in fed(RESPONSES, EVENTS) if isinstance(delta, Text | Reasoning | CallArguments)]
    gaps = [
        delta.text.startswith("\n\n") for delta in found if isinstance(delta, Reasoning)
    ]  # ours, between two thoughts
    assert meter.heard == len("".join(delta.text for delta in found)) - 2 * sum(gaps)
    assert meter.finished


def test_without_done_the_end_is_told_by_no_bytes() -> None:
    stream = b"".join([chunk({"content": "Hi."}), chunk({}, finish="length")])
    reader = CHAT.reader(ASKED)
    assert reader.feed(stream) == [Text(text="Hi.")]
    assert reader.feed(b"") == [Stop(reason="length")]
    assert reader.feed(b"") == []
    meter = CHAT.meter(ASKED)
    assert meter.feed(stream + b"data: [DONE]") + meter.feed(b"") == stream + DONE
    assert meter.stopped


@pytest.mark.parametrize(("dialect", "stream"), [(CHAT, STREAM), (RESPONSES, EVENTS)])
def test_a_cut_stream_has_no_stop_and_half_an_event_stays_here(dialect: Dialect, stream: bytes) -> None:
    half = stream[: stream.rindex(b'"usage"')]
    whole = half[: half.rindex(b"\n\n") + 2]
    meter = dialect.meter(ASKED)
    assert meter.feed(half) + meter.feed(b"") == whole
    if dialect is RESPONSES:  # Chat has said its reason to stop before the usage
        assert not meter.stopped
        assert not any(isinstance(delta, Stop) for delta in fed(dialect, half))


def test_data_over_several_lines_is_one() -> None:
    lines = b'event: x\ndata: {"id":"1","choices":[{"index":0,\ndata:"delta":{"content":"Hi."}}]}\nid: 7\n\n'
    assert fed(CHAT, lines) == [Text(text="Hi.")]


def test_some_servers_count_every_call_as_the_first() -> None:
    stream = (
        chunk(piece(0, "{}", id="a", name="f")) + chunk(piece(0, "{}", id="b", name="f")) + chunk({}, finish="stop")
    )
    assert fed(CHAT, stream) == [
        CallBegun(id="a", name="f"),
        CallArguments(id="a", text="{}"),
        CallBegun(id="b", name="f"),
        CallArguments(id="b", text="{}"),
        Stop(reason="tool_calls"),
    ]


def test_an_endless_event_is_refused() -> None:
    frames = sse.Frames()
    frames.feed(b"data: " + b"x" * sse.MOST_BYTES)
    with pytest.raises(ValueError, match="bytes"):
        frames.feed(b"x")


words = st.text(min_size=1, max_size=20)
spoken = st.lists(
    st.one_of(
        st.builds(Text, text=words),
        st.builds(Reasoning, text=words),
        st.tuples(st.sampled_from(["look", "ns__pay"]), st.lists(words, max_size=3)),
    ),
    max_size=8,
)


@pytest.mark.parametrize(("wire", "dialect"), SPOKEN)
@given(said=spoken, at=st.lists(st.integers(0, 6000), max_size=20))
def test_what_our_face_says_our_reader_hears(wire: Wire, dialect: Dialect, said: list[Any], at: list[int]) -> None:
    tools = (Tool(name="ns__pay", own="pay", namespace="ns"), Tool(name="look", own="look"))
    request = Request(alias="a", messages=(), tools=tools, stream=True)
    deltas: list[Delta] = []
    for number, item in enumerate(said):
        if isinstance(item, tuple):
            deltas.append(CallBegun(id=f"c{number}", name=item[0]))
            deltas += [CallArguments(id=f"c{number}", text=text) for text in (*item[1], "{}")]
        else:
            deltas.append(item)
    called = any(isinstance(delta, CallBegun) for delta in deltas)
    deltas += [Counted(usage=USAGE), Stop(reason="tool_calls" if called else "stop")]
    face, whole = wire.face(request, "att", 1), wire.face(request, "att", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()
    for delta in deltas:
        whole.render(delta)
    assert joined(fed(dialect, *cut(raw, at))) == joined(deltas)
    assert kept(dialect.reader(ASKED).whole(whole.body())) == kept(deltas)
