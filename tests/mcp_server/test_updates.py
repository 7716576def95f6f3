"""Subscriptions: who is asked about a resource, that one agent's wish makes nobody deaf, and that they end with it."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated

from control.identity import sessions
from mcp_server import updates
from mcp_server.updates import MOST, Updates
from tests.mcp_server.offers import Context, Offers
from tests.mcp_server.plane import Plane
from tests.mcp_server.test_passthrough import BOTH, ONE, two
from tests.waiting import until

__all__ = ["two"]
pytestmark = pytest.mark.filterwarnings("ignore:resources/.*subscribe is removed")
Two = tuple[Plane, Offers, Offers]
Asked = dict[str, list[list[str]]]


@pytest.fixture
def heard(two: Two, monkeypatch: pytest.MonkeyPatch) -> tuple[Plane, Offers, Offers, Asked]:
    """Each server refuses what is not its own; `Asked` is what each was asked for, in order."""
    monkeypatch.setattr(updates, "PAUSE_S", 0.05)
    monkeypatch.setattr(updates, "APART_S", 0.01)
    asked: Asked = {"one": [], "other": []}
    for server in two[1:]:
        server._listen = _picky(server, asked[server.name])  # type: ignore[assignment]
    return *two, asked


def _picky(server: Offers, asked: list[list[str]]) -> Callable[[Context, Any], Any]:
    inner = server._listen

    async def listens(ctx: Context, params: Any) -> Any:
        uris = list(params.notifications.resource_subscriptions or [])
        asked.append(uris)
        if any(not uri.startswith(f"test://{server.name}") for uri in uris):
            raise MCPError(code=-32602, message="no such resource")
        return await inner(ctx, params)

    return listens


async def test_only_servers_of_the_charter_and_the_owner_where_it_is_known_are_asked(heard: Any) -> None:
    up, _, _, asked = heard
    _, token = await up.enrolled(ONE)
    _, wide = await up.enrolled(BOTH)
    secret = "test://one/customer?iban=DE89370400440532013000"
    async with up.client(token, "2026-07-28") as client, client.listen(resource_subscriptions=[secret]):
        await until(lambda: [secret] in asked["one"], what="one is asked")
        async with up.client(wide, "legacy") as older:
            await older.subscribe_resource("test://other")
            await until(lambda: ["test://other"] in asked["other"], what="other is asked")
    assert [uris for uris in asked["other"] if uris] == [["test://other"]]
    assert [uris for uris in asked["one"] if uris] == [[secret]]


async def comes(one: Any, news: Any, event: object) -> object:
    """What is heard once the event, said again and again, is; the last that was heard where it never is."""
    got = None
    with anyio.move_on_after(15):
        while got != event:
            await one.news.publish(event)
            with anyio.move_on_after(0.2):
                got = await anext(news)
    return got


async def test_a_refused_resource_makes_nobody_deaf(heard: Any) -> None:
    up, one, _, asked = heard
    _, token = await up.enrolled(ONE)
    uris = ["evil://nowhere", "test://one", "test://one/b", "zzz://nowhere"]
    async with (
        up.client(token, "2026-07-28") as client,
        client.listen(resource_subscriptions=uris, prompts_list_changed=True) as news,
    ):
        await until(lambda: asked["one"][-1] == ["test://one", "test://one/b"], what="the refused ones are left out")
        for event in (ResourceUpdated(uri="test://one"), PromptsListChanged()):
            assert await comes(one, news, event) == event


@pytest.mark.parametrize("kind", ["test://one", "evil://nowhere"])
async def test_the_changing_wishes_of_one_session_cost_another_no_update(heard: Any, kind: str) -> None:
    up, one, _, asked = heard
    (_, mine), (_, others) = await up.enrolled(ONE), await up.enrolled(ONE)
    event, said, got = ResourceUpdated(uri="test://one"), 0, 0
    listens = one._listen

    async def saying(ctx: Context, params: Any) -> Any:
        """Something changes just when the server is asked for something else."""
        nonlocal said
        if "test://one" in (params.notifications.resource_subscriptions or []):
            said += 1
            await one.news.publish(event)
        return await listens(ctx, params)

    async def hear(news: Any) -> None:
        nonlocal got
        async for _ in news:
            got += 1

    async with (
        up.client(others, "legacy") as flapping,
        up.client(mine, "2026-07-28") as client,
        client.listen(resource_subscriptions=["test://one"]) as news,
    ):
        assert await comes(one, news, event) == event
        one._listen = saying
        async with anyio.create_task_group() as hearing:
            hearing.start_soon(hear, news)
            for number in range(8):
                uri = f"{kind}/{number}"
                await flapping.subscribe_resource(uri)
                await until(lambda: any(uri in uris for uris in asked["one"]), what="the server is asked")  # noqa: B023
                await flapping.unsubscribe_resource(uri)
            assert said >= 8
            await until(lambda: got >= said, what=f"all {said} updates")
            hearing.cancel_scope.cancel()


async def test_subscriptions_of_the_older_wire_end_with_their_client_and_with_its_session(heard: Any) -> None:
    up, *_ = heard
    wanted = up.endpoint._news._updates.wanted_of
    left, token = await up.enrolled(ONE)
    async with up.client(token, "legacy") as client:
        await client.subscribe_resource("test://one")
        assert wanted("one") == ["test://one"]
    await until(lambda: wanted("one") == [], what="nothing is wanted any more")
    async with up.client(token, "legacy") as client:
        await client.subscribe_resource("test://one")
        assert wanted("one") == ["test://one"]
        await up.db.write(lambda tx: sessions.revoke(tx, left))
        await until(lambda: wanted("one") == [], what="nothing is wanted any more")


async def test_a_session_may_follow_so_many_resources_and_no_more(heard: Any) -> None:
    up, *_ = heard
    _, token = await up.enrolled(ONE)
    async with up.client(token, "legacy") as client:
        for number in range(MOST):
            await client.subscribe_resource(f"test://one/{number}")
        with pytest.raises(MCPError, match=f"may follow {MOST} resources at once"):
            await client.subscribe_resource("test://one/more")
        await client.unsubscribe_resource("test://one/0")
        await client.subscribe_resource("test://one/more")


def test_the_servers_that_are_told_of_a_wish_are_its_own() -> None:
    held = Updates()
    stop = held.hold("ses_1", {"a": {"one"}, "b": {"one", "other"}})
    again = held.hold("ses_2", {"a": {"one"}})
    assert (held.wanted_of("one"), held.wanted_of("other"), held.wanted_of("third")) == (["a", "b"], ["b"], [])
    stop()
    assert (held.wanted_of("one"), held.wanted_of("other")) == (["a"], [])
    again()
    assert held.wanted_of("one") == []
