"""The official `openai` SDK against the Responses wire, and what Codex needs of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.plane import PAY, PAYMENT, PRICES, Plane, open_plane, script

PAY_TOOL: Any = {"type": "function", "name": "pay", "description": "Pay.", "parameters": PAY}
CODEX: Any = [
    {"type": "namespace", "name": "mcp__preloop", "description": "Preloop", "tools": [PAY_TOOL]},
    {"type": "custom", "name": "apply_patch", "description": "Patch.", "format": {"type": "grammar"}},
]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    patch = script(
        tmp_path, {"think": "A patch then.", "call": [{"tool": "apply_patch", "arguments": {"input": "*** Begin\n"}}]}
    )
    models = {
        "default": {"provider": "scripted", "script": "payment", **PRICES},
        "patch": {"provider": "scripted", "script": patch, **PRICES},
        "cut": {"provider": "scripted", "script": script(tmp_path, {"say": "Half of it", "cut": True}), **PRICES},
    }
    async with open_plane(tmp_path, models) as plane:
        yield plane


async def test_a_stream_is_whole_and_numbered_and_unfolds_the_namespace(plane: Plane) -> None:
    session, token = await plane.session("default")
    stream = await plane.client(token).responses.create(
        model="default", input=PAYMENT, tools=CODEX, stream=True, store=False, prompt_cache_key="k"
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert "It settles contract contract-7." in text
    last = events[-1]
    assert last.type == "response.completed"
    _, call = last.response.output
    assert last.response.output_text == text
    assert call.to_dict() | {"id": "", "call_id": ""} == {
        "type": "function_call",
        "id": "",
        "call_id": "",
        "name": "pay",
        "namespace": "mcp__preloop",
        "status": "completed",
        "arguments": '{"recipient":"contractor@example.com","amount":250,"currency":"USD","contract_id":"contract-7"}',
    }
    assert last.response.usage
    assert (last.response.usage.input_tokens, last.response.usage.output_tokens) == (412, 96)
    assert (await plane.spend(session)).cost_nano == 412 * 2500 + 96 * 10_000
    assert [data["dropped"] for type_, data in await plane.happened(session) if type_ == "model.requested"] == [
        ["prompt_cache_key", "tools.format", "tools.namespace.description"]
    ]


async def test_every_item_is_opened_and_closed_around_its_deltas(plane: Plane) -> None:
    _, token = await plane.session("default")
    stream = await plane.client(token).responses.create(model="default", input=PAYMENT, tools=CODEX, stream=True)
    order: list[str] = []
    async for event in stream:
        if not order or order[-1] != event.type:
            order.append(event.type)
    assert order == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]


async def test_the_second_turn_is_known_from_the_items_that_come_back(plane: Plane) -> None:
    _, token = await plane.session("default")
    client = plane.client(token)
    first = await client.responses.create(model="default", input=PAYMENT, tools=CODEX)
    call: Any = first.output[-1]
    talk: Any = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PAYMENT}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "sealed"},
        *(item.to_dict() for item in first.output),
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": 'Wall time: 0.2 s\nOutput:\n{"transaction_id":"tx-9"}',
        },
    ]
    second = await client.responses.create(
        model="default", input=talk, tools=CODEX, include=["reasoning.encrypted_content"]
    )
    assert "tx-9" in second.output_text
    assert second.status == "completed"


async def test_a_custom_tool_takes_free_text(plane: Plane) -> None:
    _, token = await plane.session("patch")
    answer = await plane.client(token).responses.create(model="patch", input="Patch it.", tools=CODEX)
    thought, call = (item.to_dict() for item in answer.output)
    assert thought["summary"] == [{"type": "summary_text", "text": "A patch then."}]
    assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "apply_patch", "*** Begin\n")


async def test_a_budget_without_room_is_a_400_that_codex_shows(plane: Plane) -> None:
    _, token = await plane.session("default", budget_nano=1_000)
    with pytest.raises(openai.BadRequestError, match="The budget of") as caught:
        await plane.client(token).responses.create(model="default", input=PAYMENT)
    assert (caught.value.code, caught.value.type) == ("budget_exceeded", "insufficient_quota")


async def test_a_cut_upstream_ends_the_stream_with_response_failed(plane: Plane) -> None:
    session, token = await plane.session("cut")
    stream = await plane.client(token).responses.create(model="cut", input="Go.", stream=True)
    events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error
    assert last.response.error.code == "server_error"
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated) == (1, 1)
    assert spend.cost_nano > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("background", True),
        ("input", [{"type": "item_reference", "id": "msg_1"}]),
        ("input", [{"role": "user", "content": [{"type": "input_image", "image_url": "http://evil.test/x"}]}]),
    ],
)
async def test_what_the_server_would_have_to_fetch_or_store_is_refused(plane: Plane, field: str, value: object) -> None:
    _, token = await plane.session("default")
    body: Any = {"model": "default", "input": "Hello."} | {field: value}
    with pytest.raises(openai.BadRequestError) as caught:
        await plane.client(token).responses.create(**body)
    assert caught.value.code == "not_supported_yet"


@pytest.mark.parametrize(
    "tool", [{"type": "web_search"}, {"type": "mcp", "server_url": "https://evil.test", "server_label": "x"}]
)
async def test_a_tool_that_runs_at_the_provider_is_refused_unless_the_flow_lists_it(plane: Plane, tool: Any) -> None:
    session, token = await plane.session("default")
    with pytest.raises(openai.BadRequestError) as caught:
        await plane.client(token).responses.create(model="default", input="Hello.", tools=[tool])
    assert caught.value.code == "hosted_tool_not_allowed"
    await plane.settled()
    assert [data["error"] for _, data in await plane.happened(session)] == ["hosted_tool_not_allowed"]


async def test_the_answer_is_json_that_other_readers_take_too(plane: Plane) -> None:
    _, token = await plane.session("default")
    raw = await plane.client(token).responses.with_raw_response.create(model="default", input=PAYMENT, tools=CODEX)
    assert raw.headers["content-type"] == "application/json"
    assert json.loads(raw.text)["object"] == "response"
