"""The Anthropic Messages wire: how its answers and refusals look."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import UpstreamFailed
from gateway.wires.messages_face import MESSAGES
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Message,
    Reasoning,
    Request,
    Stop,
    Text,
)
from kit.errors import Fault, Invalid, Missing, Refused, Unauthorized
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(Message(role="user"),), stream=True)
PARALLEL: list[Delta] = [
    Reasoning(text="hm"),
    Reasoning(seal="preloop.gemini.AA"),
    Text(text="I look."),
    CallBegun(id="c1", name="look"),
    CallArguments(id="c1", text='{"a":'),
    CallBegun(id="c2", name="look"),
    CallArguments(id="c2", text='{"b":2}'),
    CallArguments(id="c1", text="1}"),
    Counted(usage=Usage(input=3, cache_read=2, cache_write=7, output=4, reasoning=1)),
    Stop(reason="tool_calls"),
]


def test_blocks_come_one_after_the_other_also_when_calls_interleave() -> None:
    stream, body = _played(PARALLEL)
    assert stream[0]["type"] == "message_start"
    assert [event["type"] for event in stream[-2:]] == ["message_delta", "message_stop"]
    blocks = _assembled(stream)
    assert blocks == body["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "preloop.gemini.AA"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "look", "input": {"b": 2}},
    ]  # fmt: skip
    assert stream[-2]["delta"]["stop_reason"] == body["stop_reason"] == "tool_use"
    assert stream[-2]["usage"] == body["usage"] == {
        "input_tokens": 3, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 5,
    }  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([Text, Reasoning]), st.text(min_size=1)), max_size=12))
def test_stream_and_body_say_the_same(spoken: list[tuple[type[Text] | type[Reasoning], str]]) -> None:
    stream, body = _played([*(kind(text=text) for kind, text in spoken), Stop(reason="stop")])
    assert _assembled(stream) == body["content"]
    assert "".join(block.get("text", block.get("thinking")) for block in body["content"]) == "".join(
        text for _, text in spoken
    )


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=20))
def test_calls_are_whole_however_they_interleave(order: list[int]) -> None:
    deltas: list[Delta] = [CallBegun(id=f"c{n}", name="look") for n in range(3)]
    pieces = [['{"a":', '"', "b", '"}'] for _ in range(3)]
    numbers = [*order, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    deltas += [CallArguments(id=f"c{n}", text=pieces[n].pop(0)) for n in numbers if pieces[n]]
    stream, body = _played([*deltas, Stop(reason="tool_calls")])
    assert [block["input"] for block in _assembled(stream)] == [{"a": "b"}] * 3
    assert _assembled(stream) == body["content"]


def test_a_call_that_broke_off_is_not_in_a_whole_answer() -> None:
    _, body = _played([CallBegun(id="c1", name="look"), CallArguments(id="c1", text='{"a":'), Stop(reason="length")])
    assert (body["content"], body["stop_reason"]) == ([], "max_tokens")


def test_a_broken_answer_ends_in_an_error_event() -> None:
    face = MESSAGES.face(ASKED, "att_1", 1)
    raw = face.begin() + face.render(Text(text="so")) + face.fail(UpstreamFailed("cut", code="upstream_cut"))
    assert raw.split(b"\n\n")[-2].startswith(b"event: error\n")
    assert _events(raw)[-1]["error"] == {"type": "api_error", "message": "upstream_cut: cut"}


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Refused("budget_exceeded", "The budget is spent."), 402, "billing_error"),
        (Refused("model_not_allowed"), 400, "invalid_request_error"),
        (Invalid("field_not_allowed"), 400, "invalid_request_error"),
        (Missing("no_such_model"), 404, "not_found_error"),
        (Unauthorized("token_missing"), 401, "authentication_error"),
        (UpstreamFailed("busy", answered=429), 429, "rate_limit_error"),
        (UpstreamFailed("down", answered=500), 502, "api_error"),
    ],
)
def test_refusals_have_the_statuses_that_claude_code_takes_as_final(fault: Fault, status: int, kind: str) -> None:
    answered, raw = MESSAGES.refusal(fault)
    error = json.loads(raw)
    assert (answered, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error["error"]["message"].startswith(f"{fault.code}: ")


def test_a_pause_is_a_ping() -> None:
    assert _events(MESSAGES.keep_alive) == [{"type": "ping"}]
    assert MESSAGES.keep_alive.startswith(b"event: ping\n")


def _events(raw: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in raw.decode().split("\n") if line.startswith("data: ")]


def _played(deltas: list[Delta]) -> tuple[list[Any], Any]:
    """The events of a stream, and the body of the same answer."""
    face, whole = MESSAGES.face(ASKED, "att_1", 1), MESSAGES.face(ASKED, "att_1", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()
    for delta in deltas:
        whole.render(delta)
    return _events(raw), json.loads(whole.body())


def _assembled(stream: list[Any]) -> list[Any]:
    """Blocks as a client puts them together; fails when one opens before the last is closed."""
    found: list[Any] = []
    said, is_open = "", False
    for event in stream:
        if event["type"] == "content_block_start":
            assert not is_open and event["index"] == len(found)
            found.append(event["content_block"])
            said, is_open = "", True
        elif event["type"] == "content_block_delta":
            assert is_open and event["index"] == len(found) - 1
            delta = event["delta"]
            if delta["type"] == "input_json_delta":
                said += delta["partial_json"]
            elif delta["type"] == "signature_delta":
                found[-1]["signature"] = delta["signature"]
            else:
                name = delta["type"].removesuffix("_delta")
                found[-1][name] += delta[name]
        elif event["type"] == "content_block_stop":
            assert is_open and event["index"] == len(found) - 1
            is_open = False
            if found[-1]["type"] == "tool_use":
                found[-1]["input"] = json.loads(said or "{}")
    assert not is_open
    return found
