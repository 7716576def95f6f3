"""Requests across dialects: what a client of one wire asks as a provider of another hears it, and answers back again.

Anthropic's and Gemini's requests are LiteLLM's work, here without a network: a hook in the interpreter would tell.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.chat import CHAT as CHAT_WIRE
from gateway.wires.messages_face import MESSAGES as MESSAGES_WIRE
from gateway.wires.neutral import (
    HERE,
    Call,
    Image,
    Json,
    Message,
    Request,
    Result,
    Said,
    Tool,
)
from gateway.wires.responses_face import RESPONSES as RESPONSES_WIRE
from kit.errors import Invalid

CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-2.5-flash"
PNG = "iVBORw0KGgo="
SCHEMA: Json = {
    "type": "object",
    "properties": {"a": {"type": "number"}},
    "required": ["a"],
    "additionalProperties": False,
}
MARK = {"type": "ephemeral", "ttl": "1h"}
WORDS = {wire.name: wire for wire in (CHAT_WIRE, RESPONSES_WIRE, MESSAGES_WIRE)}
_reached: list[str] = []


def _look(event: str, arguments: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        _reached.append(event)


sys.addaudithook(_look)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Nothing that is translated here reaches out."""
    before = len(_reached)
    yield
    assert _reached[before:] == []


def _only_user() -> tuple[Message, ...]:
    return (Message(role="user", parts=(Said(text="look"),)),)


def _called(arguments: str = '{"a":1}') -> tuple[Message, ...]:
    """A user's turn and a call."""
    return *_only_user(), Message(role="assistant", parts=(Call(id="c1", name="look", arguments=arguments),))


def read(wire: str, **fields: object) -> Request:
    """One turn of a user on a wire, and more fields."""
    talk = {"input": "look"} if wire == "responses" else {"messages": [{"role": "user", "content": "look"}]}
    return WORDS[wire].parse({"model": "default", **talk, **fields}, HERE)


CHAT_TOOLS: Json = {
    "tools": [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA}}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
}
RESPONSES_TOOLS: Json = {
    "tools": [{"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA}],
    "tool_choice": "required",
    "parallel_tool_calls": False,
}
MESSAGES_TOOLS: Json = {
    "tools": [{"name": "look", "description": "Look.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
}


@pytest.mark.parametrize(("wire", "tools"), [("chat", CHAT_TOOLS), ("responses", RESPONSES_TOOLS)])
async def test_tools_reach_anthropic(wire: str, tools: Json) -> None:
    body, dropped = await transformed("messages", read(wire, **tools, stream=True, temperature=0.5), CLAUDE, 900)
    assert body == {
        "model": CLAUDE,
        "max_tokens": 900,
        "stream": True,
        "temperature": 0.5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "look"}]}],
        "tools": [{"name": "look", "description": "Look.", "input_schema": SCHEMA, "type": "custom"}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    assert dropped == ()


async def test_tools_of_messages_reach_gemini() -> None:
    body, dropped = await transformed("gemini", read("messages", **MESSAGES_TOOLS), GEMINI, 900)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "look"}]}]
    (offered,) = body["tools"][0]["function_declarations"]
    assert (offered["name"], offered["description"], offered["parametersJsonSchema"]) == ("look", "Look.", SCHEMA)
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert body["generationConfig"] == {"max_output_tokens": 900}
    assert dropped == ("parallel_tool_calls",)


def test_tools_of_messages_reach_chat_and_responses() -> None:
    request = read("messages", **MESSAGES_TOOLS)
    for dialect, tools in ((CHAT, CHAT_TOOLS), (RESPONSES, RESPONSES_TOOLS)):
        assert dialect.asked
        body, _ = dialect.asked(request, "model", 900)
        (offered,) = body["tools"]
        named = offered.get("function", offered)
        assert (named["name"], named["parameters"]) == ("look", SCHEMA)
        assert (body["tool_choice"], body["parallel_tool_calls"]) == (tools["tool_choice"], False)


