"""Answers of OpenAI's dialects, as real servers send them: read at every cut, metered without a byte changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import counts, sse
from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Broken, Dialect
from gateway.dialects.responses import RESPONSES
from gateway.upstream import UpstreamFailed
from gateway.wires.chat import CHAT as CHAT_WIRE
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
from gateway.wires.responses_face import RESPONSES as RESPONSES_WIRE
from gateway.wires.seals import seal
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(), stream=True)
QUIET = Request(alias="default", messages=(), stream=True, wants_usage=False)
SPOKEN: tuple[tuple[Wire, Dialect], ...] = ((CHAT_WIRE, CHAT), (RESPONSES_WIRE, RESPONSES))
USED = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
USAGE = Usage(input=100, cache_read=20, output=20, reasoning=10)


def chunk(delta: Json | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    """As OpenAI sends it when usage was asked for: `usage` is in every chunk, null until the last."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    payload = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": choices, "usage": None} | more
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def piece(index: int, arguments: str, **begun: Any) -> Json:
    name = {"name": begun.pop("name")} if "name" in begun else {}
    return {"tool_calls": [{"index": index, "function": name | {"arguments": arguments}, **begun}]}


DONE = b"data: [DONE]\n\n"
TRICKY = 'say "usage":{"prompt_tokens":1} [DONE] "finish_reason":"stop" "error":{} response.completed \n\n data: x'
LAST_THOUGHT = chunk({"reasoning": "see."})
THINKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning": "see."}),
]
CALLS = [
    chunk(piece(0, "", id="c1", type="function", name="look")),
    chunk(piece(0, '{"at":')),
    chunk(piece(1, "", id="c2", type="function", name="pay", extra_content={"google": {"thought_signature": "S"}})),
    chunk(piece(1, "{}")),
    chunk(piece(0, "1}")),
]
TAIL = [chunk({}, finish="tool_calls"), chunk(None, usage=USED), DONE]
STREAM = b": OPENROUTER PROCESSING\n\n" + b"".join([*THINKS, chunk({"content": TRICKY}), *CALLS, *TAIL])
DELTAS: list[Delta] = [
    Reasoning(text="Let me "),
    Reasoning(text="see."),
    Reasoning(seal=seal("chat", "")),
    Text(text=TRICKY),
    CallBegun(id="c1", name="look"),
    CallArguments(id="c1", text='{"at":'),
    CallBegun(id="c2", name="pay", seal=seal("chat", "S")),
    CallArguments(id="c2", text="{}"),
    CallArguments(id="c1", text="1}"),
    Counted(usage=USAGE, upstream_id="chatcmpl-1"),
    Stop(reason="tool_calls"),
]


def event(type_: str, **fields: Any) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, 'sequence_number': 3, **fields})}\n\n".encode()


RESPONDED = {
    "id": "resp_1",
    "status": "completed",
    "error": None,
    "usage": {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 150,
    },
}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Let me"}, {"type": "summary_text", "text": "see."}],
    "encrypted_content": "CIPHER",
}
MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": TRICKY}]}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "pay",
    "namespace": "ns",
    "arguments": '{"at":1}',
}
EVENTS = b"".join([
    event("response.created", response={"id": "resp_1", "status": "in_progress"}),
    event("response.output_item.added", item={"type": "reasoning", "id": "rs_1", "summary": []}),
    event("response.reasoning_summary_text.delta", item_id="rs_1", summary_index=0, delta="Let me"),
    event("response.reasoning_summary_text.delta", item_id="rs_1", summary_index=1, delta="see."),
    event("response.output_item.done", item=THOUGHT),
    event("response.output_text.delta", item_id="msg_1", delta=TRICKY),
    event("response.output_item.done", item=MESSAGE),
    event("response.output_item.added", item=CALL | {"arguments": ""}),
    event("response.function_call_arguments.delta", item_id="fc_1", delta='{"at":'),
    event("response.function_call_arguments.delta", item_id="fc_1", delta="1}"),
    event("response.output_item.done", item=CALL),
    event("response.completed", response=RESPONDED),
])  # fmt: skip
RESPONSE = json.dumps(RESPONDED | {"output": [THOUGHT, MESSAGE, CALL]}).encode()
SAID: list[Delta] = [
    Reasoning(text="Let me"),
    Reasoning(text="\n\nsee."),
    Reasoning(seal=seal("responses", "CIPHER")),
    Text(text=TRICKY),
    CallBegun(id="c1", name="ns__pay"),
    CallArguments(id="c1", text='{"at":'),
    CallArguments(id="c1", text="1}"),
    Counted(usage=USAGE, upstream_id="resp_1"),
    Stop(reason="tool_calls"),
]
RECORDED = [(CHAT, STREAM, DELTAS), (RESPONSES, EVENTS, SAID)]


