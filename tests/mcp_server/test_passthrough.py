"""Prompts, resources, news, progress and questions of upstreams, as a client behind us sees them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ElicitRequestParams, ElicitResult, TextContent, TextResourceContents

from control.identity.charter import ToolGrant
from control.identity.doorkeeper import Listener
from mcp_server.settings import UpstreamServer
from tests.mcp_server.offers import Offers, offers
from tests.mcp_server.plane import ERAS, Era, Plane, plane, text_of

BOTH = ToolGrant(server="*", tool="*")
ONE = ToolGrant(server="one", tool="steps")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Plane, Offers, Offers]]:
    """A plane in front of `one`, which may ask for elicitation, and `other`, which may ask nothing."""
    async with offers("one") as (one, url), offers("other") as (other, other_url):
        servers = {
            "one": {"url": url, "pin": "first-use", "may_ask": ["elicitation"]},
            "other": {"url": other_url, "pin": "first-use"},
        }
        made = {name: UpstreamServer.model_validate(settings) for name, settings in servers.items()}
        async with plane(tmp_path, **made) as up:
            yield up, one, other


Two = tuple[Plane, Offers, Offers]


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_of_two_servers_are_told_apart(two: Two, era: Era) -> None:
    up, *_ = two
    _, token = await up.enrolled(BOTH)
    async with up.client(token, era) as client:
        names = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert names == {"one__greet", "other__greet", "only-one", "only-other"}
        [said] = (await client.get_prompt("other__greet")).messages
    assert isinstance(said.content, TextContent)
    assert said.content.text == "greet of other"


async def test_a_prompt_that_is_named_as_if_it_were_another_server_s_does_not_take_its_place(tmp_path: Path) -> None:
    async with offers("one") as (_, one), offers("other") as (_, other), offers("third", "one__greet") as (_, third):
        urls = {"one": one, "other": other, "third": third}
        made = {name: UpstreamServer.model_validate({"url": url, "pin": "first-use"}) for name, url in urls.items()}
        async with plane(tmp_path, **made) as up:
            _, token = await up.enrolled(BOTH)
            async with up.client(token, "2026-07-28") as client:
                names = {prompt.name for prompt in (await client.list_prompts()).prompts if "greet" in prompt.name}
                assert names == {"one__greet", "other__greet", "third__greet", "third__one__greet"}
                for name, said in (("one__greet", "greet of one"), ("third__one__greet", "one__greet of third")):
                    [message] = (await client.get_prompt(name)).messages
                    assert isinstance(message.content, TextContent)
                    assert message.content.text == said


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_the_charter_does_not_name_offers_nothing(two: Two, era: Era) -> None:
    up, _, other = two
    _, token = await up.enrolled(ONE)
    async with up.client(token, era) as client:
        assert [str(resource.uri) for resource in (await client.list_resources()).resources] == ["test://one"]
        assert {prompt.name for prompt in (await client.list_prompts()).prompts} == {"greet", "only-one"}
        with pytest.raises(MCPError):
            await client.get_prompt("only-other")
        await client.read_resource("test://other")  # nobody lists it: whom the charter names is asked, and nobody else
    assert other.asked == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_resource_is_read_from_the_server_that_lists_it(two: Two, era: Era) -> None:
    up, one, other = two
    _, token = await up.enrolled(BOTH)
    async with up.client(token, era) as client:
        [content] = (await client.read_resource("test://other")).contents
    assert isinstance(content, TextResourceContents)
    assert content.text == "the text of other"
    assert (one.asked, other.asked) == ([], ["test://other"])


@pytest.mark.parametrize("era", ERAS)
async def test_the_upstreams_progress_reaches_the_caller(two: Two, era: Era) -> None:
    up, *_ = two
    _, token = await up.enrolled(ONE)
    heard: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with up.client(token, era) as client:
        await client.call_tool("steps", {}, progress_callback=progress)
    assert heard == [(10, 20, "step 10"), (20, 20, "step 20")]


async def test_a_question_goes_to_the_client_and_its_answer_to_the_tool(two: Two) -> None:
    up, *_ = two
    _, token = await up.enrolled(BOTH)

    async def elicit(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with _asking(up, token, elicit) as client:
        assert text_of(await client.call_tool("one__question", {})) == "Ada one"


async def test_only_a_server_that_may_ask_learns_what_the_client_offers(two: Two) -> None:
    up, *_ = two
    _, token = await up.enrolled(BOTH)

    async def elicit(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="decline")

    async with _asking(up, token, elicit) as client:
        assert text_of(await client.call_tool("one__capabilities", {})) == "elicitation"
        assert text_of(await client.call_tool("other__capabilities", {})) == ""


async def test_an_updated_resource_is_announced_to_who_asked_and_may_know(two: Two) -> None:
    up, one, _ = two
    _, token = await up.enrolled(BOTH)
    async with up.client(token, "2026-07-28") as client, client.listen(resource_subscriptions=["test://one"]) as news:
        with anyio.fail_after(15):
            await one.listened.wait()
            await one.news.publish(ResourceUpdated(uri="test://elsewhere"))
            await one.news.publish(ResourceUpdated(uri="test://one"))
            async for event in news:
                assert event == ResourceUpdated(uri="test://one")
                break


@asynccontextmanager
async def _asking(up: Plane, token: str, elicit: Any) -> AsyncIterator[Client]:
    """A client that answers questions."""
    http = httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    transport = streamable_http_client(up.urls[Listener.PEOPLE], http_client=http)
    async with http, Client(transport, mode="2026-07-28", elicitation_callback=elicit) as client:
        yield client