FORMAT = {"name": "answer", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        ("chat", {"response_format": {"type": "json_schema", "json_schema": FORMAT}}),
        ("responses", {"text": {"format": {"type": "json_schema", **FORMAT}}}),
        ("messages", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ],
)
async def test_structured_output_reaches_all(wire: str, fields: Json) -> None:
    request = read(wire, **fields)
    anthropic, _ = await transformed("messages", request, CLAUDE, 900)
    assert anthropic["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "tools" not in anthropic
    gemini, _ = await transformed("gemini", request, GEMINI, 900)
    assert gemini["generationConfig"]["response_mime_type"] == "application/json"
    assert gemini["generationConfig"]["response_json_schema"]["required"] == ["a"]
    assert CHAT.asked and RESPONSES.asked
    assert CHAT.asked(request, "model", 900)[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert RESPONSES.asked(request, "model", 900)[0]["text"]["format"]["schema"] == SCHEMA


async def test_json_without_a_schema_is_told_as_dropped() -> None:
    _, dropped = await transformed("messages", read("chat", response_format={"type": "json_object"}), CLAUDE, 900)
    assert dropped == ("response_format",)


URL = f"data:image/png;base64,{PNG}"
CHAT_PICTURE = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": URL}}]
RESPONSES_PICTURE = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": URL}]
SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}
MESSAGES_PICTURE = [{"type": "text", "text": "see"}, {"type": "image", "source": SOURCE}]


@pytest.mark.parametrize(
    "request_",
    [
        read("chat", messages=[{"role": "user", "content": CHAT_PICTURE}]),
        read("responses", input=[{"role": "user", "content": RESPONSES_PICTURE}]),
        read("messages", messages=[{"role": "user", "content": MESSAGES_PICTURE}]),
    ],
    ids=WORDS,
)
async def test_pictures_reach_all(request_: Request) -> None:
    anthropic, _ = await transformed("messages", request_, CLAUDE, 900)
    assert anthropic["messages"][0]["content"] == MESSAGES_PICTURE
    gemini, _ = await transformed("gemini", request_, GEMINI, 900)
    assert gemini["contents"][0]["parts"][1] == {"inline_data": {"mime_type": "image/png", "data": PNG}}
    assert CHAT.asked
    assert CHAT.asked(request_, "model", 900)[0]["messages"][0]["content"][1]["image_url"]["url"].endswith(PNG)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://127.0.0.1:1/a.png", "gs://bucket/a.png"])
@pytest.mark.parametrize("dialect", ["messages", "gemini"])
async def test_no_address_of_a_picture_is_followed(dialect: str, url: str) -> None:
    """Anthropic follows https itself; any other would have to be fetched here."""
    for parts in ((Image(url=url),), (Result(call_id="c1", parts=(Image(url=url),)),)):
        role: Any = "user" if isinstance(parts[0], Image) else "tool"
        asked = Request(alias="default", messages=(*_called(), Message(role=role, parts=parts)))
        if dialect == "messages" and url.startswith("https://"):
            body, _ = await transformed(dialect, asked, CLAUDE, 900)
            assert {"type": "image", "source": {"type": "url", "url": url}} in _all_blocks(body)
        else:
            with pytest.raises(Invalid, match="address"):
                await transformed(dialect, asked, CLAUDE if dialect == "messages" else GEMINI, 900)


async def test_cache_markers_reach_anthropic_and_are_told_to_be_lost_on_gemini() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "Be quick.", "cache_control": MARK}]}
    user = {"role": "user", "content": [{"type": "text", "text": "look", "cache_control": MARK}]}
    request = read("chat", messages=[system, user])
    body, dropped = await transformed("messages", request, CLAUDE, 900)
    assert body["system"] == [{"type": "text", "text": "Be quick.", "cache_control": MARK}]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "look", "cache_control": MARK}]
    assert dropped == ()
    body, dropped = await transformed("gemini", request, GEMINI, 900)
    assert "cache_control" not in json.dumps(body)
    assert dropped == ("cache_control",)
    marked = read("messages", tools=[{"name": "look", "input_schema": SCHEMA, "cache_control": MARK}])
    assert (await transformed("messages", marked, CLAUDE, 900))[0]["tools"][0]["cache_control"] == MARK


async def test_a_failed_result_is_told_as_failed() -> None:
    parts = (Result(call_id="c1", parts=(Said(text="gone"),), failed=True),)
    asked = Request(alias="default", messages=(*_called(), Message(role="tool", parts=parts)))
    body, _ = await transformed("messages", asked, CLAUDE, 900)
    assert _all_blocks(body)[-1] == {"type": "tool_result", "tool_use_id": "c1", "content": "gone", "is_error": True}
    body, _ = await transformed("gemini", asked, GEMINI, 900)
    assert body["contents"][-1]["parts"][0]["function_response"]["response"] == {"error": "gone"}


