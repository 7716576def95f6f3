"""What a provider counts beside a failure is billed, attempt by attempt; what fails before a word goes on elsewhere."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import CUT, Step
from tests.gateway.plane import PRICES, Plane, open_plane

TOLD = {"input_tokens": 1000, "output_tokens": 300, "total_tokens": 1300}
TOLD_CHAT = {"prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300}
TOLD_GOOGLE = {"promptTokenCount": 1000, "candidatesTokenCount": 300, "totalTokenCount": 1300}
COST = 1000 * 2500 + 300 * 10_000
BEGUN = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "in_progress"}
FAILED = BEGUN | {"status": "failed", "error": {"code": "server_error", "message": "no"}, "usage": TOLD}
CHAT = ("/openai/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Go."}]})
RESPONSES = ("/openai/v1/responses", {"model": "m", "input": "Go."})
MESSAGES = ("/anthropic/v1/messages", CHAT[1] | {"max_tokens": 400})
GEMINI = ("/gemini/v1beta/models/m:", {"contents": [{"role": "user", "parts": [{"text": "Go."}]}]})
CHAT_FAILED = {"id": "x", "choices": [], "error": {"message": "no", "code": 502}, "usage": TOLD_CHAT}
GOOGLE_FAILED = {"error": {"message": "no", "code": 503, "status": "UNAVAILABLE"}, "usageMetadata": TOLD_GOOGLE}
MESSAGES_FAILED = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}, "usage": TOLD}
CREATED = {"type": "response.created", "sequence_number": 0, "response": BEGUN}
ENDED = {"type": "response.failed", "sequence_number": 1, "response": FAILED}
STARTED = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [],
        "usage": {"input_tokens": 1000, "output_tokens": 1},
    },
}


def events(*said: dict[str, Any]) -> list[Step]:
    return raw.stream(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in said)


def bare(*said: dict[str, Any]) -> list[Step]:
    return raw.stream(b"data: %s\n\n" % json.dumps(one).encode() for one in said)


def entry(url: str, dialect: str, **more: Any) -> dict[str, Any]:
    return {"model": "up", "base_url": f"{url}/v1", "dialects": [dialect], "api_key": "sk-up", **PRICES, **more}


async def ask(plane: Plane, token: str, path: str, body: dict[str, Any], *, stream: bool) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    if path.startswith("/gemini"):
        path += "streamGenerateContent?alt=sse" if stream else "generateContent"
    elif stream:
        body = body | {"stream": True}
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers, timeout=30) as client:
        return await client.post(path, json=body)


def said(dialect: str, *, stream: bool) -> list[Step]:
    """A failure that tells its usage."""
    if not stream:
        failure = {"chat": CHAT_FAILED, "responses": FAILED, "messages": MESSAGES_FAILED, "gemini": GOOGLE_FAILED}
        return raw.whole(json.dumps(failure[dialect]).encode())
    if dialect == "responses":
        return events(CREATED, ENDED)
    if dialect == "messages":
        return events(STARTED, MESSAGES_FAILED)
    return bare(CHAT_FAILED if dialect == "chat" else GOOGLE_FAILED)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini"])
@pytest.mark.parametrize("wire", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=["chat", "responses", "messages", "gemini"])
async def test_every_failed_attempt_is_billed_what_its_provider_counted(
    tmp_path: Path, wire: tuple[str, dict[str, Any]], dialect: str, stream: bool
) -> None:
    async with (
        raw.serve(said(dialect, stream=stream)) as provider,
        open_plane(tmp_path, {"m": {"retries": 1, "upstreams": [entry(provider.url, dialect)]}}) as plane,
    ):
        session, token = await plane.session("m")
        answer = await ask(plane, token, *wire, stream=stream)
        assert answer.status_code >= 400 or "error" in answer.text
        spend = await plane.spend(session, calls=2)
        assert (spend.calls, spend.cost_nano, spend.estimated) == (2, 2 * COST, 0)
        assert (spend.input, spend.output) == (2000, 600)


@pytest.mark.parametrize(
    ("wire", "dialect", "opening"),
    [
        (MESSAGES, "messages", events(STARTED, MESSAGES_FAILED | {"usage": None})),
        (RESPONSES, "responses", events(CREATED, ENDED)),
        (RESPONSES, "responses", [*events(CREATED)[:-1], CUT]),
    ],
)
async def test_an_answer_that_only_began_goes_on_elsewhere(
    tmp_path: Path, wire: tuple[str, dict[str, Any]], dialect: str, opening: list[Step]
) -> None:
    good = raw.stream([raw.word("Hi"), *raw.ending()])
    async with raw.serve(opening) as bad, raw.serve(good) as well:
        upstreams = [entry(bad.url, dialect), entry(well.url, "chat", order=1)]
        async with open_plane(tmp_path, {"m": {"upstreams": upstreams}}) as plane:
            session, token = await plane.session("m")
            answer = await ask(plane, token, *wire, stream=True)
            assert "Hi" in answer.text
            assert "_1" not in answer.text.partition("Hi")[0], "the opening of the one that failed was passed on"
            assert (await plane.spend(session, calls=2)).calls == 2


async def test_an_answer_that_only_began_and_failed_for_good_ends_as_its_wire_does(tmp_path: Path) -> None:
    slow = events(CREATED, ENDED)
    slow.insert(2, 0.4)
    async with (
        raw.serve(slow) as provider,
        open_plane(
            tmp_path, {"m": {"retries": 0, "upstreams": [entry(provider.url, "responses")]}}, patience_s=0.05
        ) as plane,
    ):
        _, token = await plane.session("m")
        answer = await ask(plane, token, *RESPONSES, stream=True)
        assert answer.status_code == 200
        told = [line for line in answer.text.splitlines() if line.startswith("event: ")]
        assert told == ["event: response.created", "event: response.failed"]


async def test_an_opening_does_not_wait_long_for_its_first_word(tmp_path: Path) -> None:
    """A model that thinks in silence is shown to have begun."""
    begun = False
    play = events(CREATED)
    async with (
        raw.serve([*play[:2], 60.0]) as provider,
        open_plane(tmp_path, {"m": entry(provider.url, "responses")}) as plane,
    ):
        _, token = await plane.session("m")
        headers = {"authorization": f"Bearer {token}"}
        async with (
            httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers) as client,
            client.stream("POST", RESPONSES[0], json=RESPONSES[1] | {"stream": True}) as answer,
        ):
            with anyio.fail_after(5):
                async for line in answer.aiter_lines():
                    if line == "event: response.created":
                        begun = True
                        break
        assert begun
