"""A neutral request in the words of OpenAI's two dialects, feature by feature, and what neither has a place for."""

import json
from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Dialect
from gateway.dialects.embeddings import EMBEDDINGS
from gateway.dialects.failures import told
from gateway.dialects.responses import RESPONSES
from gateway.wires.neutral import Call, Image, Json, Message, Request, Result, Said, Thought, Tool
from gateway.wires.seals import seal
from kit.errors import Invalid

SCHEMA = {"type": "object", "properties": {"at": {"type": "integer"}}}
MARK = {"type": "ephemeral"}
LOOK = Tool(name="look", own="look", description="Look.", parameters=SCHEMA, strict=True)
PAY = Tool(name="ns__pay", own="pay", namespace="ns", parameters=SCHEMA)
HELLO = Message(role="user", parts=(Said(text="Hello."),))
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
PICTURE = Image(media_type="image/png", data="aGk=", detail="low")
ADDRESS = Image(url="https://pictures.test/a.png")
CALLED = Message(
    role="assistant",
    parts=(
        Said(text="I look."),
        Call(id="c1", name="look", arguments='{"at":1}'),
        Call(id="c2", name="ns__pay", arguments="{}"),
    ),
)
RESULTS = (
    Message(role="tool", parts=(Result(call_id="c1", parts=(Said(text="A cat."),)),)),
    Message(role="tool", parts=(Result(call_id="c2", parts=(Said(text="See."), PICTURE)),)),
)


def asked(dialect: Dialect, *messages: Message, model: str = "m", **fields: Any) -> tuple[Json, tuple[str, ...]]:
    assert dialect.asked
    return dialect.asked(Request(alias="a", messages=messages or (HELLO,), **fields), model, 50)


def test_text_on_chat() -> None:
    system = Message(role="system", parts=(Said(text="Be "), Said(text="brief.")))
    sampling = {"temperature": 0.5, "seed": 1, "stop": "END"}
    assert asked(CHAT, system, HELLO, sampling=sampling, stream=True) == (
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}],
            "max_tokens": 50,
            "temperature": 0.5,
            "seed": 1,
            "stop": "END",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        (),
    )
    assert asked(CHAT, model="gpt-5.5")[0]["max_completion_tokens"] == 50


def test_text_on_responses() -> None:
    system = Message(role="system", parts=(Said(text="Be brief."),))
    said = Message(role="assistant", parts=(Said(text="Yes?"),))
    assert asked(RESPONSES, system, HELLO, said, HELLO, sampling={"temperature": 0.5, "seed": 1}, stream=True) == (
        {
            "model": "m",
            "input": [
                {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
            ],
            "max_output_tokens": 50,
            "store": False,
            "stream": True,
            "temperature": 0.5,
        },
        ("seed",),
    )


def test_tools_and_parallel_calls_on_chat() -> None:
    body, dropped = asked(CHAT, HELLO, CALLED, *RESULTS, tools=(LOOK, PAY), tool_choice="ns__pay", parallel_calls=True)
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True},
        },
        {"type": "function", "function": {"name": "ns__pay", "description": "", "parameters": SCHEMA}},
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "ns__pay"}}
    assert body["parallel_tool_calls"] is True
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "ns__pay", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "A cat."},
        {"role": "tool", "tool_call_id": "c2", "content": "See."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Shown by the tool call c2:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
            ],
        },
    ]
    assert dropped == ()


def test_tools_and_parallel_calls_on_responses() -> None:
    body, dropped = asked(
        RESPONSES, HELLO, CALLED, *RESULTS, tools=(LOOK, PAY), tool_choice="required", parallel_calls=False
    )
    assert [(tool["name"], tool["strict"]) for tool in body["tools"]] == [("look", True), ("ns__pay", False)]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert body["input"][1:] == [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":1}'},
        {"type": "function_call", "call_id": "c2", "name": "ns__pay", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "A cat."},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "See."},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
            ],
        },
    ]
    assert dropped == ()


@pytest.mark.parametrize(
    ("dialect", "own", "sent"),
    [
        (CHAT, seal("chat", ""), {"role": "assistant", "content": "Yes?", "reasoning_content": "Mine."}),
        (
            RESPONSES,
            seal("responses", "CIPHER"),
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "Mine."}],
                "encrypted_content": "CIPHER",
            },
        ),
    ],
)
def test_a_thought_goes_back_to_its_maker_only(dialect: Dialect, own: str, sent: Json) -> None:
    theirs = (Thought(text="Theirs.", seal=seal("messages", "SIG")), Thought(text="Nobody's."))
    turn = Message(role="assistant", parts=(*theirs, Thought(text="Mine.", seal=own), Said(text="Yes?")))
    body, dropped = asked(dialect, turn, effort="high")
    assert (body.get("messages") or body["input"])[0] == sent
    assert "Theirs." not in str(body)
    assert dropped == ("reasoning",)
    assert body.get("reasoning_effort", body.get("reasoning")) in ("high", {"effort": "high"})


