"""Models through REST: as the gateway of this process knows them, or a clear word that there is none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from control.identity.principals import Role
from gateway.checks import Standing
from tests.web.world import World, open_world

WELL = Standing(
    alias="default",
    place=0,
    order=0,
    weight=1,
    provider="openai",
    model="gpt-9",
    dialects=("responses", "chat"),
    priced=True,
    state="closed",
    answered=3,
    failed=0,
    last_error=None,
    last_error_at=None,
)


class Two:
    """Upstreams of which one fails when it is asked."""

    def standings(self) -> Sequence[Standing]:
        return [WELL, replace(WELL, place=1, state="open")]

    async def check(self) -> Sequence[Standing]:
        bad = replace(WELL, place=1, probe="failed", probe_error="It refuses the key.")
        return [replace(WELL, probe="ok"), bad]


async def test_upstreams_are_listed_and_asked(tmp_path: Path) -> None:
    async with open_world(tmp_path, upstreams=Two()) as world:
        async with world.program(await world.token(Role.OPERATOR, "api")) as http:
            listed = (await http.get("/api/v1/models")).json()["items"]
            asked = (await http.post("/api/v1/models/check")).json()["items"]
        async with world.program(await world.token(Role.VIEWER, "api")) as http:
            assert (await http.post("/api/v1/models/check")).status_code == 403
    assert [(one["model"], one["state"], one["probe"]) for one in listed] == [
        ("gpt-9", "closed", None),
        ("gpt-9", "open", None),
    ]
    assert [one["probe_error"] for one in asked] == [None, "It refuses the key."]


async def test_the_list_goes_on_page_by_page(tmp_path: Path) -> None:
    async with (
        open_world(tmp_path, upstreams=Two()) as world,
        world.program(await world.token(Role.VIEWER, "api")) as http,
    ):
        first = (await http.get("/api/v1/models?limit=1")).json()
        second = (await http.get(f"/api/v1/models?limit=1&cursor={first['next']}")).json()
    assert [(page["items"][0]["place"], bool(page["next"])) for page in (first, second)] == [(0, True), (1, False)]


async def test_a_process_without_a_gateway_says_so(world: World) -> None:
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        answer = await http.get("/api/v1/models")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_gateway")
