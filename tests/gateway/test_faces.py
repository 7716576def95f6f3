"""Both wires' answers, delta by delta, without a server: what parallel calls and broken answers look like."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import UpstreamFailed
from gateway.wires.chat import CHAT
from gateway.wires.neutral import CallArguments, CallBegun, Counted, Delta, Reasoning, Request, Stop, Text, Tool, Wire
from gateway.wires.responses_face import RESPONSES
from ledger.prices import Usage

TOOLS = (Tool(name="ns__pay", own="pay", namespace="ns"), Tool(name="look", own="look"))
ASKED = Request(alias="default", messages=(), tools=TOOLS, stream=True)
PARALLEL: list[Delta] = [
    CallBegun(id="c1", name="ns__pay"),
    CallArguments(id="c1", text='{"a":'),
    CallBegun(id="c2", name="look"),
    CallArguments(id="c2", text="{}"),
    CallArguments(id="c1", text="1}"),
    Counted(usage=Usage(input=3, cache_read=2, output=4, reasoning=1)),
    Stop(reason="tool_calls"),
]
words = st.lists(st.tuples(st.sampled_from([Text, Reasoning]), st.text(min_size=1)), max_size=12)


def events(raw: bytes) -> list[Any]:
    data = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


def played(wire: Wire, deltas: list[Delta]) -> tuple[list[Any], Any]:
    """The events of a stream, and the body of the same answer."""
    face = wire.face(ASKED, "att_1", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()
    whole = wire.face(ASKED, "att_1", 1)
    for delta in deltas:
        whole.render(delta)
    return events(raw), json.loads(whole.body())


def test_parallel_calls_that_interleave_come_out_whole_on_responses() -> None:
    stream, body = played(RESPONSES, PARALLEL)
    done = [event["item"] for event in stream if event["type"] == "response.output_item.done"]
    assert [(item["name"], item.get("namespace"), item["arguments"]) for item in done] == [
        ("pay", "ns", '{"a":1}'),
        ("look", None, "{}"),
    ]
    assert stream[-1]["response"]["output"] == body["output"] == done


def test_parallel_calls_that_interleave_come_out_whole_on_chat() -> None:
    stream, body = played(CHAT, PARALLEL)
    pieces = [
        call for event in stream if event["choices"] for call in event["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 0) == '{"a":1}'
    calls = body["choices"][0]["message"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("ns__pay", '{"a":1}'),
        ("look", "{}"),
    ]


def test_usage_is_told_in_totals_that_include_their_parts() -> None:
    _, chat = played(CHAT, PARALLEL)
    _, responses = played(RESPONSES, PARALLEL)
    assert (chat["usage"]["prompt_tokens"], chat["usage"]["completion_tokens"]) == (5, 5)
    assert chat["usage"]["completion_tokens_details"] == {"reasoning_tokens": 1}
    assert (responses["usage"]["input_tokens"], responses["usage"]["output_tokens"]) == (5, 5)


def test_a_broken_answer_never_completes_a_call() -> None:
    face = RESPONSES.face(ASKED, "att_1", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in PARALLEL[:4])
    raw += face.fail(UpstreamFailed("cut", code="upstream_cut"))
    assert "response.output_item.done" not in [event["type"] for event in events(raw)]
    assert events(raw)[-1]["response"]["output"] == []


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_too_long_is_incomplete(reason: Any) -> None:
    stream, body = played(RESPONSES, [Text(text="so far"), Stop(reason=reason)])
    assert stream[-1]["type"] == "response.incomplete"
    assert body["status"] == "incomplete"


@given(words)
def test_stream_and_body_say_the_same_on_both_wires(spoken: list[tuple[type[Text] | type[Reasoning], str]]) -> None:
    deltas = [kind(text=text) for kind, text in spoken]
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    stream, body = played(CHAT, [*deltas, Stop(reason="stop")])
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in stream if e["choices"]) == text
    assert (body["choices"][0]["message"]["content"] or "") == text
    stream, body = played(RESPONSES, [*deltas, Stop(reason="stop")])
    assert "".join(e["delta"] for e in stream if e["type"] == "response.output_text.delta") == text
    assert stream[-1]["response"]["output"] == body["output"]
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
