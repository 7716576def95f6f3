"""Answers on OpenAI's wires as the official SDK gathers them, and what travels in them back to its maker."""

import json

import httpx
import openai
import pytest

from gateway.wires.chat import CHAT
from gateway.wires.neutral import (
    HERE,
    Call,
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Reasoning,
    Request,
    Stop,
    Text,
    Thought,
    Tool,
    Wire,
)
from gateway.wires.responses_face import RESPONSES
from gateway.wires.seals import seal
from kit.errors import Invalid
from ledger.prices import Usage

TOOLS = (
    Tool(name="ns__pay", own="pay", namespace="ns"),
    Tool(name="look", own="look"),
    Tool(name="patch", own="patch", custom=True),
)
ASKED = Request(alias="default", messages=(), tools=TOOLS, stream=True)
THOUGHT, SIGNED = seal("messages", "SIG"), seal("gemini", "CALL")
ANSWER: list[Delta] = [
    Reasoning(seal=seal("messages", "HIDDEN"), redacted=True),
    Reasoning(text="Let me "),
    Reasoning(text="see."),
    Reasoning(seal=THOUGHT),
    Text(text="I pay."),
    CallBegun(id="c1", name="ns__pay", seal=SIGNED),
    CallArguments(id="c1", text='{"amount":'),
    CallBegun(id="c2", name="patch"),
    CallArguments(id="c2", text='{"input":"*** '),
    CallArguments(id="c1", text="3}"),
    CallArguments(id="c2", text='Begin\\n"}'),
    Counted(usage=Usage(input=3, cache_read=2, output=4, reasoning=1)),
    Stop(reason="tool_calls"),
]


def spoken(wire: Wire, deltas: list[Delta]) -> tuple[bytes, bytes]:
    """The answer as a stream and as a whole."""
    face, whole = wire.face(ASKED, "att_1", 1), wire.face(ASKED, "att_1", 1)
    raw = face.begin() + b"".join(face.render(delta) for delta in deltas) + face.end()
    for delta in deltas:
        whole.render(delta)
    return raw, whole.body()


def client(raw: bytes) -> openai.OpenAI:
    """The SDK, with one answer waiting for whatever it asks."""
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=raw)
    transport = httpx.MockTransport(lambda request: answer)
    return openai.OpenAI(api_key="k", base_url="http://gateway.test", http_client=httpx.Client(transport=transport))


def test_the_sdk_gathers_a_chat_stream() -> None:
    """All but the custom call, which the SDK's own helper can't gather from a stream."""
    raw, _ = spoken(CHAT, [delta for delta in ANSWER if getattr(delta, "id", "c1") == "c1"])
    with client(raw).chat.completions.stream(
        model="default", messages=[{"role": "user", "content": "Pay."}], stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        gathered = stream.get_final_completion()
    (choice,) = gathered.choices
    assert (choice.message.content, choice.finish_reason) == ("I pay.", "tool_calls")
    assert choice.message.tool_calls
    (pay,) = choice.message.tool_calls
    assert (pay.function.name, pay.function.arguments) == ("ns__pay", '{"amount":3}')
    assert gathered.usage
    assert (gathered.usage.prompt_tokens, gathered.usage.completion_tokens) == (5, 5)


def test_a_custom_call_is_said_when_its_text_is_whole() -> None:
    raw, body = spoken(CHAT, ANSWER)
    chunks = client(raw).chat.completions.create(
        model="default", messages=[{"role": "user", "content": "Pay."}], stream=True
    )
    pieces = [
        call.to_dict()
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.index == 1
    ]
    assert pieces == [
        {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "patch", "input": ""}},
        {"index": 1, "custom": {"input": "*** Begin\n"}},
    ]
    whole = json.loads(body)["choices"][0]["message"]
    assert whole["tool_calls"][1]["custom"] == {"name": "patch", "input": "*** Begin\n"}
    assert whole["reasoning_content"] == "Let me see."


def test_the_sdk_gathers_a_responses_stream() -> None:
    raw, body = spoken(RESPONSES, ANSWER)
    with client(raw).responses.stream(model="default", input="Pay.") as stream:
        for _ in stream:
            pass
        gathered = stream.get_final_response()
    assert gathered.output_text == "I pay."
    output = json.loads(body)["output"]
    assert [item.to_dict()["id"] for item in gathered.output] == [item["id"] for item in output]
    assert [item["type"] for item in output] == [
        "reasoning", "reasoning", "message", "reasoning", "function_call", "custom_tool_call",
    ]  # fmt: skip
    assert [item["encrypted_content"] for item in output if item["type"] == "reasoning"] == [
        seal("messages", "HIDDEN"), THOUGHT, SIGNED,
    ]  # fmt: skip
    assert len({item["id"] for item in output}) == len(output)
    assert (output[4]["name"], output[4]["namespace"]) == ("pay", "ns")


def test_what_a_responses_answer_carries_comes_back_as_it_was() -> None:
    _, body = spoken(RESPONSES, ANSWER)
    echoed: Json = {"model": "default", "input": json.loads(body)["output"]}
    (turn,) = RESPONSES.parse(echoed, HERE).messages
    thoughts = [(part.text, part.seal, part.redacted) for part in turn.parts if isinstance(part, Thought)]
    assert thoughts == [("", seal("messages", "HIDDEN"), True), ("Let me see.", THOUGHT, False)]
    assert turn.calls == (
        Call(id="c1", name="ns__pay", arguments='{"amount":3}', seal=SIGNED),
        Call(id="c2", name="patch", arguments='{"input":"*** Begin\\n"}'),
    )


def test_the_seal_of_a_call_comes_back_on_chat() -> None:
    _, body = spoken(CHAT, ANSWER)
    message = json.loads(body)["choices"][0]["message"]
    (turn,) = CHAT.parse({"model": "default", "messages": [message]}, HERE).messages
    assert [(call.id, call.seal) for call in turn.calls] == [("c1", SIGNED), ("c2", None)]
    assert turn.parts[:2] == (
        Thought(seal=seal("messages", "HIDDEN"), redacted=True),
        Thought(text="Let me see.", seal=THOUGHT),
    )


def test_a_sealed_thought_is_opened_and_closed_on_the_stream() -> None:
    raw, _ = spoken(RESPONSES, ANSWER)
    events = [json.loads(line[6:]) for line in raw.decode().split("\n") if line.startswith("data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    items = [event for event in events if event["type"].startswith("response.output_item")]
    assert [event["output_index"] for event in items if event["type"].endswith("added")] == list(range(6))
    done = {event["output_index"]: event["item"] for event in items if event["type"].endswith("done")}
    assert len(done) == 6
    assert done[1]["summary"] == [{"type": "summary_text", "text": "Let me see."}]


def test_free_text_that_is_no_json_is_said_as_it_is() -> None:
    broken: list[Delta] = [
        CallBegun(id="c", name="patch"),
        CallArguments(id="c", text="*** Begin"),
        Stop(reason="stop"),
    ]
    _, body = spoken(CHAT, broken)
    assert json.loads(body)["choices"][0]["message"]["tool_calls"][0]["custom"]["input"] == "*** Begin"


@pytest.mark.parametrize("wire", [CHAT, RESPONSES])
def test_a_refusal_names_the_field_in_openais_shape(wire: Wire) -> None:
    with pytest.raises(Invalid) as caught:
        wire.parse({"model": "m", "api_base": "x"}, HERE)
    status, body = wire.refusal(caught.value)
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", "field_not_allowed")
    assert "`api_base`" in error["message"]
