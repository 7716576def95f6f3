"""Every official SDK against every dialect of a provider, unpatched: words, and tools over two turns."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import gemini, server
from tests.fakes.providers.manner import ARGUMENTS, CACHED, INPUT, SAID, THOUGHT
from tests.fakes.providers.server import KEY, MANNERS, Provider
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.gateway.sdks import SDKS, Sdk

WORDS = "say these four words"
RESULT = "paid as tx-42"
COUNTS = (INPUT + CACHED, SAID + THOUGHT)
COST = INPUT * 2500 + CACHED * 250 + (SAID + THOUGHT) * 10_000
WAYS = [
    pytest.param(sdk, dialect, stream, id=f"{sdk.name}-{dialect}-{'stream' if stream else 'whole'}")
    for sdk in SDKS
    for dialect in MANNERS
    for stream in (False, True)
]
pytestmark = [  # LiteLLM's own use of pydantic, Google's SDK's own use of aiohttp
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with server.serve() as provider:
        yield provider


@pytest.fixture
async def plane(tmp_path: Path, provider: Provider) -> AsyncIterator[Plane]:
    async with open_plane(tmp_path, provider.models(**PRICES)) as plane:
        yield plane


@pytest.mark.parametrize(("sdk", "dialect", "stream"), WAYS)
async def test_words_come_back_counted_and_billed(
    plane: Plane, provider: Provider, sdk: Sdk, dialect: str, stream: bool
) -> None:
    session, token = await plane.session(model := f"{dialect}-echo")
    async with sdk.open(plane.containers, token) as client:
        reply = await sdk.talk(client, model, stream=stream, tool=False).ask(WORDS)
    assert (reply.text, reply.calls, reply.counts) == (WORDS, (), COUNTS)
    (heard,) = provider.heard
    assert heard.dialect == dialect
    assert MANNERS[dialect].key(heard.headers) == KEY
    assert token.lower() not in heard.everything
    spend = await plane.spend(session)
    assert (spend.input, spend.cache_read, spend.output, spend.reasoning) == (INPUT, CACHED, SAID, THOUGHT)
    assert (spend.cost_nano, spend.estimated) == (COST, 0)


@pytest.mark.parametrize(("sdk", "dialect", "stream"), WAYS)
async def test_a_tool_is_called_and_its_result_told_in_the_next_turn(
    plane: Plane, provider: Provider, sdk: Sdk, dialect: str, stream: bool
) -> None:
    session, token = await plane.session(model := f"{dialect}-tools")
    async with sdk.open(plane.containers, token) as client:
        talk = sdk.talk(client, model, stream=stream, tool=True)
        first = await talk.ask("pay alice")
        second = await talk.give(RESULT)
    assert first.calls == (("pay", ARGUMENTS),)
    assert RESULT in second.text
    called, brought = _ids(dialect, provider.heard[1].body)
    assert called == brought != ""
    assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST


def _ids(dialect: str, body: Any) -> tuple[str, str]:
    """By what name the call and its result know each other at the provider."""
    found: list[Any]
    match dialect:
        case "chat":
            return body["messages"][-2]["tool_calls"][0]["id"], body["messages"][-1]["tool_call_id"]
        case "responses":
            found = [item["call_id"] for item in body["input"] if item.get("call_id")]
        case "messages":
            blocks = [block for turn in body["messages"] for block in turn["content"] if isinstance(block, dict)]
            calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            found = calls + [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        case _:
            parts = [part for turn in body["contents"] for part in turn["parts"]]
            calls = [call["name"] for one in parts if (call := gemini.part(one, "functionCall"))]
            found = calls + [call["name"] for one in parts if (call := gemini.part(one, "functionResponse"))]
    called, brought = found
    assert json.dumps(ARGUMENTS["recipient"]) in json.dumps(body).replace('\\"', '"')
    return called, brought
