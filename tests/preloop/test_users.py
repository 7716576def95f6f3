"""`preloop users`: who is here gets another way in."""

import pytest

from control.identity.principals import Role
from tests.preloop.terminal import Desk


async def test_another_link_signs_in_once(desk: Desk) -> None:
    admin = await desk.of(Role.ADMIN)
    done = await admin.run("users", "link", "admin@example.com", "--json")
    assert done.code == 0, done
    token = done.json["sign_in"].partition("?token=")[2]
    async with desk.world.client() as http:
        assert (await http.post("/signin", data={"token": token})).status_code == 303
    async with desk.world.client() as http:
        assert (await http.post("/signin", data={"token": token})).status_code == 401


@pytest.mark.parametrize(("role", "email", "code"), [(Role.ADMIN, "no@where", 2), (Role.OPERATOR, "a@b", 3)])
async def test_nobody_gets_a_link_by_mistake(desk: Desk, role: Role, email: str, code: int) -> None:
    asking = await desk.of(role)
    assert (await asking.run("users", "link", email)).code == code
