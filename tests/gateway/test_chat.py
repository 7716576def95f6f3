"""The official `openai` SDK against the Chat wire, with the scripted model behind it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.plane import PAY, PAYMENT, PRICES, Plane, open_plane

TOOLS: Any = [{"type": "function", "function": {"name": "preloop_pay", "description": "Pay.", "parameters": PAY}}]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with open_plane(tmp_path, {"default": {"provider": "scripted", "script": "payment", **PRICES}}) as plane:
        yield plane


async def test_a_stream_thinks_aloud_and_calls_the_offered_tool(plane: Plane) -> None:
    session, token = await plane.session("default")
    client = plane.client(token)
    stream = await client.chat.completions.create(
        model="default",
        messages=[{"role": "user", "content": PAYMENT}],
        tools=TOOLS,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    calls = [c for chunk in chunks if chunk.choices for c in chunk.choices[0].delta.tool_calls or ()]
    assert "contractor@example.com" in text
    assert len(chunks) > 10
    assert calls[0].function.name == "preloop_pay"
    assert json.loads("".join(call.function.arguments for call in calls)) == {
        "recipient": "contractor@example.com",
        "amount": 250,
        "currency": "USD",
        "contract_id": "contract-7",
    }
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
    assert chunks[-1].usage.prompt_tokens == 412
    spend = await plane.spend(session)
    assert spend.cost_nano == 412 * 2500 + 96 * 10_000
    assert [type_ for type_, _ in await plane.happened(session)] == ["model.requested", "model.answered"]
