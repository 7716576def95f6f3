"""A hard budget against what can go past it: bodies that cost more than they weigh, answers that nobody counts, usage
that can't be read, charges beyond belief."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger import price_list
from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import CUT, Provider, Step
from tests.gateway.plane import PRICES, Plane, open_plane

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Go."}]
LISTED = dict.fromkeys(PRICES)
"""No price of one's own."""
RATES = {"input": 2_500, "output": 10_000}
"""Nano-dollars of a token, as PRICES says."""


@asynccontextmanager
async def opened(folder: Path, *play: Step, **entry: Any) -> AsyncIterator[tuple[Plane, Provider]]:
    async with raw.serve(list(play)) as provider:
        alias = {"base_url": f"{provider.url}/v1", "model": "m", "retries": 0, **PRICES, **entry}
        async with open_plane(folder, {"m": alias}) as plane:
            yield plane, provider


async def ask(plane: Plane, token: str, path: str = "/openai/v1/chat/completions", **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(
        verify=False, base_url=plane.containers, headers={"x-api-key": token}, timeout=30
    ) as client:
        return await client.post(path, json={"model": "m", "messages": ASK, **body})


def answered(usage: object, text: str = "x" * 300, **more: Any) -> list[Step]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return raw.whole(json.dumps({"id": "up-1", "choices": [choice], "usage": usage, **more}).encode())


async def test_each_of_several_choices_is_held_for(tmp_path: Path) -> None:
    async with opened(tmp_path, *answered(raw.USAGE)) as (plane, provider):
        _, token = await plane.session("m", budget_nano=350 * RATES["output"])
        refused = await ask(plane, token, max_tokens=100, n=4)
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
        assert provider.bodies == []
        assert (await ask(plane, token, max_tokens=100, n=2)).status_code == 200


async def test_a_picture_is_held_for_at_what_its_model_may_count(tmp_path: Path) -> None:
    price = price_list.read().price("openai", "gpt-4o-mini")
    assert price
    least = (2_833 + 8 * 5_667) * price.rates.input // 10**6
    address = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 50).decode()
    seen = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": address}}]
    async with opened(tmp_path, *answered(raw.USAGE), model="gpt-4o-mini", **LISTED) as (plane, provider):
        _, token = await plane.session("m", budget_nano=least)
        assert (await ask(plane, token, max_tokens=10)).status_code == 200
        refused = await ask(plane, token, max_tokens=10, messages=[{"role": "user", "content": seen}])
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
        assert len(provider.bodies) == 1


UNREADABLE: list[object] = [
    None,
    {},
    {"prompt_tokens": "1200", "completion_tokens": "80"},
    {"prompt_tokens": 1200.0, "completion_tokens": 80.0},
    {"prompt_tokens": -5, "completion_tokens": -7},
    {"prompt_tokens": None, "completion_tokens": None},
    {"prompt_tokens": "1200", "completion_tokens": "80", "total_tokens": 1280},
    [],
]