async def test_thinking_stays_below_the_bound_and_what_it_excludes_goes() -> None:
    request = read("chat", reasoning_effort="high", temperature=0.2)
    body, dropped = await transformed("messages", request, CLAUDE, 3_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2_999}
    assert ("temperature" in body, dropped) == (False, ("temperature",))
    body, dropped = await transformed("messages", request, CLAUDE, 900)
    assert ("thinking" in body, body["temperature"], dropped) == (False, 0.2, ("thinking",))
    forced = read("chat", **CHAT_TOOLS, reasoning_effort="high")
    assert "thinking" in (await transformed("messages", forced, CLAUDE, 20_000))[1]


@pytest.mark.parametrize(
    ("bound", "effort", "budget"),
    [(50, "low", None), (1_024, "low", None), (1_500, "high", 1_499), (20_000, "low", 1024)],
)
async def test_thinking_stays_below_the_bound_at_google_too(bound: int, effort: str, budget: int | None) -> None:
    body, dropped = await transformed("gemini", read("chat", reasoning_effort=effort), GEMINI, bound)
    config = body["generationConfig"]
    assert config["max_output_tokens"] == bound
    assert config.get("thinkingConfig", {}).get("thinkingBudget") == budget
    assert dropped == (() if budget else ("reasoning_effort",))


async def test_a_turn_whose_thoughts_are_gone_is_not_thought_on() -> None:
    """Anthropic refuses such a request; the chat wire has no place for signatures of thoughts."""
    result = Message(role="tool", parts=(Result(call_id="c1", parts=(Said(text="seen"),)),))
    asked = Request(alias="default", messages=(*_called(), result), effort="high")
    body, dropped = await transformed("messages", asked, CLAUDE, 20_000)
    assert ("thinking" in body, dropped) == (False, ("thinking",))


async def test_what_has_no_place_is_told() -> None:
    _, dropped = await transformed("messages", read("chat", seed=3, presence_penalty=0.5, user="u"), CLAUDE, 900)
    assert dropped == ("presence_penalty", "seed", "user")
    _, dropped = await transformed("messages", Request(alias="a", messages=_called("{broken")), CLAUDE, 900)
    assert dropped == ("malformed arguments",)


@pytest.mark.parametrize(
    "asked",
    [
        Request(alias="a", messages=_only_user(), hosted=("web_search",)),
        Request(alias="a", messages=_only_user(), choices=2),
        Request(alias="a", messages=(Message(role="user", parts=(Image(media_type="text/html", data="a"),)),)),
    ],
    ids=["a tool of the provider", "more than one answer", "a picture that is none"],
)
@pytest.mark.parametrize("dialect", ["messages", "gemini"])
async def test_what_would_change_the_question_is_refused(dialect: str, asked: Request) -> None:
    with pytest.raises(Invalid):
        await transformed(dialect, asked, CLAUDE if dialect == "messages" else GEMINI, 900)


async def test_a_history_that_makes_no_sense_is_refused_without_quoting_it() -> None:
    lonely = Request(alias="a", messages=(Message(role="tool", parts=(Result(call_id="secret-id"),)),))
    with pytest.raises(Invalid) as refused:
        await transformed("gemini", lonely, GEMINI, 900)
    assert "secret-id" not in refused.value.message
    odd = Request(alias="a", messages=_only_user(), tools=(Tool(name="a/b", own="a/b"),))
    with pytest.raises(Invalid):
        await transformed("messages", odd, CLAUDE, 900)


async def test_models_that_nobody_knows_are_asked_like_the_others() -> None:
    request = read("chat", messages=[{"role": "system", "content": "Be quick."}, {"role": "user", "content": "look"}])
    body, _ = await transformed("gemini", request, "gemini-of-tomorrow", 900)
    assert body["system_instruction"] == {"parts": [{"text": "Be quick."}]}
    body, _ = await transformed("messages", request, "claude-of-tomorrow", 900)
    assert body["system"] == [{"type": "text", "text": "Be quick."}]


def _all_blocks(body: Json) -> list[Json]:
    found = []
    for message in body["messages"]:
        for block in message["content"]:
            found.append(block)
            found += block["content"] if isinstance(block.get("content"), list) else []
    return found
