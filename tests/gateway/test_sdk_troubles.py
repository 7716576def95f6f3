"""What an SDK's user sees when it does not go well: our sentence, its own error, no second request."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import figures
from tests.fakes.providers import server
from tests.fakes.providers.server import MANNERS, RETRY_AFTER_S, Provider
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.gateway.sdks import ANTHROPIC, GOOGLE, OPENAI_CHAT, OPENAI_RESPONSES, SDKS, Sdk

WORDS = "say these four words"
OWN = {OPENAI_CHAT.name: "chat", OPENAI_RESPONSES.name: "responses", ANTHROPIC.name: "messages", GOOGLE.name: "gemini"}
BY_SDK = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
BY_STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
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
    async with open_plane(tmp_path, provider.models(**PRICES), patience_s=0.05, keepalive_s=0.05) as plane:
        yield plane


async def _refused(plane: Plane, session: str) -> list[Any]:
    await plane.settled()
    return [data["error"] for type_, data in await plane.happened(session) if type_ == "model.refused"]


@BY_SDK
@BY_STREAM
async def test_a_spent_budget_is_told_in_our_sentence_and_not_asked_again(
    plane: Plane, provider: Provider, sdk: Sdk, stream: bool
) -> None:
    session, token = await plane.session(model := f"{OWN[sdk.name]}-echo", budget_nano=1_000)
    async with sdk.open(plane.containers, token, retries=3) as client:
        with pytest.raises(sdk.error, match=r"The budget of 0\.000001 USD for this run has no room for this call"):
            await sdk.talk(client, model, stream=stream, tool=False).ask(WORDS)
    assert await _refused(plane, session) == ["budget_exceeded"]
    assert provider.heard == []


@BY_SDK
@BY_STREAM
async def test_a_model_of_others_does_not_exist_and_is_not_asked_for_again(
    plane: Plane, provider: Provider, sdk: Sdk, stream: bool
) -> None:
    session, token = await plane.session("chat-echo")
    async with sdk.open(plane.containers, token, retries=3) as client:
        with pytest.raises(sdk.error, match="It may use: chat-echo"):
            await sdk.talk(client, "chat-tools", stream=stream, tool=False).ask(WORDS)
    assert await _refused(plane, session) == ["model_not_found"]
    assert provider.heard == []


@BY_SDK
@pytest.mark.parametrize("dialect", MANNERS)
@BY_STREAM
async def test_a_busy_provider_says_when_to_come_back(
    plane: Plane, provider: Provider, sdk: Sdk, dialect: str, stream: bool
) -> None:
    session, token = await plane.session(model := f"{dialect}-busy")
    async with sdk.open(plane.containers, token) as client:
        with pytest.raises(sdk.error) as caught:
            await sdk.talk(client, model, stream=stream, tool=False).ask(WORDS)
    error: Any = caught.value
    assert (error.code if sdk is GOOGLE else error.status_code) == 429
    assert error.response.headers["retry-after"] == str(RETRY_AFTER_S)
    assert len(provider.heard) == 1
    assert (await plane.spend(session)).cost_nano == 0


@BY_SDK
@pytest.mark.parametrize("dialect", MANNERS)
async def test_a_stream_that_is_cut_ends_in_the_sdks_own_error_and_an_estimate(
    plane: Plane, provider: Provider, sdk: Sdk, dialect: str
) -> None:
    session, token = await plane.session(model := f"{dialect}-cut")
    async with sdk.open(plane.containers, token, retries=3) as client:
        with pytest.raises(sdk.error):
            await sdk.talk(client, model, stream=True, tool=False).ask(WORDS)
    assert len(provider.heard) == 1
    spend = await plane.spend(session)
    assert spend.calls == 1
    assert spend.cost_nano > 0


@BY_SDK
@pytest.mark.parametrize("dialect", MANNERS)
async def test_a_silent_provider_is_covered_with_pauses_that_the_sdk_tolerates(
    plane: Plane, sdk: Sdk, dialect: str
) -> None:
    _, token = await plane.session(model := f"{dialect}-pause")
    wire = OWN[sdk.name]
    before = figures.KEEP_ALIVES.value(wire)
    async with sdk.open(plane.containers, token) as client:
        reply = await sdk.talk(client, model, stream=True, tool=False).ask(WORDS)
    assert reply.text == WORDS
    assert figures.KEEP_ALIVES.value(wire) - before >= 2
