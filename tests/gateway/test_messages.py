"""The Anthropic wire end to end: bytes passed to Anthropic, translated to and from others, counted and billed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import messages_dialect, openai_dialect
from tests.fakes.messages_dialect import START, Upstream
from tests.gateway.plane import PAY, PRICES, Plane, open_plane

ASK: Any = {"max_tokens": 1000, "messages": [{"role": "user", "content": "say these four words"}]}
TOOLS: Any = [{"name": "pay", "description": "Pay.", "input_schema": PAY}]
COST = 100 * 2500 + 20 * 250 + 30 * 10_000
"""100 tokens read, 20 from the cache, 30 written of which 10 were thought."""
pytestmark = [  # LiteLLM's own use of pydantic
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with messages_dialect.serve() as upstream:
        yield upstream


@pytest.fixture
async def openai() -> AsyncIterator[openai_dialect.Upstream]:
    async with openai_dialect.serve() as upstream:
        yield upstream


@pytest.fixture
async def plane(tmp_path: Path, upstream: Upstream, openai: openai_dialect.Upstream) -> AsyncIterator[Plane]:
    anthropic = {"provider": "anthropic", "base_url": upstream.url, "api_key": "sk-ant-up", **PRICES}
    models: Any = {name: anthropic | {"model": name} for name in ("echo", "think", "cut", "busy", "rude")}
    other = {"provider": "openai", "base_url": openai.url, "api_key": "sk-up", **PRICES}
    models |= {f"gpt-{name}": other | {"model": name} for name in ("echo", "tools", "reason")}
    async with open_plane(tmp_path, models) as plane:
        yield plane


async def _post(plane: Plane, token: str, path: str, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        sent = {"x-api-key": token, **headers}
        return await client.post(f"{plane.containers}/anthropic/v1/{path}", json=body, headers=sent)


def _events(answer: httpx.Response) -> list[Any]:
    return [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize("stream", [True, False])
async def test_anthropics_bytes_pass_and_are_billed_as_it_says(plane: Plane, upstream: Upstream, stream: bool) -> None:
    session, token = await plane.session("echo")
    answer = await _post(
        plane, token, "messages?beta=true", ASK | {"model": "echo", "stream": stream},
        **{"anthropic-beta": "effort-2025-11-24,mcp-client-2025-11-20", "x-secret": "mine"},
    )  # fmt: skip
    assert answer.status_code == 200
    if stream:
        assert [event["type"] for event in _events(answer)][-1] == "message_stop"
    else:
        assert answer.json()["content"] == [{"type": "text", "text": "say these four words"}]
    (sent,) = upstream.headers
    assert (sent["x-api-key"], sent["anthropic-beta"]) == ("sk-ant-up", "effort-2025-11-24")
    assert "x-secret" not in sent
    assert token not in json.dumps(upstream.headers)
    spend = await plane.spend(session)
    assert spend.cost_nano == COST
    assert (spend.input, spend.cache_read, spend.output, spend.reasoning) == (100, 20, 20, 10)


async def test_a_client_of_the_wire_is_answered_by_openais_dialect(
    plane: Plane, openai: openai_dialect.Upstream
) -> None:
    session, token = await plane.session("gpt-tools", "gpt-echo")
    answer = await _post(plane, token, "messages", ASK | {"model": "gpt-tools", "tools": TOOLS, "stream": True})
    pieces = [event["delta"].get("partial_json", "") for event in _events(answer) if "delta" in event]
    assert json.loads("".join(pieces)) == {"recipient": "alice", "amount": 3}
    assert openai.requests[0]["tools"][0]["function"]["parameters"] == PAY
    answer = await _post(plane, token, "messages", ASK | {"model": "gpt-echo"})
    assert answer.json()["content"] == [{"type": "text", "text": "say these four words "}]
    assert answer.json()["usage"]["cache_read_input_tokens"] == 20
    assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST


async def test_a_client_of_responses_thinks_with_anthropic_over_two_turns(plane: Plane, upstream: Upstream) -> None:
    session, token = await plane.session("think")
    client = plane.client(token)
    tools: Any = [{"type": "function", "name": "pay", "parameters": PAY}]
    hard: Any = {"effort": "high"}
    first = await client.responses.create(model="think", input="pay", tools=tools, reasoning=hard)
    items: Any = [item.to_dict() for item in first.output]
    result: Any = {"type": "function_call_output", "call_id": items[-1]["call_id"], "output": "paid"}
    stream = await client.responses.create(
        model="think", input=[{"role": "user", "content": "pay"}, *items, result], tools=tools, stream=True,
        reasoning=hard,
    )  # fmt: skip
    events: list[Any] = [event async for event in stream]
    assert events[-1].response.output_text == "paid"
    assert upstream.requests[1]["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": "SIG=="},
        {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {"amount": 3}},
    ]
    assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST


async def test_a_stream_that_anthropic_cuts_ends_in_an_error_and_an_estimate(plane: Plane) -> None:
    session, token = await plane.session("cut")
    answer = await _post(plane, token, "messages", ASK | {"model": "cut", "stream": True})
    last = _events(answer)[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated) == (1, 1)
    assert spend.output > START["output_tokens"]


@pytest.mark.parametrize(
    ("model", "status", "kind"), [("busy", 429, "rate_limit_error"), ("rude", 400, "invalid_request_error")]
)
async def test_refusals_of_anthropic_come_in_its_shape_and_cost_nothing(
    plane: Plane, model: str, status: int, kind: str
) -> None:
    session, token = await plane.session(model)
    answer = await _post(plane, token, "messages", ASK | {"model": model})
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert (await plane.spend(session)).cost_nano == 0


async def test_a_smuggled_field_reaches_no_provider(plane: Plane, upstream: Upstream) -> None:
    _, token = await plane.session("echo")
    answer = await _post(plane, token, "messages", ASK | {"model": "echo", "api_base": "http://127.0.0.1:1"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
    assert answer.json()["error"]["message"].startswith("field_not_allowed: ")
    assert upstream.requests == []


async def test_tokens_are_counted_by_anthropic_and_estimated_for_others(plane: Plane, upstream: Upstream) -> None:
    _, token = await plane.session("echo", "gpt-echo")
    body = {"messages": ASK["messages"], "tools": TOOLS}
    answer = await _post(plane, token, "messages/count_tokens", body | {"model": "echo"})
    assert answer.json() == {"input_tokens": 4242}
    assert upstream.requests == [body | {"model": "echo"}]
    answer = await _post(plane, token, "messages/count_tokens", body | {"model": "gpt-echo"})
    assert 10 < answer.json()["input_tokens"] < 200
