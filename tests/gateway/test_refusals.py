"""Requests that get no answer hear so in the shape their client reads."""

import gzip
import json
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
    async with httpx.AsyncClient(verify=False, base_url=plane.containers) as client:
        yield client


async def test_geminis_paths_say_what_they_lack(http: httpx.AsyncClient) -> None:
    """The alias and the method stand in them, and the token never does."""
    models = "/gemini/v1beta/models/default"
    for path, status, said in (
        (f"{models}:generateContent", "UNAUTHENTICATED", "There is no token."),
        (f"{models}:streamGenerateContent", "INVALID_ARGUMENT", "alt=sse"),
        (f"{models}:batchGenerate", "NOT_FOUND", "generateContent"),
        (f"{models}:generateContent?key=abc", "UNAUTHENTICATED", "x-goog-api-key"),
    ):
        error = (await http.post(path, json={})).json()["error"]
        assert error["status"] == status
        assert said in error["message"]


async def test_each_origin_says_no_in_its_own_shape(http: httpx.AsyncClient) -> None:
    assert (await http.post("/anthropic/v1/messages", json={})).json()["type"] == "error"
    assert (await http.post("/anthropic/v1/files", json={})).json()["type"] == "error"
    assert (await http.post("/openai/v1/files", json={})).json()["error"]["code"] == "no_such_route"


async def test_claude_code_hears_that_somebody_is_here(http: httpx.AsyncClient) -> None:
    assert (await http.head("/anthropic")).status_code == 200


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
        (b'{"model":"default","messages":[],"temperature":NaN}', "json_invalid"),
        (b'{"model":"default","messages":"\xff"}', "json_invalid"),
        (b'{"model":"default","messages":"\\ud800"}', "json_invalid"),
        (b'{"model":"default","messages":' + b"[" * 70 + b"]" * 70 + b"}", "json_too_deep"),
        (b'{"model":"default","messages":' + b"[" * 900 + b"]" * 900 + b"}", "json_too_deep"),
        (b'{"messages":[]}', "field_missing"),
        (b'{"model":"default","messages":[{"role":"king"}]}', "field_invalid"),
        (b'{"model":"default","messages":[],"n":3}', "model_unsuitable"),
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


async def test_a_key_that_stands_twice_means_what_was_checked(plane: Plane, http: httpx.AsyncClient) -> None:
    _, token = await plane.session("default")
    content = b'{"model":"default","model":"other","messages":[]}'
    answer = await http.post(
        "/openai/v1/chat/completions", content=content, headers={"authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_two_equal_tokens_are_one_and_two_others_are_none(plane: Plane, http: httpx.AsyncClient) -> None:
    _, token = await plane.session("default")
    headers = {"authorization": f"Bearer {token}", "x-goog-api-key": token}
    assert (await http.get("/openai/v1/models", headers=headers)).status_code == 200
    answer = await http.get("/openai/v1/models", headers=headers | {"x-goog-api-key": "another"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "tokens_differ")


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_the_same_header_twice_is_two_tokens(plane: Plane, http: httpx.AsyncClient, header: str) -> None:
    _, token = await plane.session("default")
    tokens = {"same": (token, token), "other": ("another", token), "before": (token, "another")}
    sent = {
        name: [(header, f"Bearer {one}" if header[0] == "a" else one) for one in two] for name, two in tokens.items()
    }
    answers = {name: await http.get("/openai/v1/models", headers=headers) for name, headers in sent.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {"same": 200, "other": 401, "before": 401}
    assert answers["other"].json()["error"]["code"] == "tokens_differ"


async def test_a_token_in_the_address_is_refused(plane: Plane, http: httpx.AsyncClient) -> None:
    _, token = await plane.session("default")
    answer = await http.get(f"/openai/v1/models?key={token}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_in_address")


async def test_a_gzip_body_is_read_within_its_bound_and_no_other_packing_is(
    plane: Plane, http: httpx.AsyncClient
) -> None:
    _, token = await plane.session("default")
    headers = {"authorization": f"Bearer {token}", "content-encoding": "gzip"}
    path = "/openai/v1/chat/completions"
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Hello."}]}).encode()
    assert (await http.post(path, content=gzip.compress(body), headers=headers)).status_code == 200
    for content, code in (
        (gzip.compress(b" " * 100_000 + body), "body_too_large"),
        (gzip.compress(body)[:-9], "body_invalid"),
        (body, "body_invalid"),
    ):
        answer = await http.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    answer = await http.post(path, content=body, headers=headers | {"content-encoding": "zstd"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "encoding_not_supported")