def fed(dialect: Dialect, *pieces: bytes) -> list[Delta]:
    reader = dialect.reader(ASKED)
    return [delta for data in (*pieces, b"") for delta in reader.feed(data)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces; none of them is empty."""
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


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
    meter.feed(chunk({}, finish="stop"))
    assert not meter.stopped
    meter.feed(chunk({}, finish="length"))
    assert meter.stopped


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


@pytest.mark.parametrize(
    ("dialect", "event", "said", "status"),
    [
        (CHAT, b'data: {"error":{"message":"Overloaded","code":503}}\n\n', "Overloaded", 503),
        (
            CHAT,
            b'data: {"error":{"message":"Slow down","type":"x","code":"rate_limit_exceeded"}}\n\n',
            "Slow down",
            429,
        ),
        (CHAT, b'data: {"error": "busy"}\n\n', "busy", 502),
        (CHAT, b'data: {"id":"1","choices":[{"index":0,"delta":{}}],"error":{"message":"No"}}\n\n', "No", 502),
        (RESPONSES, event("error", code="server_error", message="Sorry"), "Sorry", 502),
        (RESPONSES, event("error", error={"code": "invalid_prompt", "message": "No"}), "No", 400),
        (
            RESPONSES,
            event("response.failed", response={"id": "r", "error": {"code": "rate_limit_exceeded", "message": "Wait"}}),
            "Wait",
            429,
        ),
        (RESPONSES, event("response.failed", response={"id": "r", "error": None}), "It gave no reason.", 502),
    ],
)
def test_an_error_in_the_middle_is_broken_and_keeps_what_was_said(
    dialect: Dialect, event: bytes, said: str, status: int
) -> None:
    before = chunk({"content": "Half"}) if dialect is CHAT else _said("Half")
    meter = dialect.meter(ASKED)
    with pytest.raises(Broken, match=said) as caught:
        meter.feed(before + event)
    assert (caught.value.passed, caught.value.status, meter.stopped) == (before, status, False)
    with pytest.raises(Broken, match=said) as caught:
        dialect.reader(ASKED).feed(before + event)
    assert (caught.value.deltas, caught.value.status) == ((Text(text="Half"),), status)


def _said(text: str) -> bytes:
    return event("response.output_text.delta", item_id="m", delta=text)


def test_a_whole_completion() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    message = {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm.", "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": USED}).encode()
    meter = CHAT.meter(ASKED)
    assert meter.whole(body) == body
    assert meter.stopped
    assert meter.counted == Counted(usage=USAGE, upstream_id="chatcmpl-1")
    assert CHAT.reader(ASKED).whole(body) == [
        Reasoning(text="Hm."),
        Reasoning(seal=seal("chat", "")),
        Text(text="Hi."),
        CallBegun(id="c1", name="look"),
        CallArguments(id="c1", text="{}"),
        Counted(usage=USAGE, upstream_id="chatcmpl-1"),
        Stop(reason="tool_calls"),
    ]


def test_a_whole_response() -> None:
    meter = RESPONSES.meter(ASKED)
    assert meter.whole(RESPONSE) == RESPONSE
    assert meter.stopped
    assert meter.counted == Counted(usage=USAGE, upstream_id="resp_1")
    assert _joined(RESPONSES.reader(ASKED).whole(RESPONSE)) == _joined(SAID)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"object":"list","data":[]}'])
def test_another_dialect_is_told_as_such(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(ValueError):
        dialect.reader(ASKED).whole(body)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
def test_an_error_with_a_good_status_is_broken(dialect: Dialect) -> None:
    body = b'{"error":{"message":"No credits","code":402}}'
    for look in (dialect.meter(ASKED).whole, dialect.reader(ASKED).whole):
        with pytest.raises(Broken, match="No credits") as caught:
            look(body)
        assert caught.value.status == 402


def test_a_broken_stream_ends_in_the_words_of_its_wire() -> None:
    fault = UpstreamFailed("cut", code="upstream_cut")
    assert CHAT.meter(ASKED).fail(fault).endswith(b'"code":"upstream_cut"}}\n\ndata: [DONE]\n\n')
    meter = RESPONSES.meter(ASKED)
    meter.feed(event("response.created", response={"id": "resp_77"}))
    failed = json.loads(meter.fail(fault).split(b"data: ")[1])
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 4)
    assert (failed["response"]["id"], failed["response"]["status"]) == ("resp_77", "failed")
    assert RESPONSES.meter(ASKED).fail(fault).startswith(b"event: response.created\n")


@pytest.mark.parametrize(
    ("usage", "classes"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, Usage(input=5, output=3)),
        (USED, USAGE),
        (  # xAI: reasoning beside the completion
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 6},
            },
            Usage(input=10, output=4, reasoning=6),
        ),
        (  # DeepSeek
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            Usage(input=2, cache_read=8, output=4),
        ),
        (  # OpenRouter, cache written
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}},
            Usage(input=3, cache_write=7, output=1),
        ),
        ({"prompt_tokens": None, "completion_tokens": "4", "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": -4, "completion_tokens": True}, Usage()),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(cache_read=3, output=2),
        ),
    ],
)
def test_tokens_fall_into_one_class_each(usage: Json, classes: Usage) -> None:
    assert counts.tokens(usage) == classes


@given(*[st.integers(0, 10**6)] * 5)
def test_classes_add_up_to_the_totals(total_in: int, total_out: int, read: int, write: int, thought: int) -> None:
    usage = {
        "input_tokens": total_in,
        "output_tokens": total_out,
        "total_tokens": total_in + total_out,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "output_tokens_details": {"reasoning_tokens": thought},
    }
    found = counts.tokens(usage)
    assert (found.total_input, found.total_output) == (total_in, total_out)
    assert min(found.input, found.cache_read, found.cache_write, found.output, found.reasoning) >= 0


@pytest.mark.parametrize(
    ("digits", "nano"),
    [
        ("0.00014", 140_000),
        ("1.4e-05", 14_000),
        ("0", 0),
        ("12", 12 * 10**9),
        ("0.0000000001", 1),
        ("0.1", 10**8),
        ("0.30000000000000004", 300_000_001),
        ("-1", None),
        ('"0.1"', None),
    ],
)
def test_a_charge_is_read_digit_by_digit(digits: str, nano: int | None) -> None:
    assert counts.nano(digits) == nano
    body = f'{{"id":"g","choices":[{{"message":{{"content":"x"}}}}],"usage":{{"prompt_tokens":1,"cost":{digits}}}}}'
    meter = CHAT.meter(ASKED)
    meter.whole(body.encode())
    assert meter.counted
    assert meter.counted.cost_nano == nano


def test_a_charge_beyond_belief_is_none() -> None:
    assert [counts.nano(digits) for digits in ("1e999999999", "1000000.01", "NaN", "Infinity", "x", "")] == [None] * 6


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
    assert _joined(fed(dialect, *cut(raw, at))) == _joined(deltas)
    assert _sorted(dialect.reader(ASKED).whole(whole.body())) == _sorted(deltas)


def _joined(deltas: list[Delta]) -> list[object]:
    """What was said, however it was cut: neighbours of one kind together, calls by id, no seals or ids of answers."""
    found: list[object] = []
    calls: dict[str, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, Text | Reasoning):
            if not delta.text:
                continue
            last = found[-1] if found else None
            if isinstance(last, list) and last[0] is type(delta):
                last[1] += delta.text
            else:
                found.append([type(delta), delta.text])
        elif isinstance(delta, CallBegun):
            calls[delta.id] = [delta.name, ""]
            found.append(calls[delta.id])
        elif isinstance(delta, CallArguments):
            calls[delta.id][1] += delta.text
        else:
            found.append(delta.usage if isinstance(delta, Counted) else delta)
    return found


def _sorted(deltas: list[Delta]) -> dict[str, object]:
    """What a whole answer keeps on every wire: all text, all thought, the calls, the usage and the reason to stop."""
    joined = _joined(deltas)
    lists = [item for item in joined if isinstance(item, list)]
    return {
        "text": "".join(item[1] for item in lists if item[0] is Text),
        "calls": [item for item in lists if isinstance(item[0], str)],
        "rest": [item for item in joined if not isinstance(item, list)],
    }
