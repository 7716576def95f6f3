"""A provider that repeats our key, however it looks and however it is spelled: nobody reads it."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from structlog.testing import capture_logs

from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import CUT, Step
from tests.gateway.plane import PRICES, open_plane

KEY = "of/no+known#shape.sk-at-all"
SPELLED: Mapping[str, str] = {
    "plain": KEY,
    "json": "".join(f"\\u{ord(character):04x}" for character in KEY),
    "percent": quote(KEY, safe=""),
    "hexadecimal": KEY.encode().hex(),
    "base64": b64encode(f"user:{KEY}".encode()).decode(),
}
ASK: Mapping[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": "Go."}]}),
    "responses": ("/openai/v1/responses", {"input": "Go."}),
    "messages": ("/anthropic/v1/messages", {"messages": [{"role": "user", "content": "Go."}], "max_tokens": 9}),
}
SPEAK: Mapping[str, dict[str, Any]] = {
    "chat": {"provider": "openai", "dialects": ["chat"]},
    "responses": {"provider": "openai", "dialects": ["responses"]},
    "messages": {"provider": "anthropic"},
    "gemini": {"provider": "gemini"},
    "litellm": {"provider": "openai", "dialects": []},
}
TALKS = [("chat", "chat"), ("responses", "responses"), ("messages", "messages"), ("chat", "gemini")]


def refused(how: str, spelled: str) -> list[Step]:
    """`long`: the key stands where a sentence is cut off."""
    filling = "x" * 470 if how == "long" else "No such key:"
    error = b'{"type":"error","error":{"code":"400","type":"invalid_request_error","message":"%s %s, is it?"}}' % (
        filling.encode(),
        spelled.encode(),
    )
    match how:
        case "stream":
            return raw.stream([b"event: error\ndata: %s\n\n" % error])
        case "whole":
            return raw.whole(error)
        case _:
            return [*raw.whole(error, 422 if how == "422" else 400, connection="close"), CUT]


def remains(told: str) -> list[str]:
    """What is left of the key: six characters of it, however they are spelled."""
    forms = [form for name, form in SPELLED.items() if name != "json"]
    return [form[at : at + 6] for form in forms for at in range(len(form) - 5) if form[at : at + 6] in told]


@pytest.mark.parametrize("how", ["400", "422", "long", "whole", "stream"])
async def test_a_key_that_a_provider_repeats_reaches_nobody(tmp_path: Path, how: str) -> None:
    cases = [(wire, speaks, spelled) for wire, speaks in TALKS for spelled in SPELLED.values()]
    told = await said(tmp_path, how, cases)
    assert told.count("refused the request" if how[0] in "4l" else "model failed") >= len(cases)
    assert remains(told) == []


@pytest.mark.filterwarnings("ignore:.*ReadOnly:UserWarning")  # of LiteLLM's types
@pytest.mark.parametrize("how", ["400", "long"])
async def test_litellm_tells_no_key_either(tmp_path: Path, how: str) -> None:
    told = await said(tmp_path, how, [("chat", "litellm", KEY)])
    assert "refused the request" in told
    assert remains(told) == []


async def said(folder: Path, how: str, cases: Sequence[tuple[str, str, str]]) -> str:
    """All that the client, the record and the log get to know."""
    async with raw.serve(*(refused(how, spelled) for _, _, spelled in cases)) as provider:
        entry = {"model": "m-1", "base_url": provider.url, "api_key": KEY, **PRICES, "retries": 0}
        models = {name: {**entry, **speak} for name, speak in SPEAK.items()}
        texts = []
        with capture_logs() as logged:
            async with open_plane(folder, models) as plane:
                session, token = await plane.session(*models)
                async with httpx.AsyncClient(verify=False, headers={"x-api-key": token}, timeout=60) as client:
                    for wire, speaks, _ in cases:
                        path, body = ASK[wire]
                        asked = {"model": speaks, "stream": how == "stream", **body}
                        texts.append((await client.post(plane.containers + path, json=asked)).text)
                await plane.settled()
                states = [one.last_error for one in plane.gateway.checks.standings()]
                texts.append(json.dumps([await plane.happened(session), states], ensure_ascii=False))
        return "".join((*texts, *map(str, logged)))