@pytest.mark.parametrize("usage", UNREADABLE)
async def test_usage_that_cannot_be_read_is_an_estimate_and_never_nothing(tmp_path: Path, usage: object) -> None:
    async with opened(tmp_path, *answered(usage)) as (plane, provider):
        session, token = await plane.session("m", budget_nano=10**9)
        assert (await ask(plane, token, max_tokens=1_000)).status_code == 200
        spend = await plane.spend(session)
        assert (spend.calls, spend.estimated, spend.output) == (1, 1, 300 // 3 + 1)
        assert 0 < spend.input <= len(provider.bodies[0])
        assert spend.cost_nano == spend.input * RATES["input"] + spend.output * RATES["output"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_nobody_counts_costs_no_more_than_was_held(tmp_path: Path, stream: bool) -> None:
    """Its JSON is long and so is its text: neither is what the model was allowed."""
    noise = {"logprobs": [{"token": "x", "logprob": -0.1}] * 500}
    words = [raw.word("x" * 90) for _ in range(40)]
    play = raw.stream([*words, CUT]) if stream else answered(None, "x" * 3_600, **noise)
    async with opened(tmp_path, *play) as (plane, provider):
        session, token = await plane.session("m", budget_nano=10**9)
        await ask(plane, token, max_tokens=5, stream=stream)
        spend = await plane.spend(session)
        assert (spend.estimated, spend.output) == (1, 5)
        assert spend.cost_nano <= len(provider.bodies[0]) * RATES["input"] + 5 * RATES["output"]


@pytest.mark.parametrize("together", [False, True])
async def test_what_is_heard_of_a_cut_stream_does_not_hang_on_how_it_came(tmp_path: Path, together: bool) -> None:
    words = [raw.word("abcdefghi " * 10) for _ in range(45)]
    play = raw.stream([*([b"".join(words)] if together else words), CUT])
    async with opened(tmp_path, *play) as (plane, _):
        session, token = await plane.session("m")
        await ask(plane, token, max_tokens=10_000, stream=True)
        assert (await plane.spend(session)).output == 4_500 // 3 + 1


@pytest.mark.parametrize(("cost", "believed"), [("0", False), ("900000", False), ("0", True), ("900000", True)])
async def test_a_charge_is_the_bill_only_where_it_is_asked_for_and_can_be_true(
    tmp_path: Path, cost: str, believed: bool
) -> None:
    usage = {"prompt_tokens": 1_200, "completion_tokens": 80, "total_tokens": 1_280, "cost": int(cost)}
    listed: Any = {**LISTED, "model": "gpt-4o", "reports_cost": believed or None}
    async with opened(tmp_path, *answered(usage), **listed) as (plane, _):
        session, token = await plane.session("m", budget_nano=10**9)
        assert (await ask(plane, token, max_tokens=100)).status_code == 200
        spend = await plane.spend(session)
        assert spend.cost_nano == (0 if believed and cost == "0" else 1_200 * 2_500 + 80 * 10_000)
        (data,) = [data for type_, data in await plane.happened(session) if type_ == "model.answered"]
        assert data.get("unbelieved_nano") == (900_000 * 10**9 if believed and cost != "0" else None)


def said(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


START = {"input_tokens": 10, "cache_read_input_tokens": 22_000, "cache_creation_input_tokens": 0, "output_tokens": 1}
BEGUN: list[Step] = [
    said("message_start", message={"id": "msg_1", "role": "assistant", "content": [], "model": "m", "usage": START}),
    said("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    said("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello hello!"}),
]


@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/openai/v1/chat/completions"])
async def test_what_a_stream_told_before_it_was_cut_is_kept(tmp_path: Path, path: str) -> None:
    entry = {"dialects": ["messages"], "provider": "anthropic"}
    async with opened(tmp_path, *raw.stream([*BEGUN, CUT]), **entry) as (plane, _):
        session, token = await plane.session("m")
        await ask(plane, token, path, max_tokens=100, stream=True)
        spend = await plane.spend(session)
        assert (spend.estimated, spend.input, spend.cache_read, spend.output) == (1, 10, 22_000, 12 // 3 + 1)


async def test_chunks_that_count_as_they_go_are_kept_when_the_stream_is_cut(tmp_path: Path) -> None:
    choice = {"index": 0, "delta": {"content": "hello hello!"}}
    usage = {"prompt_tokens": 9_000, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 8_000}}
    chunk = {"id": "up-1", "choices": [choice], "usage": usage}
    async with opened(tmp_path, *raw.stream([b"data: " + json.dumps(chunk).encode() + b"\n\n", CUT])) as (plane, _):
        session, token = await plane.session("m")
        await ask(plane, token, max_tokens=100, stream=True)
        spend = await plane.spend(session)
        assert (spend.estimated, spend.input, spend.cache_read, spend.output) == (1, 1_000, 8_000, 7)
