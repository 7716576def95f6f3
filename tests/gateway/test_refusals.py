"""Requests that get no answer hear so in the shape their client reads."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.plane import PRICES, Plane, open_plane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    models = {"default": {"provider": "scripted", "script": "payment", **PRICES}}
    async with open_plane(tmp_path, models, max_body_bytes=2048) as plane:
        yield plane


@pytest.fixture
async def http(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=plane.containers) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/openai/v1/embeddings", ("error", "code")),
        ("/anthropic/v1/messages", ("error", "message")),
        ("/anthropic/v1/messages/count_tokens", ("error", "message")),
        ("/gemini/v1beta/models/default:generateContent", ("error", "details", 0, "reason")),
        ("/gemini/v1beta/models/default:streamGenerateContent", ("error", "details", 0, "reason")),
    ],
)
async def test_a_wire_that_is_not_built_yet_says_so_in_its_own_words(
    http: httpx.AsyncClient, path: str, where: tuple[str | int, ...]
) -> None:
    answer = await http.post(path, json={})
    said = answer.json()
    for key in where:
        said = said[key]
    assert answer.status_code == 501
    assert str(said).startswith("not_supported_yet")


async def test_gemini_and_anthropic_errors_have_their_own_shapes(http: httpx.AsyncClient) -> None:
    assert (await http.post("/anthropic/v1/messages")).json()["type"] == "error"
    assert (await http.post("/gemini/v1beta/models/x:countTokens")).json()["error"]["status"] == "UNIMPLEMENTED"
    assert (await http.head("/anthropic")).status_code == 501


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key"])
async def test_the_token_is_taken_from_any_sdks_header(plane: Plane, http: httpx.AsyncClient, header: str) -> None:
    _, token = await plane.session("default")
    value = f"Bearer {token}" if header == "authorization" else token
    answer = await http.get("/openai/v1/models", headers={header: value})
    assert [model["id"] for model in answer.json()["data"]] == ["default"]


async def test_no_token_and_a_wrong_one_are_401(http: httpx.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"}):
        answer = await http.post("/openai/v1/chat/completions", json={}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] in ("token_missing", "token_invalid")
        assert "nonsense" not in answer.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "json_invalid"),
        (b"[]", "body_invalid"),
        (b'{"model":"default","model":"other","messages":[]}', "json_duplicate_key"),
        (b'{"messages":[]}', "field_missing"),
        (b'{"model":"default","messages":[{"role":"king"}]}', "field_invalid"),
        (b'{"model":"default","messages":[],"n":3}', "not_supported_yet"),
        (b'{"model":"default","messages":[],"max_tokens":0}', "field_invalid"),
        (b'{"model":"default","messages":[],"temperature":"hot"}', "field_invalid"),
        (b'{"model":"default","messages":[],"service_tier":"priority"}', "not_supported_yet"),
        (b'{"model":"default","messages":"' + b"x" * 3000 + b'"}', "body_too_large"),
    ],
)
async def test_a_body_that_is_wrong_is_a_400_that_says_why(
    plane: Plane, http: httpx.AsyncClient, content: bytes, code: str
) -> None:
    _, token = await plane.session("default")
    answer = await http.post(
        "/openai/v1/chat/completions", content=content, headers={"authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


async def test_other_paths_and_methods_are_not_found(plane: Plane, http: httpx.AsyncClient) -> None:
    assert (await http.get("/openai/v1/chat/completions")).status_code == 404
    assert (await http.post("/openai/v1/files")).json()["error"]["code"] == "no_such_route"
