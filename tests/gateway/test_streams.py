"""Streams that do not go as they should: silence, departures, revocations, cuts, two wires alike."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from control.identity import sessions
from tests.gateway.plane import PRICES, Plane, open_plane, script

SLOW_MS = 60_000
ASK: Any = [{"role": "user", "content": "Go."}]
WORDS = "one two three four five six seven eight nine ten"
USAGE = {"input": 7, "output": 10}


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    models: dict[str, Any] = {
        "silent": {"script": script(tmp_path, {"say": WORDS, "delay_ms": SLOW_MS})},
        "stalls": {"script": script(tmp_path, {"say": WORDS, "delay_ms": SLOW_MS}), "stream_idle_s": 0.2},
        "paced": {"script": script(tmp_path, {"say": WORDS, "usage": USAGE}, pace_ms=30)},
        "cut": {"script": script(tmp_path, {"say": WORDS, "cut": True})},
    }
    wanted = {alias: {"provider": "scripted", **PRICES, **entry} for alias, entry in models.items()}
    async with open_plane(tmp_path, wanted, patience_s=0.05, keepalive_s=0.05, drain_s=5) as plane:
        yield plane


def body(model: str, wire: str) -> Any:
    return {"model": model, "stream": True} | ({"messages": ASK} if wire == "chat/completions" else {"input": "Go."})


@pytest.mark.parametrize("wire", ["chat/completions", "responses"])
async def test_a_silent_model_is_covered_with_keep_alives_after_the_headers(plane: Plane, wire: str) -> None:
    _, token = await plane.session("silent")
    async with (
        httpx.AsyncClient(verify=False, headers={"x-api-key": token}) as client,
        client.stream("POST", f"{plane.containers}/openai/v1/{wire}", json=body("silent", wire)) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        with anyio.fail_after(5):
            seen = [await anext(lines) for _ in range(12)]
    assert seen.count(": keep-alive") >= 2


@pytest.mark.parametrize("wire", ["chat/completions", "responses"])
async def test_a_revoked_session_closes_its_stream_in_the_words_of_the_wire(plane: Plane, wire: str) -> None:
    session, token = await plane.session("silent")
    async with (
        httpx.AsyncClient(verify=False, headers={"authorization": f"Bearer {token}"}) as client,
        client.stream("POST", f"{plane.containers}/openai/v1/{wire}", json=body("silent", wire)) as answer,
    ):
        await plane.db.write(lambda tx: sessions.revoke(tx, session))
        with anyio.fail_after(1):
            text = (await answer.aread()).decode()
    assert "This session has ended" in text
    assert text.rstrip().endswith("data: [DONE]") if wire == "chat/completions" else "event: response.failed" in text
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated) == (1, 1)
    (failed,) = [data for type_, data in await plane.happened(session) if type_ == "model.failed"]
    assert (failed["status"], failed["error"], failed["stage"]) == ("cut", "session_ended", "session")
    with pytest.raises(openai.AuthenticationError):
        await plane.client(token).chat.completions.create(model="silent", messages=ASK)


async def test_a_client_that_leaves_is_billed_for_the_whole_answer_exactly(plane: Plane) -> None:
    session, token = await plane.session("paced")
    stream = await plane.client(token).chat.completions.create(model="paced", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated, spend.input, spend.output) == (1, 0, 7, 10)


async def test_a_client_that_leaves_before_a_whole_answer_is_billed_as_well(plane: Plane) -> None:
    session, token = await plane.session("paced")
    with pytest.raises(openai.APITimeoutError):
        await plane.client(token).chat.completions.create(model="paced", messages=ASK, timeout=0.15)
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated, spend.output) == (1, 0, 10)


async def test_a_cut_stream_ends_in_an_error_that_the_sdk_raises(plane: Plane) -> None:
    session, token = await plane.session("cut")
    stream = await plane.client(token).chat.completions.create(model="cut", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="cuts this turn"):
        async for _ in stream:
            pass
    assert (await plane.spend(session)).estimated == 1


async def test_an_upstream_that_stalls_is_given_up(plane: Plane) -> None:
    session, token = await plane.session("stalls")
    with pytest.raises(openai.InternalServerError, match="went silent") as caught:
        await plane.client(token).chat.completions.create(model="stalls", messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_stalled")
    assert (await plane.spend(session)).estimated == 1


async def test_racing_clients_never_spend_more_than_the_budget(plane: Plane) -> None:
    limit = 2_000_000
    session, token = await plane.session("paced", budget_nano=limit)
    client, outcomes = plane.client(token), []

    async def ask() -> None:
        try:
            await client.chat.completions.create(model="paced", messages=ASK, max_tokens=40)
            outcomes.append(200)
        except openai.APIStatusError as error:
            outcomes.append(error.status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(24):
            tasks.start_soon(ask)
    assert set(outcomes) == {200, 402}
    spend = await plane.spend(session, calls=outcomes.count(200))
    assert spend.cost_nano <= limit
    standing = await plane.standing(session)
    assert (standing.spent_nano, standing.held_nano) == (spend.cost_nano, 0)


async def test_what_a_call_did_not_use_is_free_for_the_next_one(plane: Plane) -> None:
    """The estimate of each call fills most of the budget: one after the other they all go through."""
    session, token = await plane.session("paced", budget_nano=1_200_000)
    for _ in range(3):
        await plane.client(token).chat.completions.create(model="paced", messages=ASK, max_tokens=60)
    assert (await plane.spend(session, calls=3)).calls == 3
