"""What stands around the pages: places by role, where one is, and how many requests wait."""

import re

import pytest

from control.identity.principals import Role
from tests.browser.scene import PAYMENT
from tests.web.world import World
from web.frame import PLACES, Frame

ENTRY = re.compile(r'<a href="([^"]+)" data-key="([^"]+)"(?: aria-current="(\w+)")?')


async def read(world: World, path: str, role: Role = Role.ADMIN) -> str:
    async with world.client(await world.token(role)) as http:
        return (await http.get(path)).text


@pytest.mark.parametrize("role", list(Role))
async def test_the_sidebar_has_what_ones_role_opens_and_nothing_else(world: World, role: Role) -> None:
    shown = {href for href, _, _ in ENTRY.findall(re.sub(r"\s+", " ", await read(world, "/", role)))}
    async with world.client(await world.token(role)) as http:
        opened = {place.href for place in PLACES if (await http.get(place.href)).status_code == 200}
    assert shown == opened
    assert {"/", "/flows", "/executions", "/approvals"} <= shown


async def test_an_admin_sees_all_places_each_with_a_key_of_its_own(world: World) -> None:
    found = ENTRY.findall(re.sub(r"\s+", " ", await read(world, "/")))
    assert [href for href, _, _ in found] == [place.href for place in PLACES]
    assert len({key for _, key, _ in found}) == len(found)


async def test_the_place_of_a_detail_page_is_marked(world: World) -> None:
    run = await world.house.start()
    for path, place, mark in (
        (f"/executions/{run}", "/executions", "true"),
        ("/flows/process-payment", "/flows", "true"),
        ("/executions", "/executions", "page"),
    ):
        found = ENTRY.findall(re.sub(r"\s+", " ", await read(world, path)))
        assert [(href, current) for href, _, current in found if current] == [(place, mark)]


async def test_what_waits_is_counted_on_pages_and_in_what_changes(world: World) -> None:
    counted = '<span id="waiting-count" class="count" data-live >1<'
    assert "hidden" in re.findall(r'<span id="waiting-count"[^>]*>', await read(world, "/spend"))[0]
    await world.house.call(await world.house.running(), **PAYMENT)
    for path in ("/spend", "/executions?part=live", "/approvals/count"):
        assert counted in await read(world, path)
    assert "<title>(1) Dashboard · Preloop</title>" in await read(world, "/")


async def test_who_is_not_signed_in_learns_no_count(world: World) -> None:
    async with world.client() as http:
        assert (await http.get("/approvals/count")).status_code == 303
        assert "waiting-count" not in (await http.get("/signin")).text


def test_many_are_many() -> None:
    assert [Frame(waiting=n).count for n in (0, 7, 99, 100)] == ["", "7", "99", "99+"]
