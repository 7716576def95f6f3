"""A live socket ends with the right to look."""

from datetime import timedelta

import pytest

from control.identity.principals import Role
from tests.web.ears import Door
from web import live


async def test_signing_out_closes_the_socket_at_once(door: Door) -> None:
    cookie = await door.world.token()
    async with door.open(Cookie=f"preloop={cookie}", Origin=door.url) as ear:
        await ear.watch("executions")
        async with door.world.client(cookie) as http:
            assert (await http.post("/signout")).status_code == 303
        assert await ear.closed() == 1008


async def test_a_token_that_is_revoked_and_a_person_who_is_removed_lose_their_sockets_at_once(door: Door) -> None:
    program, cookie = await door.world.token(Role.VIEWER, "api"), await door.world.token(Role.OPERATOR)
    async with (
        door.open(Authorization=f"Bearer {program}") as one,
        door.open(Cookie=f"preloop={cookie}", Origin=door.url) as other,
        door.world.program(await door.world.token(Role.ADMIN, "api")) as admin,
    ):
        for ear in (one, other):
            await ear.watch("executions")
        listed = (await admin.get("/api/v1/tokens")).json()["items"]
        [viewer] = [item["id"] for item in listed if item["owner"] == "viewer@example.com"]
        assert (await admin.post(f"/api/v1/tokens/{viewer}/revoke")).status_code == 200
        assert await one.closed() == 1008
        people = (await admin.get("/api/v1/users")).json()["items"]
        [operator] = [item["id"] for item in people if item["email"] == "operator@example.com"]
        assert (await admin.post(f"/api/v1/users/{operator}/remove")).is_success
        assert await other.closed() == 1008


async def test_a_cookie_that_expires_closes_the_socket(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STILL_S", 0.05)
    cookie = await door.world.token(lasts=timedelta(seconds=1))
    async with door.open(Cookie=f"preloop={cookie}", Origin=door.url) as ear:
        await ear.watch("executions")
        assert await ear.closed() == 1008