def test_the_signature_of_a_call_goes_back_to_its_maker_only() -> None:
    calls = (Call(id="1", name="look", arguments="{}", seal=seal("chat", "S")),)
    foreign = (Call(id="2", name="look", arguments="{}", seal=seal("gemini", "S")),)
    body, dropped = asked(CHAT, Message(role="assistant", parts=(*calls, *foreign)))
    extras = [call.get("extra_content") for call in body["messages"][0]["tool_calls"]]
    assert extras == [{"google": {"thought_signature": "S"}}, None]
    assert dropped == ("signature",)
    assert asked(RESPONSES, Message(role="assistant", parts=calls))[1] == ("signature",)


def test_pictures_on_both() -> None:
    shown = Message(role="user", parts=(Said(text="What?"), PICTURE, ADDRESS))
    assert asked(CHAT, shown)[0]["messages"][0]["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}},
    ]
    assert asked(RESPONSES, shown)[0]["input"][0]["content"] == [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
        {"type": "input_image", "image_url": "https://pictures.test/a.png", "detail": "auto"},
    ]


def test_structured_output_on_both() -> None:
    assert asked(CHAT, format=FORMAT)[0]["response_format"] == FORMAT
    assert asked(RESPONSES, format=FORMAT)[0]["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    }
    assert asked(RESPONSES, format={"type": "json_object"})[0]["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    "marked",
    [
        {"messages": (Message(role="user", parts=(Said(text="Hello.", cached=MARK),)),)},
        {"messages": (Message(role="tool", parts=(Result(call_id="c", cached=MARK),)),)},
        {"messages": (Message(role="tool", parts=(Result(call_id="c", parts=(Said(text="x", cached=MARK),)),)),)},
        {"messages": (HELLO,), "tools": (Tool(name="look", own="look", cached=MARK),)},
    ],
)
def test_a_cache_marker_is_a_recorded_drop(dialect: Dialect, marked: Any) -> None:
    assert dialect.asked
    body, dropped = dialect.asked(Request(alias="a", **marked), "m", 1)
    assert dropped == ("cache_control",)
    assert "ephemeral" not in str(body)


def test_what_the_wire_dropped_stays_on_the_record() -> None:
    assert asked(CHAT, dropped=("user",), thinking=1024)[1] == ("thinking", "user")


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
@pytest.mark.parametrize("fields", [{"choices": 2}, {"hosted": ("web_search",)}])
def test_what_no_translation_carries_is_refused(dialect: Dialect, fields: Any) -> None:
    with pytest.raises(Invalid, match=r"choice|web_search"):
        asked(dialect, **fields)


def test_an_embedding_is_never_translated() -> None:
    with pytest.raises(Invalid):
        asked(EMBEDDINGS)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, EMBEDDINGS])
def test_a_provider_gets_its_key_and_nothing_of_the_clients(dialect: Dialect) -> None:
    request = Request(alias="a", messages=(), stream=True)
    assert dialect.headers("sk-1", request) == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "authorization": "Bearer sk-1",
    }
    assert "authorization" not in dialect.headers(None, request)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"error":{"message":"No such model","type":"x"}}', "No such model"),
        (b'{"error":"busy"}', "busy"),
        (b'{"detail":[{"loc":["body"],"msg":"field required"}]}', "field required"),
        (b'{"object":"error","message":"too long"}', "too long"),
        (b'[{"error":{"code":400,"message":"from Google"}}]', "from Google"),
        (
            b'{"error":{"message":"Incorrect API key provided: sk-proj-abc*def. Go."}}',
            "Incorrect API key provided: … Go.",
        ),
        (b'{"error":{"message":"a\\u0000b\\n\\u001b[31mc"}}', "a b  [31mc"),
        (b"<html>Bad gateway</html>", "It gave no reason."),
        (b"", "It gave no reason."),
        (b'{"error":{}}', "It gave no reason."),
    ],
)
def test_a_refusal_is_the_providers_sentence(body: bytes, sentence: str) -> None:
    assert told(CHAT.refused(body), None) == sentence
    assert len(told(CHAT.refused(b'{"error":"' + b"x" * 9000 + b'"}'), None)) == 500


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-a_b*c.d",
        "sk-ant-api03-x",
        "sk-or-v1-0",
        "xai-Ab1",
        "gsk_Ab1",
        "pplx-Ab1",
        "hf_Ab1",
        "key-1",
        "AIzaSyA1234567890123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer a.b~c",
    ],
)
def test_a_refusal_repeats_no_key(key: str) -> None:
    said = told(CHAT.refused(json.dumps({"error": {"message": f"The key ({key}) is not one."}}).encode()), None)
    assert said.startswith("The key (") and said.endswith(" is not one.")
    assert key.removeprefix("Bearer ") not in said
