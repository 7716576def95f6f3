"""What else the official SDKs do here: embeddings, answers in a form, counting, models; and LiteLLM's own client."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from google.genai import types
from pydantic import BaseModel

from tests.fakes.providers import chat, gemini, messages, server
from tests.fakes.providers.manner import CACHED, INPUT, SAID, THOUGHT
from tests.fakes.providers.server import KEY, MANNERS, Provider
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.gateway.sdks import ANTHROPIC, GOOGLE, OPENAI_CHAT

ROOT = Path(__file__).parents[2]
ASK: Any = [{"role": "user", "content": "say these four words"}]
BY_DIALECT = pytest.mark.parametrize("dialect", MANNERS)
pytestmark = [  # LiteLLM's own use of pydantic, Google's SDK's own use of aiohttp
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]


class City(BaseModel):
    city: str
    people: int


BERN = City(city="Bern", people=3)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with server.serve() as provider:
        yield provider


@pytest.fixture
async def plane(tmp_path: Path, provider: Provider) -> AsyncIterator[Plane]:
    async with open_plane(tmp_path, provider.models(**PRICES)) as plane:
        yield plane


@pytest.mark.parametrize("packed", [None, "float", "base64"])
async def test_embeddings_are_passed_and_billed(plane: Plane, provider: Provider, packed: Any) -> None:
    session, token = await plane.session("embeds")
    more: Any = {"encoding_format": packed} if packed else {}
    async with OPENAI_CHAT.open(plane.containers, token) as client:
        answer = await client.embeddings.create(model="embeds", input=["one", "two"], **more)
    assert len(answer.data) == 2
    if packed != "base64":  # which the SDK unpacks only when it asked for it by itself
        assert answer.data[1].embedding == list(chat.VECTOR)
    assert provider.heard[0].headers["authorization"] == f"Bearer {KEY}"
    assert (await plane.spend(session)).cost_nano == 8 * 2500


@BY_DIALECT
async def test_chat_parses_an_answer_into_the_form_that_was_asked_for(
    plane: Plane, provider: Provider, dialect: str
) -> None:
    _, token = await plane.session(model := f"{dialect}-json")
    async with OPENAI_CHAT.open(plane.containers, token) as client:
        answer = await client.chat.completions.parse(model=model, messages=ASK, response_format=City)
        assert answer.choices[0].message.parsed == BERN
        async with client.chat.completions.stream(model=model, messages=ASK, response_format=City) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.parsed == BERN
    assert all(_has_form(heard.body) for heard in provider.heard)


@BY_DIALECT
async def test_responses_parse_an_answer_into_the_form_that_was_asked_for(
    plane: Plane, provider: Provider, dialect: str
) -> None:
    _, token = await plane.session(model := f"{dialect}-json")
    async with OPENAI_CHAT.open(plane.containers, token) as client:
        answer = await client.responses.parse(model=model, input=ASK, text_format=City)
        assert answer.output_parsed == BERN
        async with client.responses.stream(model=model, input=ASK, text_format=City) as stream:
            final = await stream.get_final_response()
        assert final.output_parsed == BERN
    assert all(_has_form(heard.body) for heard in provider.heard)


@BY_DIALECT
async def test_anthropics_sdk_parses_an_answer_into_the_form_that_was_asked_for(
    plane: Plane, provider: Provider, dialect: str
) -> None:
    _, token = await plane.session(model := f"{dialect}-json")
    async with ANTHROPIC.open(plane.containers, token) as client:
        answer = await client.messages.parse(model=model, max_tokens=1000, messages=ASK, output_format=City)
        assert answer.parsed_output == BERN
        async with client.messages.stream(model=model, max_tokens=1000, messages=ASK, output_format=City) as stream:
            final = await stream.get_final_message()
        assert final.parsed_output == BERN
    assert all(_has_form(heard.body) for heard in provider.heard)


@BY_DIALECT
async def test_googles_sdk_parses_an_answer_into_the_form_that_was_asked_for(
    plane: Plane, provider: Provider, dialect: str
) -> None:
    _, token = await plane.session(model := f"{dialect}-json")
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    async with GOOGLE.open(plane.containers, token) as client:
        answer = await client.aio.models.generate_content(model=model, contents="Which city?", config=config)
        assert answer.parsed == BERN
    assert all(_has_form(heard.body) for heard in provider.heard)


def _has_form(body: Any) -> bool:
    """Was the provider told the form's fields?"""
    return all(f'"{name}"' in json.dumps(body) for name in City.model_fields)


async def test_tokens_are_counted_by_the_provider_or_estimated(plane: Plane, provider: Provider) -> None:
    session, token = await plane.session("messages-echo", "gemini-echo", "chat-echo")
    async with ANTHROPIC.open(plane.containers, token) as anthropic, GOOGLE.open(plane.containers, token) as google:
        counted = await anthropic.messages.count_tokens(model="messages-echo", messages=ASK)
        assert counted.input_tokens == messages.COUNTED
        told = await google.aio.models.count_tokens(model="gemini-echo", contents="say these four words")
        assert told.total_tokens == gemini.COUNTED
        assert [heard.dialect for heard in provider.heard] == ["count", "count"]
        estimated = await anthropic.messages.count_tokens(model="chat-echo", messages=ASK)
        assert 5 < estimated.input_tokens < 50
        told = await google.aio.models.count_tokens(model="chat-echo", contents="say these four words")
        assert 5 < told.total_tokens < 50
    assert len(provider.heard) == 2
    await plane.settled()
    assert await plane.happened(session) == []  # nothing was spent


async def test_the_models_of_this_session_are_listed(plane: Plane) -> None:
    _, token = await plane.session("chat-echo", "gemini-echo", "unknown")
    async with OPENAI_CHAT.open(plane.containers, token) as client:
        assert [model.id async for model in client.models.list()] == ["chat-echo", "gemini-echo"]


@pytest.mark.slow
async def test_litellms_own_client_is_answered_on_two_wires(plane: Plane, provider: Provider) -> None:
    names = [f"{dialect}-{doing}" for dialect in MANNERS for doing in ("echo", "tools")]
    _, token = await plane.session(*names)
    asked = [f"{wire}/{name}" for wire in ("openai", "anthropic") for name in names]
    told = await _litellm(plane, token, *asked)
    assert [(one["model"], one["stream"]) for one in told] == [(name, way) for name in asked for way in (False, True)]
    for one in told:
        expected = "tx-42" if one["model"].endswith("-tools") else "say these four words"
        assert expected in one["text"], one
        assert one["counts"] == [INPUT + CACHED, SAID + THOUGHT], one
    assert not any(token.lower() in heard.everything for heard in provider.heard)


async def test_litellms_own_client_raises_our_refusal(plane: Plane, provider: Provider) -> None:
    _, token = await plane.session("chat-echo", budget_nano=1_000)
    told = await _litellm(plane, token, "openai/chat-echo", "anthropic/chat-echo")
    assert [one["status"] for one in told] == [402] * 4, told
    assert all("The budget of 0.000001 USD" in one["text"] for one in told)
    assert provider.heard == []


async def _litellm(plane: Plane, token: str, *models: str) -> list[Any]:
    """What LiteLLM's client makes of these models, in a process of its own."""
    env = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    command = [sys.executable, "-m", "tests.gateway.litellm_client", plane.containers, token, *models]
    with anyio.fail_after(120):
        done = await anyio.run_process(command, cwd=ROOT, env=env)
    return [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
