"""Through LiteLLM to a real server that speaks OpenAI's dialect: it streams, is billed, and fails as it should."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from tests.fakes import openai_dialect
from tests.fakes.openai_dialect import Upstream
from tests.gateway.plane import PAY, PRICES, Plane, open_plane

ASK: Any = [{"role": "user", "content": "say these four words"}]
TOOLS: Any = [{"type": "function", "function": {"name": "pay", "description": "Pay.", "parameters": PAY}}]
FOLDED: Any = [
    {"type": "namespace", "name": "mcp__preloop", "tools": [{"type": "function", "name": "pay", "parameters": PAY}]}
]
pytestmark = [  # LiteLLM's own use of pydantic
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]
COST = 100 * 2500 + 20 * 250 + 30 * 10_000
"""120 prompt tokens of which 20 were cached, 30 completion tokens."""


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with openai_dialect.serve() as upstream:
        yield upstream


@pytest.fixture
async def plane(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Plane]:
    names = ("echo", "tools", "reason", "cut", "silent", "busy", "broken", "rude")
    models = {
        name: {
            "model": name,
            "base_url": upstream.url,
            "api_key": "sk-upstream",
            "dialects": [],
            "retries": 0,
            **PRICES,
        }
        for name in names
    }
    models["nowhere"] = models["echo"] | {"base_url": "http://127.0.0.1:1/v1"}
    async with open_plane(tmp_path, models) as plane:
        yield plane


async def test_words_arrive_one_by_one_and_are_billed_as_the_provider_says(plane: Plane, upstream: Upstream) -> None:
    session, token = await plane.session("echo")
    stream = await plane.client(token).chat.completions.create(
        model="echo", messages=ASK, stream=True, temperature=0.5, user="someone"
    )
    words = [c.choices[0].delta.content async for c in stream if c.choices and c.choices[0].delta.content]
    assert words == ["say ", "these ", "four ", "words "]
    spend = await plane.spend(session)
    assert spend.cost_nano == COST
    assert (spend.input, spend.cache_read, spend.output, spend.reasoning) == (100, 20, 20, 10)
    (sent,) = upstream.requests
    assert sent["temperature"] == 0.5
    assert "user" not in sent
    assert upstream.headers[0]["authorization"] == "Bearer sk-upstream"
    assert token not in json.dumps(upstream.headers)


async def test_the_first_word_comes_before_the_last_is_known(plane: Plane, upstream: Upstream) -> None:
    _, token = await plane.session("silent")
    stream = await plane.client(token).chat.completions.create(model="silent", messages=ASK, stream=True)
    words = aiter(stream)
    with anyio.fail_after(30):
        while not (await anext(words)).choices[0].delta.content:
            pass
    assert upstream.answered == 0
    upstream.go.set()
    assert "words" in [c.choices[0].delta.content.strip() async for c in words if c.choices[0].delta.content]


async def test_a_whole_answer_and_its_thoughts(plane: Plane, upstream: Upstream) -> None:
    session, token = await plane.session("reason")
    answer = await plane.client(token).chat.completions.create(model="reason", messages=ASK)
    assert answer.choices[0].message.content == "say these four words "
    assert answer.choices[0].message.to_dict()["reasoning_content"] == "Let me think."
    assert (await plane.spend(session)).calls == upstream.answered == 1


async def test_tools_go_out_and_calls_come_back(plane: Plane, upstream: Upstream) -> None:
    _, token = await plane.session("tools")
    answer = await plane.client(token).chat.completions.create(model="tools", messages=ASK, tools=TOOLS)
    calls: Any = answer.choices[0].message.tool_calls
    (call,) = calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("pay", {"recipient": "alice", "amount": 3})
    assert upstream.requests[0]["tools"][0]["function"]["parameters"] == PAY


async def test_responses_are_translated_there_and_back_with_the_namespace(plane: Plane, upstream: Upstream) -> None:
    session, token = await plane.session("tools", "echo")
    client = plane.client(token)
    first = await client.responses.create(model="tools", input="pay alice", tools=FOLDED, instructions="Be quick.")
    call = first.output[0].to_dict()
    assert (call["type"], call["name"], call["namespace"]) == ("function_call", "pay", "mcp__preloop")
    assert upstream.requests[0]["tools"][0]["function"]["name"] == "mcp__preloop__pay"
    assert upstream.requests[0]["messages"][0] == {"role": "system", "content": "Be quick."}
    talk: Any = [
        {"role": "user", "content": "pay alice"},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "paid as tx-1"},
    ]
    stream = await client.responses.create(model="echo", input=talk, tools=FOLDED, stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "paid as tx-1 "
    history = upstream.requests[1]["messages"]
    assert [message["role"] for message in history] == ["user", "assistant", "tool"]
    assert history[1]["tool_calls"][0]["function"]["name"] == "mcp__preloop__pay"
    assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST


async def test_a_busy_upstream_is_a_429_with_its_own_waiting_time(plane: Plane, upstream: Upstream) -> None:
    session, token = await plane.session("busy")
    with pytest.raises(openai.RateLimitError) as caught:
        await plane.client(token).chat.completions.create(model="busy", messages=ASK)
    assert caught.value.response.headers["retry-after"] == "7"
    assert len(upstream.requests) == 1  # retries are the client's business
    assert (await plane.spend(session)).cost_nano == 0


@pytest.mark.parametrize(("model", "status"), [("broken", 502), ("rude", 400), ("nowhere", 502)])
async def test_a_failing_upstream_is_named_by_its_alias_and_costs_nothing(
    plane: Plane, model: str, status: int
) -> None:
    session, token = await plane.session(model)
    with pytest.raises(openai.APIStatusError) as caught:
        await plane.client(token).chat.completions.create(model=model, messages=ASK)
    assert caught.value.status_code == status
    assert "127.0.0.1" not in caught.value.message
    assert "sk-upstream" not in caught.value.message
    assert (await plane.spend(session)).cost_nano == 0
    (failed,) = [data for type_, data in await plane.happened(session) if type_ == "model.failed"]
    assert (failed["status"], failed["stage"]) == ("failed", "upstream")


async def test_a_stream_that_is_cut_upstream_ends_in_an_error_and_an_estimate(plane: Plane) -> None:
    session, token = await plane.session("cut")
    stream = await plane.client(token).chat.completions.create(model="cut", messages=ASK, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    spend = await plane.spend(session)
    assert (spend.calls, spend.estimated) == (1, 1)
