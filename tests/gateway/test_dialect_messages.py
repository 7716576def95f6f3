"""Anthropic's side of Messages: what it is sent, how its answers are read and metered, what they cost in tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.dialect import Broken
from gateway.dialects.failures import told
from gateway.dialects.messages import MESSAGES, usage_of
from gateway.wires.messages_face import MESSAGES as WIRE
from gateway.wires.neutral import (
    HERE,
    Address,
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
from kit.errors import Fault
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(Message(role="user"),), stream=True)
STREAM: list[Json] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_01", "type": "message", "role": "assistant", "model": "claude", "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {
                "input_tokens": 21, "cache_creation_input_tokens": 188086, "cache_read_input_tokens": 50,
                "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 187630},
                "output_tokens": 1, "service_tier": "standard",
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Lét me"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": " see."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "SIG=="}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "DATA"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "I say \"message_stop\""}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "content_block_start", "index": 3,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    },
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 3},
    {
        "type": "content_block_start", "index": 4,
        "content_block": {"type": "tool_use", "id": "toolu_2", "name": "list", "input": {}},
    },
    {"type": "content_block_stop", "index": 4},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 503, "output_tokens_details": {"thinking_tokens": 400}},
    },
    {"type": "message_stop"},
]  # fmt: skip
MODEL = "claude"
USAGE = Usage(input=21, cache_read=50, cache_write=456, cache_write_1h=187630, output=103, reasoning=400)
DELTAS: list[Delta] = [
    Reasoning(text="Lét me"),
    Reasoning(text=" see."),
    Reasoning(seal=seal("messages", "SIG==")),
    Reasoning(seal=seal("messages", "redacted:DATA"), redacted=True),
    Text(text='I say "message_stop"'),
    CallBegun(id="toolu_1", name="look"),
    CallArguments(id="toolu_1", text='{"a":'),
    CallArguments(id="toolu_1", text="1}"),
    CallBegun(id="toolu_2", name="list"),
    CallArguments(id="toolu_2", text="{}"),
    Counted(usage=USAGE, upstream_id="msg_01", model=MODEL),
    Stop(reason="tool_calls"),
]
WHOLE: Json = {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "max_tokens",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "SIG"},
        {"type": "text", "text": "I say"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
    ],
    "usage": {"input_tokens": 9, "output_tokens": 5},
}  # fmt: skip
cuts = st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=60)


def _raw(events: list[Json], *, end: str = "\n") -> bytes:
    return "".join(
        f"event: {event['type']}{end}data: {json.dumps(event, ensure_ascii=False)}{end}{end}" for event in events
    ).encode()


START = Counted(
    usage=Usage(input=21, cache_read=50, cache_write=456, cache_write_1h=187630), upstream_id="msg_01", model=MODEL
)
"""What `message_start` tells: all of the input, and no output yet."""


def _cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes * (len(raw) // sum(sizes) + 1):
        pieces.append(raw[:size])
        raw = raw[size:]
    return [piece for piece in pieces if piece]


@given(cuts, st.sampled_from(["\n", "\r\n"]))
def test_a_stream_is_read_the_same_however_it_is_cut(sizes: list[int], end: str) -> None:
    reader = MESSAGES.reader(ASKED)
    assert [delta for piece in _cut(_raw(STREAM, end=end), sizes) for delta in reader.feed(piece)] == [START, *DELTAS]


@given(cuts)
def test_a_stream_passes_untouched_and_is_counted_however_it_is_cut(sizes: list[int]) -> None:
    meter, raw = MESSAGES.meter(ASKED), _raw(STREAM)
    assert b"".join(meter.feed(piece) for piece in [*_cut(raw, sizes), b""]) == raw
    assert meter.counted == Counted(usage=USAGE, upstream_id="msg_01", model=MODEL)
    assert meter.stopped
    assert meter.reasons == {"0": "tool_use"}
    assert meter.heard > 0


def test_a_cut_stream_has_not_stopped_and_counts_what_its_beginning_told() -> None:
    meter = MESSAGES.meter(ASKED)
    meter.feed(_raw(STREAM[:11]))
    assert (meter.stopped, meter.counted) == (False, START)
    assert meter.heard == len('Lét me see.I say "message_stop"'.encode())
    assert meter.fail(Fault("upstream_cut", "Cut.")).startswith(b"event: error\ndata: {")


def test_a_whole_answer_is_read_and_counted() -> None:
    raw = json.dumps(WHOLE).encode()
    assert MESSAGES.reader(ASKED).whole(raw) == [
        Reasoning(text="Hm."),
        Reasoning(seal=seal("messages", "SIG")),
        Text(text="I say"),
        CallBegun(id="toolu_1", name="look"),
        CallArguments(id="toolu_1", text='{"a":1}'),
        Counted(usage=Usage(input=9, output=5), upstream_id="msg_01", model=MODEL),
        Stop(reason="length"),
    ]
    assert (meter := MESSAGES.meter(ASKED)).whole(raw) == raw
    assert meter.counted == Counted(usage=Usage(input=9, output=5), upstream_id="msg_01", model=MODEL)
    assert (meter.stopped, meter.reasons) == (True, {"0": "max_tokens"})
    assert meter.heard == len("".join(["Hm.", "I say", "look", '{"a":1}']))


def test_a_stream_that_tells_its_output_at_the_start_alone_has_not_told_it() -> None:
    last: Json = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    meter = MESSAGES.meter(ASKED)
    meter.feed(_raw([*STREAM[:11], last, {"type": "message_stop"}]))
    assert (meter.stopped, meter.finished, meter.counted) == (True, True, START)


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 502), ("rate_limit_error", 429), ("invalid_request_error", 400)]
)
def test_an_error_in_the_middle_is_told_after_what_came_before(kind: str, status: int) -> None:
    events = [*STREAM[:4], {"type": "error", "error": {"type": kind, "message": "No: sk-ant-api03-secret."}}]
    with pytest.raises(Broken) as read:
        MESSAGES.reader(ASKED).feed(_raw(events))
    assert read.value.deltas == (START, Reasoning(text="Lét me"))
    with pytest.raises(Broken) as metered:
        MESSAGES.meter(ASKED).feed(_raw(events))
    assert metered.value.passed == _raw(STREAM[:4])
    for broken in (read.value, metered.value):
        assert broken.status == status
        assert "secret" not in told(str(broken), None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":"message","content":[{}]}', b'{"content":3}', b"<html>"])
def test_what_is_no_answer_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        MESSAGES.reader(ASKED).whole(body)
    with pytest.raises(ValueError):
        MESSAGES.reader(ASKED).feed(b'data: {"type":"content_block_delta","index":7,"delta":{"type":"text_delta"}}\n\n')


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"input_tokens": 2095, "output_tokens": 503}, Usage(input=2095, output=503)),
        (
            {"input_tokens": 21, "cache_creation_input_tokens": 188086, "output_tokens": 3},
            Usage(input=21, cache_write=188086, output=3),
        ),
        (
            {"input_tokens": 21, "cache_read_input_tokens": 188086, "output_tokens": 393},
            Usage(input=21, cache_read=188086, output=393),
        ),
        (
            {"input_tokens": 5, "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 90}},
            Usage(input=5, reasoning=90),
        ),
        ({"input_tokens": None, "output_tokens": "7", "cache_read_input_tokens": -3}, Usage()),
    ],
    ids=["plain", "written to the cache", "read from the cache", "thinking", "nonsense"],
)  # fmt: skip
def test_usage_falls_into_classes_that_no_token_is_in_twice(told: Json, usage: Usage) -> None:
    assert usage_of(told) == usage


tokens = st.integers(min_value=0, max_value=10**8)


@given(tokens, tokens, tokens, tokens, tokens)
def test_classes_add_up_to_what_the_provider_counted(plain: int, read: int, write: int, out: int, thought: int) -> None:
    used = usage_of(
        {
            "input_tokens": plain,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": write,
            "output_tokens": out,
            "output_tokens_details": {"thinking_tokens": thought},
        }
    )
    assert (used.total_input, used.total_output) == (plain + read + write, out)
    assert used.reasoning == min(thought, out)


def _parsed(**fields: object) -> Request:
    talk = [{"role": "user", "content": "look"}]
    return WIRE.parse({"model": "default", "max_tokens": 9000, "messages": talk, **fields}, HERE)


def test_a_body_passes_with_the_model_and_the_bound_touched() -> None:
    request = _parsed(system="Be quick.", stream=True, metadata={"user_id": "u"}, mcp_servers=None)
    assert MESSAGES.passed(request, "claude", 500) == {
        "model": "claude",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "look"}],
        "system": "Be quick.",
        "stream": True,
        "metadata": {"user_id": "u"},
    }


@pytest.mark.parametrize(
    ("bound", "budget"),
    [(5000, {"budget_tokens": 4000}), (2000, {"budget_tokens": 1999}), (900, None)],
)
def test_thinking_stays_below_the_bound(bound: int, budget: Json | None) -> None:
    request = _parsed(thinking={"type": "enabled", "budget_tokens": 4000})
    sent = {"type": "enabled", **budget} if budget else {"type": "disabled"}
    assert MESSAGES.passed(request, "claude", bound)["thinking"] == sent


def test_only_thoughts_that_anthropic_signed_go_back_to_it() -> None:
    content: list[Json] = [
        {"type": "thinking", "thinking": "own", "signature": "SIG"},
        {"type": "thinking", "thinking": "sealed", "signature": seal("messages", "SIG2")},
        {"type": "thinking", "thinking": "foreign", "signature": seal("gemini", "G")},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
        {"type": "redacted_thinking", "data": seal("responses", "R")},
        {"type": "thinking", "thinking": "", "signature": seal("messages", "redacted:DATA")},
        {"type": "text", "text": "I look."},
    ]
    request = _parsed(messages=[{"role": "user", "content": "look"}, {"role": "assistant", "content": content}])
    sent = MESSAGES.passed(request, "claude", 500)["messages"][1]["content"]
    assert [(block.get("thinking"), block.get("signature")) for block in sent] == [
        ("own", "SIG"), ("sealed", "SIG2"), (None, None), (None, None),
    ]  # fmt: skip
    assert sent[2] == {"type": "redacted_thinking", "data": "DATA"}


def test_headers_are_the_key_the_version_and_the_betas_let_through() -> None:
    sent = {"anthropic-beta": "effort-2025-11-24,mcp-client-2025-11-20", "anthropic-version": "1999-01-01"}
    request = WIRE.parse({"model": "m", "max_tokens": 1, "messages": []}, Address(headers=sent))
    assert MESSAGES.headers("sk-ant", request) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant",
        "anthropic-beta": "effort-2025-11-24",
    }
    assert "x-api-key" not in MESSAGES.headers(None, request)
