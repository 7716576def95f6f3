"""Whole answers of OpenAI's dialects, and those that break or are no answers."""

import json

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Broken, Dialect
from gateway.dialects.responses import RESPONSES
from gateway.upstream import UpstreamFailed
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Reasoning,
    Stop,
    Text,
)
from gateway.wires.seals import seal
from tests.gateway.openai_answers import ASKED, RESPONSE, SAID, TRICKY, USAGE, USED, chunk, event, joined


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
    body = json.dumps({"id": "chatcmpl-1", "model": "gpt-5.5", "choices": [choice], "usage": USED}).encode()
    meter = CHAT.meter(ASKED)
    assert meter.whole(body) == body
    assert meter.stopped
    assert meter.counted == Counted(usage=USAGE, upstream_id="chatcmpl-1", model="gpt-5.5")
    assert meter.heard == len("Hm.Hi.look{}")
    assert meter.reasons == {"0": "tool_calls"}
    assert CHAT.reader(ASKED).whole(body) == [
        Reasoning(text="Hm."),
        Reasoning(seal=seal("chat", "")),
        Text(text="Hi."),
        CallBegun(id="c1", name="look"),
        CallArguments(id="c1", text="{}"),
        Counted(usage=USAGE, upstream_id="chatcmpl-1", model="gpt-5.5"),
        Stop(reason="tool_calls"),
    ]


def test_a_whole_response() -> None:
    meter = RESPONSES.meter(ASKED)
    assert meter.whole(RESPONSE) == RESPONSE
    assert meter.stopped
    assert meter.counted == Counted(usage=USAGE, upstream_id="resp_1")
    assert meter.reasons == {"0": "completed"}
    assert meter.heard == sum(map(len, ("Let me", "see.", TRICKY, "pay", '{"at":1}')))
    assert joined(RESPONSES.reader(ASKED).whole(RESPONSE)) == joined(SAID)


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
