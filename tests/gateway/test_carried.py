"""What a provider can't be told of a request is a clear error or a recorded drop, never silence: field by field."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.wires.chat import CHAT as CHAT_WIRE
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.messages_face import MESSAGES as MESSAGES_WIRE
from gateway.wires.neutral import Address, Json, Request, Wire
from gateway.wires.responses_face import RESPONSES as RESPONSES_WIRE
from kit.errors import Invalid
from tests.fakes import raw_provider as raw
from tests.gateway import specimens_chat, specimens_gemini, specimens_messages, specimens_responses
from tests.gateway import specimens_schemas as written
from tests.gateway.carrying import MODELS, let_in, lost, parsed, untold, vocabulary
from tests.gateway.plane import open_plane

SPECIMENS: Mapping[str, tuple[Wire, Mapping[str, Json]]] = {
    "chat": (CHAT_WIRE, specimens_chat.CHAT),
    "responses": (RESPONSES_WIRE, specimens_responses.RESPONSES),
    "messages": (MESSAGES_WIRE, specimens_messages.MESSAGES),
    "gemini": (GEMINI_WIRE, specimens_gemini.GEMINI),
}
WIRES = {name: wire for name, (wire, _) in SPECIMENS.items()}


@pytest.mark.parametrize("wire", SPECIMENS)
def test_every_field_that_a_wire_lets_in_is_looked_at_here(wire: str) -> None:
    assert untold(*SPECIMENS[wire]) == {}


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("wire", SPECIMENS)
async def test_no_field_is_lost_in_silence(wire: str, dialect: str) -> None:
    spoken, specimens = SPECIMENS[wire]
    found = {name: gone for name, body in specimens.items() if (gone := await lost(spoken, dialect, body))}
    assert found == {}


@pytest.mark.parametrize("wire", SPECIMENS)
def test_what_a_specimen_says_is_let_in_or_refused_for_what_it_is(wire: str) -> None:
    """A specimen that no wire reads would prove nothing."""
    spoken, specimens = SPECIMENS[wire]
    stored = {name for name, body in specimens.items() if not _readable(spoken, body)}
    assert (
        stored
        == {
            "chat": set(),
            "responses": {"stored", "stored conversation", "background", "prompt"},
            "messages": set(),
            "gemini": {"stored", "files", "file by its address"},
        }[wire]
    )


def _readable(wire: Wire, body: Json) -> bool:
    try:
        parsed(wire, body)
    except Invalid as refused:
        return refused.code != "not_supported_yet"
    return True


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("schema", [*written.ALL, "openapi"])
@pytest.mark.parametrize("wire", SPECIMENS)
async def test_no_part_of_a_schema_is_lost_in_silence(wire: str, schema: str, dialect: str) -> None:
    found = {
        place: gone
        for place, body in _schemed(wire, schema).items()
        if (gone := await lost(WIRES[wire], dialect, body))
    }
    assert found == {}


def _schemed(wire: str, name: str) -> dict[str, Json]:
    """Requests of a wire with a schema, for a tool and for the answer."""
    schema = written.OPENAPI if name == "openapi" else written.ALL[name]
    kind = "" if name == "openapi" else "JsonSchema"
    talk = {"messages": [{"role": "user", "content": "look"}]}
    named: Json = {"name": "a", "schema": schema}
    flat, function = {"type": "json_schema", **named}, {"name": "pay", "parameters": schema}
    ways: dict[str, tuple[Json, Json, Json]] = {
        "chat": (
            talk,
            {"type": "function", "function": function},
            {"response_format": {"type": "json_schema", "json_schema": named}},
        ),
        "responses": ({"input": "look"}, {"type": "function", **function}, {"text": {"format": flat}}),
        "messages": (talk, {"name": "pay", "input_schema": schema}, {"output_config": {"format": flat}}),
        "gemini": (
            {"contents": [{"role": "user", "parts": [{"text": "look"}]}]},
            {"functionDeclarations": [{"name": "pay", f"parameters{kind}": schema}]},
            {"generationConfig": {"responseMimeType": "application/json", f"response{kind or 'Schema'}": schema}},
        ),
    }
    say, tool, answer = ways[wire]
    bare: Json = {} if wire == "gemini" else {"model": "default"}
    return {"tool": {**bare, **say, "tools": [tool]}, "answer": {**bare, **say, **answer}}


async def test_the_search_for_silence_finds_it() -> None:
    """A field that is let in and forgotten is found, by both tests above."""
    names, body = vocabulary(), {"model": "default", "messages": [{"role": "user", "content": "look", "name": "anna"}]}
    assert {"name", "cache_control"} <= let_in(
        CHAT_WIRE, {"messages": [{"role": "user", "content": "a"}]}, ("messages", 0), names
    )
    assert "cache_control" in untold(CHAT_WIRE, {"named": body})["messages=user"]
    forgetful = Wire(name="chat", parse=_forgetting, face=CHAT_WIRE.face, refusal=CHAT_WIRE.refusal)
    assert await lost(forgetful, "messages", body) == ["messages.0.name"]


def _forgetting(body: Json, address: Address) -> Request:
    return replace(CHAT_WIRE.parse(body, address), dropped=())


async def test_a_tool_that_failed_is_no_success_at_any_provider() -> None:
    request = parsed(MESSAGES_WIRE, specimens_messages.MESSAGES["failed"])
    assert CHAT.asked and RESPONSES.asked
    chat, dropped = CHAT.asked(request, "m", 9)
    assert (chat["messages"][-1]["content"], dropped) == ("Error: it is paid", ())
    responses, dropped = RESPONSES.asked(request, "m", 9)
    assert (responses["input"][-1]["output"], dropped) == ("Error: it is paid", ())
    wordless = parsed(MESSAGES_WIRE, specimens_messages.MESSAGES["failed without a word"])
    assert CHAT.asked(wordless, "m", 9)[0]["messages"][-1]["content"] == "Error"
    shown = parsed(MESSAGES_WIRE, specimens_messages.MESSAGES["failed with a picture"])
    assert RESPONSES.asked(shown, "m", 9)[0]["input"][-1]["output"][0] == {"type": "input_text", "text": "Error:"}


@pytest.mark.parametrize("dialect", ["messages", "gemini"])
async def test_what_is_said_of_an_answers_form_stands_in_its_schema(dialect: str) -> None:
    request = parsed(CHAT_WIRE, specimens_chat.CHAT["strict format"])
    body, dropped = await transformed(dialect, request, MODELS[dialect], 900)
    assert '"description": "A bill."' in json.dumps(body)
    assert dropped == (("response_format.name",) if dialect == "messages" else ("response_format.name", "strict"))
    assert request.format and "description" not in request.format["json_schema"]["schema"]


async def test_the_record_names_what_a_provider_was_not_told(tmp_path: Path) -> None:
    asked = {
        "max_tokens": 50,
        "thinking": {"type": "adaptive"},
        "tools": [{"name": "pay", "input_schema": specimens_messages.SCHEMA, "input_examples": [{"amount": 1}]}],
        "messages": specimens_messages.MESSAGES["failed"]["messages"],
    }
    async with raw.serve(raw.whole(raw.completion())) as provider:
        alias = {"model": "up", "base_url": provider.url, "api_key": "k", "dialects": ["chat"]}
        async with open_plane(tmp_path, {"m": alias}) as plane, httpx.AsyncClient(verify=False) as client:
            session, token = await plane.session("m")
            answer = await client.post(
                f"{plane.containers}/anthropic/v1/messages", json={"model": "m", **asked}, headers={"x-api-key": token}
            )
            assert answer.status_code == 200, answer.text
            await plane.settled()
            dropped = [data["dropped"] for type_, data in await plane.happened(session) if type_ == "model.requested"]
            assert dropped == [["thinking", "tools.input_examples"]]
            assert provider.requests[0]["messages"][-1]["content"] == "Error: it is paid"
