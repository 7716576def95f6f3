"""Looking at a link is free of consequences, and neither looking nor pressing goes on without end."""

from collections.abc import Sequence
from typing import Any

import httpx
import sqlalchemy as sa

from control import tables
from control.identity.principals import Role
from kit.limits import Pace
from tests.web.test_decisions import ask, fields, open_page
from tests.web.world import ORIGIN, World

WATCHED = (
    "executions",
    "sessions",
    "tool_calls",
    "approvals",
    "votes",
    "grants",
    "links",
    "events",
    "outbox",
    "tokens",
)


async def everything(world: World) -> dict[str, Sequence[Any]]:
    read = {name: sa.select(tables.metadata.tables[name]) for name in WATCHED}
    return {name: sorted(map(repr, await world.house.db.read(statement))) for name, statement in read.items()}


async def test_every_link_fetched_a_hundred_times_changes_nothing(world: World) -> None:
    _, _, approval = await ask(world)
    link, cookie = await world.link(approval), await world.token(Role.APPROVER)
    before = await everything(world)
    async with world.client() as http, world.client(cookie) as signed_in:
        await http.get(f"/a/{link}")
        for _ in range(100):
            for method in ("GET", "HEAD"):
                answers = [await http.request(method, f"/a/{key}") for key in (link, approval, f"{approval}/reveal")]
                paths = [f"/approvals/{approval}", f"/approvals/{approval}/reveal"]
                answers += [await signed_in.request(method, path) for path in paths]
                assert [answer.status_code for answer in answers] == [303, 200, 303, 200, 303]
    assert await everything(world) == before


async def test_guessing_is_slowed_down_and_who_has_a_link_is_not(world: World) -> None:
    _, _, approval = await ask(world)
    async with world.client() as http:
        assert (await open_page(http, world, approval)).status_code == 200
        seen = [(await http.get(f"/a/apl_{n}")).status_code for n in range(40)]
        assert (await http.get(f"/a/{approval}")).status_code == 200
    assert seen[:30] == [404] * 30
    assert 429 in seen[30:]


async def test_a_form_is_not_pressed_without_end(world: World) -> None:
    _, _, approval = await ask(world)
    async with world.client() as http:
        form = fields(await open_page(http, world, approval)) | {"digest": "0" * 64}
        seen = [(await http.post(f"/a/{approval}", data=form)).status_code for _ in range(25)]
    assert seen[:20] == [409] * 20
    assert 429 in seen[20:]


async def test_one_address_that_presses_too_often_stops_no_other(world: World) -> None:
    _, call, approval = await ask(world)
    async with world.client() as alice:
        form = fields(await open_page(alice, world, approval)) | {"digest": "0" * 64}
        for _ in range(100):  # what time brings comes back: a slow machine presses more often until it is refused
            last = await alice.post(f"/a/{approval}", data=form)
            if last.status_code == 429:
                break
    elsewhere = httpx.ASGITransport(world.app, client=("192.0.2.7", 4000))
    async with httpx.AsyncClient(transport=elsewhere, base_url=ORIGIN, headers={"origin": ORIGIN}) as bob:
        page = await open_page(bob, world, approval, "bob")
        assert (await bob.post(f"/a/{approval}", data=fields(page))).status_code == 303
    assert last.status_code == 429
    assert (await world.house.approval(call)).decided_by == "bob"


def test_a_pace_gives_back_what_time_brings() -> None:
    now = [0.0]
    pace = Pace(burst=2, every_s=10.0, now=lambda: now[0])
    assert [pace.take("a"), pace.take("a"), pace.take("a"), pace.take("b")] == [True, True, False, True]
    now[0] = 10.0
    assert [pace.take("a"), pace.take("a")] == [True, False]
