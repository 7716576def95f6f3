"""The official `openai` SDK against the Chat wire, with the scripted model behind it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.plane import PAY, PAYMENT, PRICES, Plane, open_plane, script

TOOLS: Any = [{"type": "function", "function": {"name": "preloop_pay", "description": "Pay.", "parameters": PAY}}]
ASK: Any = [{"role": "user", "content": PAYMENT}]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    busy = script(tmp_path, {"status": 429}, {"say": "Now."})
    models: Any = {
        "default": {"provider": "scripted", "script": "payment", **PRICES},
        "busy": {"provider": "scripted", "script": busy, "retries": 0, **PRICES},
        "free": {"provider": "scripted", "script": "payment"},
    }
    async with open_plane(tmp_path, models) as plane:
        yield plane


async def test_a_stream_thinks_aloud_and_calls_the_offered_tool(plane: Plane) -> None:
    session, token = await plane.session("default")
    stream = await plane.client(token).chat.completions.create(
        model="default", messages=ASK, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert "contractor@example.com" in "".join(choice.delta.content or "" for choice in choices)
    assert len(chunks) > 10
    assert calls[0].function
    assert calls[0].function.name == "preloop_pay"
    assert json.loads("".join(call.function.arguments or "" for call in calls if call.function)) == {
        "recipient": "contractor@example.com",
        "amount": 250,
        "currency": "USD",
        "contract_id": "contract-7",
    }
    assert choices[-1].finish_reason == "tool_calls"
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens == 412
    spend = await plane.spend(session)
    assert spend.cost_nano == 412 * 2500 + 96 * 10_000


async def test_the_second_turn_reports_what_the_tool_said(plane: Plane) -> None:
    session, token = await plane.session("default")
    client = plane.client(token)
    first = await client.chat.completions.create(model="default", messages=ASK, tools=TOOLS)
    message = first.choices[0].message
    assert message.tool_calls
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"transaction_id": "tx-42"}'}
    talk: Any = [*ASK, message.model_dump(), result]
    second = await client.chat.completions.create(model="default", messages=talk, tools=TOOLS)
    assert "tx-42" in (second.choices[0].message.content or "")
    assert second.choices[0].finish_reason == "stop"
    assert second.usage
    assert second.usage.prompt_tokens_details
    assert second.usage.prompt_tokens_details.cached_tokens == 128
    spend = await plane.spend(session, calls=2)
    assert (spend.input, spend.cache_read, spend.output) == (412 + 531, 128, 96 + 48)


async def test_a_call_leaves_its_events_and_marks_the_session(plane: Plane) -> None:
    session, token = await plane.session("default")
    await plane.client(token).chat.completions.create(model="default", messages=ASK, tools=TOOLS, user="someone")
    await plane.spend(session)
    (asked, first), (answered, second) = await plane.happened(session)
    assert (asked, answered) == ("model.requested", "model.answered")
    assert (first["alias"], first["wire"], first["dropped"]) == ("default", "chat", ["user"])
    assert second["attempt"] == first["attempt"]
    assert (second["status"], second["error"], second["stage"]) == ("answered", None, None)
    assert second["tokens"] == {"input": 412, "output": 96}
    assert second["cost_nano"] == 412 * 2500 + 96 * 10_000
    assert second["total_ms"] >= second["first_token_ms"] >= 0
    assert await plane.model_called(session)


async def test_an_enrolled_agent_speaks_on_the_peoples_listener_without_any_execution(plane: Plane) -> None:
    session, token = await plane.enrolled("default")
    answer = await plane.client(token, people=True).chat.completions.create(model="default", messages=ASK, tools=TOOLS)
    assert answer.choices[0].message.tool_calls
    assert (await plane.spend(session)).calls == 1


async def test_the_tokens_of_one_listener_are_refused_at_the_other(plane: Plane) -> None:
    _, runtime = await plane.session("default")
    _, enrolled = await plane.enrolled("default")
    for client in (plane.client(runtime, people=True), plane.client(enrolled)):
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="default", messages=ASK)


async def test_a_model_outside_the_charter_does_not_exist(plane: Plane) -> None:
    session, token = await plane.session("default")
    with pytest.raises(openai.NotFoundError, match="It may use: default") as caught:
        await plane.client(token).chat.completions.create(model="busy", messages=ASK)
    assert caught.value.code == "model_not_found"
    assert [m.id async for m in plane.client(token).models.list()] == ["default"]
    await plane.settled()
    ((type_, data),) = await plane.happened(session)
    assert (type_, data["stage"]) == ("model.refused", "routing")


async def test_a_budget_without_room_is_a_402_in_our_words(plane: Plane) -> None:
    session, token = await plane.session("default", budget_nano=1_000)
    with pytest.raises(openai.APIStatusError, match=r"The budget of 0\.000001 USD for this run has no room") as caught:
        await plane.client(token).chat.completions.create(model="default", messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exceeded")
    await plane.settled()
    ((type_, data),) = await plane.happened(session)
    assert (type_, data["stage"], data["error"]) == ("model.refused", "budget", "budget_exceeded")


async def test_a_model_without_a_price_is_refused_under_a_budget_and_unpriced_without(plane: Plane) -> None:
    session, limited = await plane.session("free", budget_nano=10**12)
    with pytest.raises(openai.PermissionDeniedError, match="input_usd_per_mtok"):
        await plane.client(limited).chat.completions.create(model="free", messages=ASK)
    await plane.settled()
    ((_, data),) = await plane.happened(session)
    assert (data["stage"], data["error"]) == ("budget", "model_unpriced")
    session, token = await plane.session("free")
    await plane.client(token).chat.completions.create(model="free", messages=ASK, tools=TOOLS)
    spend = await plane.spend(session)
    assert (spend.calls, spend.unpriced, spend.cost_nano) == (1, 1, 0)


async def test_an_upstream_that_is_busy_is_told_as_such(plane: Plane) -> None:
    session, token = await plane.session("busy")
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError):
            await plane.client(token).chat.completions.create(model="busy", messages=ASK, stream=stream)
    spend = await plane.spend(session, calls=2)
    assert spend.cost_nano == 0
    failed = [data for type_, data in await plane.happened(session) if type_ == "model.failed"]
    assert [(data["status"], data["stage"], data["upstream_status"]) for data in failed] == [
        ("failed", "upstream", 429)
    ] * 2


@pytest.mark.parametrize("name", ["api_base", "api_key", "base_url", "mock_response", "extra_headers", "fallbacks"])
async def test_a_field_that_is_not_on_the_list_is_refused_by_its_name(plane: Plane, name: str) -> None:
    _, token = await plane.session("default")
    with pytest.raises(openai.BadRequestError, match=f"`{name}`"):
        await plane.client(token).chat.completions.create(model="default", messages=ASK, extra_body={name: "x"})
