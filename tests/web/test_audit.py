"""The record through REST: everything once, newest first, filtered, in pages, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.identity.principals import Role
from tests.browser.scene import Scene, set_scene
from tests.web.world import World, open_world


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = request.getfixturevalue("postgres_tables") if request.param == "postgres" else None
    async with open_world(tmp_path, url=url) as opened:
        yield opened


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def ask(world: World, **query: Any) -> httpx.Response:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        return await http.get("/api/v1/audit", params=query)


async def everything(world: World, limit: int, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        cursor = ""
        while cursor is not None:
            page = (await http.get("/api/v1/audit", params=query | {"limit": limit, "cursor": cursor})).json()
            found += page["items"]
            cursor = page["next"]
    return found


async def test_the_record_is_told_newest_first_and_once_over_its_pages(world: World, scene: Scene) -> None:
    whole = await everything(world, 200)
    pages = await everything(world, 3)
    keys = [(event["at"], event["stream"], event["seq"]) for event in pages]
    assert keys == sorted(set(keys), reverse=True)
    assert keys[-len(whole) :] == [(event["at"], event["stream"], event["seq"]) for event in whole]
    assert {"account", *scene.runs.values()} <= {event["stream"] for event in whole}
    assert {"execution.created", "approval.asked", "user.added"} <= {event["type"] for event in whole}


async def test_one_stream_is_in_the_order_of_its_numbers(world: World, scene: Scene) -> None:
    found = await everything(world, 2, stream=scene.runs["SUCCEEDED"])
    assert [event["seq"] for event in found] == list(range(len(found), 0, -1))
    assert found[-1]["type"] == "execution.created"


async def test_type_and_time_filter(world: World, scene: Scene) -> None:
    made = await everything(world, 4, type="execution.created")
    assert sorted(event["stream"] for event in made) == sorted(scene.runs.values())
    assert (await ask(world, type="no.such")).json() == {"items": [], "next": None}
    assert (await ask(world, since="2099-01-01")).json()["items"] == []
    assert len((await ask(world, since=made[0]["at"], type="execution.created")).json()["items"]) == 1


@pytest.mark.parametrize(
    "cursor",
    ["x", "WyIiLCIiLCIiXQ", "WyIyMDI2LTAxLTAxIiwiYSIsIjEiXQ", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzA5OjAwIiwiYSIsIjEiXQ"],
)
async def test_a_cursor_of_nobody_is_refused(world: World, cursor: str) -> None:
    answer = await ask(world, cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_the_record_is_for_admins(world: World, role: Role) -> None:
    async with world.program(await world.token(role, "api")) as http:
        assert (await http.get("/api/v1/audit")).status_code == 403
