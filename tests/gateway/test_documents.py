"""PDFs from every wire to every dialect: the same bytes arrive, never by an address."""

import json
from typing import Any

import pytest

from gateway.bounds import read_bound, unbounded
from gateway.dialects.chat import CHAT
from gateway.dialects.responses import RESPONSES
from gateway.provider import transformed
from gateway.settings import Upstream
from gateway.upstream import Target
from gateway.wires.chat import CHAT as CHAT_WIRE
from gateway.wires.documents import Document
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.messages_face import MESSAGES as MESSAGES_WIRE
from gateway.wires.neutral import Address, Json, Request, Said
from gateway.wires.responses_face import RESPONSES as RESPONSES_WIRE
from kit.errors import Invalid
from tests.gateway.test_translation import CLAUDE, GEMINI

PDF = "JVBERi0xLjQKJSVFT0YK"
URL = f"data:application/pdf;base64,{PDF}"
HERE = Address(alias="default")
WORDS = {wire.name: wire for wire in (CHAT_WIRE, RESPONSES_WIRE, MESSAGES_WIRE, GEMINI_WIRE)}
SENT: dict[str, Json] = {
    "chat": {"type": "file", "file": {"filename": "bill.pdf", "file_data": URL}},
    "responses": {"type": "input_file", "filename": "bill.pdf", "file_data": URL},
    "messages": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "bill.pdf",
    },
    "gemini": {"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "bill.pdf"}},
}
TEXTS: dict[str, Json] = {
    "chat": {"type": "text", "text": "Pay it."},
    "responses": {"type": "input_text", "text": "Pay it."},
    "messages": {"type": "text", "text": "Pay it."},
    "gemini": {"text": "Pay it."},
}
DOCUMENT = Document(data=PDF, name="bill.pdf")


def _asked(wire: str, part: Json) -> Request:
    parts = [part, TEXTS[wire]]
    bodies: dict[str, Json] = {
        "chat": {"model": "default", "messages": [{"role": "user", "content": parts}]},
        "responses": {"model": "default", "input": [{"role": "user", "content": parts}]},
        "messages": {"model": "default", "max_tokens": 50, "messages": [{"role": "user", "content": parts}]},
        "gemini": {"contents": [{"role": "user", "parts": parts}]},
    }
    return WORDS[wire].parse(bodies[wire], HERE)


async def _told(dialect: str, request: Request) -> tuple[list[Json], tuple[str, ...]]:
    """The parts of the user's turn as a provider is sent them, and what is dropped."""
    if dialect in ("messages", "gemini"):
        body, dropped = await transformed(dialect, request, CLAUDE if dialect == "messages" else GEMINI, 900)
        turn = body["messages"][0]["content"] if dialect == "messages" else body["contents"][0]["parts"]
        return list(turn), dropped
    asked = {"chat": CHAT, "responses": RESPONSES}[dialect].asked
    assert asked
    body, dropped = asked(request, "m", 900)
    return list(body["messages" if dialect == "chat" else "input"][0]["content"]), dropped


def _expected(dialect: str) -> list[Json]:
    if dialect == "gemini":
        return [{"inline_data": {"data": PDF, "mime_type": "application/pdf"}}, {"text": "Pay it."}]
    return [SENT[dialect], TEXTS[dialect]]


@pytest.mark.parametrize("dialect", list(SENT))
@pytest.mark.parametrize("wire", list(SENT))
async def test_a_pdf_arrives_from_every_wire_at_every_dialect(wire: str, dialect: str) -> None:
    request = _asked(wire, SENT[wire])
    assert request.messages[-1].parts == (DOCUMENT, Said(text="Pay it."))
    assert (request.media, request.media_bytes) == (1, len(PDF))
    told, dropped = await _told(dialect, request)
    assert told == _expected(dialect)
    assert dropped == (("filename",) if dialect == "gemini" else ())


async def test_a_cache_marker_of_a_pdf_reaches_anthropic() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    told, dropped = await _told("messages", _asked("chat", SENT["chat"] | mark))
    assert told[0] == SENT["messages"] | mark
    assert dropped == ()


@pytest.mark.parametrize("dialect", ["chat", "responses", "gemini"])
async def test_what_anthropic_alone_says_of_a_document_is_told_as_dropped(dialect: str) -> None:
    extra = {"citations": {"enabled": True}, "context": "A bill.", "cache_control": {"type": "ephemeral"}}
    _, dropped = await _told(dialect, _asked("messages", SENT["messages"] | extra))
    assert {"citations", "context", "cache_control"} <= set(dropped)


@pytest.mark.parametrize("wire", list(SENT))
def test_it_passes_on_its_own_dialect_as_it_came(wire: str) -> None:
    assert json.dumps(SENT[wire]) in json.dumps(_asked(wire, SENT[wire]).body)


REFUSED: list[tuple[str, Json]] = [
    ("chat", {"type": "file", "file": {"file_id": "file_1"}}),
    ("chat", {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://evil.test/a.pdf"}}),
    ("chat", {"type": "file", "file": {"filename": "a.exe", "file_data": "data:application/x-dosexec;base64,AA=="}}),
    ("chat", {"type": "file", "file": {"file_data": URL + "<>"}}),
    ("chat", {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
    ("responses", {"type": "input_file", "file_id": "file_1"}),
    ("responses", {"type": "input_file", "file_url": "https://evil.test/a.pdf"}),
    ("responses", {"type": "input_file", "file_data": PDF}),
    ("messages", {"type": "document", "source": {"type": "url", "url": "https://evil.test/a.pdf"}}),
    ("messages", {"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    ("messages", {"type": "document", "source": SENT["messages"]["source"] | {"url": "https://evil.test"}}),
    ("messages", SENT["messages"] | {"citations": {"enabled": True, "url": "https://evil.test"}}),
    ("gemini", {"fileData": {"mimeType": "application/pdf", "fileUri": "https://evil.test/a.pdf"}}),
    ("gemini", {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}),
    ("gemini", {"inlineData": {"mimeType": "application/pdf", "data": "<>"}}),
]


@pytest.mark.parametrize(("wire", "part"), REFUSED)
def test_no_address_no_id_no_sound_and_nothing_but_a_pdf(wire: str, part: Json) -> None:
    with pytest.raises(Invalid) as caught:
        _asked(wire, part)
    assert caught.value.code in ("not_supported_yet", "field_not_allowed", "field_invalid", "field_missing")


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_only_a_user_shows_a_file_on_chat(role: str) -> None:
    message: Any = {"role": role, "content": [SENT["chat"]], "tool_call_id": "c1"}
    if role != "tool":
        del message["tool_call_id"]
    with pytest.raises(Invalid, match="A file in a message of the"):
        CHAT_WIRE.parse({"model": "m", "messages": [message]}, HERE)


def test_a_pdf_is_held_for_as_all_that_the_model_can_read() -> None:
    def target(**more: Any) -> Target:
        return Target(alias="m", place=0, settings=Upstream(model="gpt", **more), prices=())

    request = _asked("chat", SENT["chat"])
    assert read_bound(request, 500, target(max_input_tokens=200_000)) == 200_000
    assert unbounded("chat", request, target(max_input_tokens=200_000)) is None
    assert "max_input_tokens" in (unbounded("chat", request, target()) or "")
