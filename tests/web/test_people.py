"""People and their tokens: invited once, changed at once, gone at once; and one's own password."""

import re
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from control import events
from control.identity import accounts, sessions
from control.identity.charter import Charter
from control.identity.principals import Role
from control.tables import tokens, users
from kit.db import Tx
from tests.control.house import ACCOUNT
from tests.web.world import World

WORDS = "four words will do"


async def user_id(world: World, email: str) -> str:
    return str((await world.house.db.read(sa.select(users.c.id).where(users.c.email == email)))[0][0])


async def told(world: World, type_: str) -> list[dict[str, object]]:
    return [e.data for e in await events.read(world.house.db, ACCOUNT, events.ACCOUNT) if e.type == type_]


def typed(html: str, name: str) -> str:
    """What a field of a form holds."""
    hit = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', html)
    assert hit, name
    return hit[1]


def link_in(html: str) -> str:
    return html.split("/signin?token=")[1].split("<")[0]


async def test_who_is_invited_signs_in_once_and_only_by_the_newest_link(world: World) -> None:
    async with world.client(await world.token()) as http:
        made = await http.post("/settings/people", data={"email": "dora@example.com", "role": "operator"})
        assert "dora@example.com" in made.text
        first, dora = link_in(made.text), await user_id(world, "dora@example.com")
        assert first not in (await http.get("/settings/people")).text
        second = link_in((await http.post(f"/settings/people/{dora}/link")).text)
    async with world.client() as http:
        assert (await http.post("/signin", data={"token": first})).status_code == 401
        assert (await http.post("/signin", data={"token": second})).status_code == 303
        again = await http.post("/signin", data={"token": second})
        assert "preloop users link" in again.text
        assert "operator" in (await http.get("/settings")).text


async def test_a_wrong_invitation_stays_in_the_form(world: World) -> None:
    async with world.client(await world.token()) as http:
        wrong = await http.post("/settings/people", data={"email": "nobody", "role": "approver"})
        again = await http.post("/settings/people", data={"email": "admin@example.com", "role": "viewer"})
    assert (wrong.status_code, typed(wrong.text, "email")) == (422, "nobody")
    assert "is not an e-mail address" in wrong.text
    assert '<option value="approver" selected>' in wrong.text
    assert "There is a user admin@example.com already" in again.text


async def test_another_role_holds_from_the_next_request_on(world: World) -> None:
    cookie = await world.token(Role.OPERATOR)
    async with world.client(await world.token()) as http:
        path = f"/settings/people/{await user_id(world, 'operator@example.com')}"
        assert (await http.post(path, data={"role": "viewer"})).headers["location"] == "/settings/people"
    async with world.client(cookie) as http:
        assert (await http.get("/settings/tokens")).status_code == 403
    assert [(its["was"], its["role"], its["by"]) for its in await told(world, "user.changed")] == [
        ("operator", "viewer", "admin@example.com")
    ]


async def test_who_is_removed_is_nobody_at_once_and_their_agents_end(world: World) -> None:
    cookie, program = await world.token(Role.OPERATOR), await world.token(Role.OPERATOR, "api")
    theirs, charter = await user_id(world, "operator@example.com"), Charter(flow=None, tools=(), models=())

    def enroll(tx: Tx) -> str:
        until = tx.now() + timedelta(hours=1)
        return sessions.enroll(tx, ACCOUNT, name="x", charter=charter, until=until, owner=theirs)[0]

    session = await world.house.db.write(enroll)
    async with world.client(await world.token()) as http:
        await http.post(f"/settings/people/{theirs}", data={"remove": "1"})
    async with world.client(cookie) as http:
        assert (await http.get("/")).status_code == 303
    async with world.program(program) as http:
        assert (await http.get("/api/v1/executions")).status_code == 401
    kept = await world.house.db.read(sa.select(tokens).where(tokens.c.session_id == session))
    assert all(row.revoked_at for row in kept)
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        assert (await http.get(f"/api/v1/sessions/{session}")).json()["revoked_at"]
    assert [its["email"] for its in await told(world, "user.removed")] == ["operator@example.com"]


@pytest.mark.parametrize("fields", [{"role": "viewer"}, {"remove": "1"}])
async def test_the_last_admin_stays_one(world: World, fields: dict[str, str]) -> None:
    async with world.client(await world.token()) as http:
        path = f"/settings/people/{await user_id(world, 'admin@example.com')}"
        refused = await http.post(path, data=fields)
        assert (refused.status_code, "This is the last admin" in refused.text) == (409, True)
        assert (await http.get("/settings/people")).status_code == 200


@pytest.mark.parametrize("role", [Role.VIEWER, Role.APPROVER, Role.OPERATOR])
async def test_only_an_admin_sees_and_changes_people_and_the_account(world: World, role: Role) -> None:
    cookie, admin = await world.token(role), await world.token()
    someone = await user_id(world, "admin@example.com")
    async with world.client(cookie) as http:
        asked = [await http.get(path) for path in ("/settings/people", "/audit")]
        paths = ("people", f"people/{someone}", f"people/{someone}/link", "retention", "account")
        asked += [await http.post(f"/settings/{path}", data={"remove": "1", "plan": "free"}) for path in paths]
        own = await http.get("/settings")
    assert {answer.status_code for answer in asked} == {403}
    assert (own.status_code, "Execution Retention" in own.text, "an admin’s to see" in own.text) == (200, False, True)
    async with world.client(admin) as http:
        assert (await http.get("/")).status_code == 200


async def test_a_password_is_set_then_changed_by_who_knows_it_and_ends_other_browsers(world: World) -> None:
    here, there = await world.token(Role.VIEWER), await world.token(Role.VIEWER)
    async with world.client(here) as http:
        short = await http.post("/settings/password", data={"new": "short"})
        assert (short.status_code, "12 to 200 characters" in short.text) == (422, True)
        assert (await http.post("/settings/password", data={"new": WORDS})).status_code == 303
        wrong = await http.post("/settings/password", data={"old": "another", "new": WORDS + "!"})
        assert (wrong.status_code, "not the password you have" in wrong.text) == (401, True)
        assert WORDS not in wrong.text
        assert (await http.get("/settings")).status_code == 200
    async with world.client(there) as http:
        assert (await http.get("/settings")).status_code == 303
    await accounts.by_password(world.house.db, ACCOUNT, "viewer@example.com", WORDS)


async def test_a_program_does_not_change_how_its_person_signs_in(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = await http.post("/settings/password", content=b"new=four+words+will+do", headers=form)
    assert (answer.status_code, answer.json()["code"]) == (403, "cookie_needed")


async def test_a_token_is_shown_once_and_ends_at_a_press(world: World) -> None:
    async with world.client(await world.token(Role.OPERATOR)) as http:
        made = await http.post("/settings/tokens", data={"name": "nightly", "flow": "", "days": "7"})
        clear = "pla_" + made.text.split("pla_")[1].split("<")[0]
        page = (await http.get("/settings/tokens")).text
        assert ("nightly" in page, clear in page) == (True, False)
        assert await status(world, clear) == 200
        token = page.split("/settings/tokens/")[1].split("/revoke")[0]
        await http.post(f"/settings/tokens/{token}/revoke")
        wrong = await http.post("/settings/tokens", data={"name": "x", "days": "9999"})
        unknown = await http.post("/settings/tokens", data={"name": "x", "days": "7", "flow": "none-such"})
    assert await status(world, clear) == 401
    assert (wrong.status_code, "1 to 365 days" in wrong.text) == (422, True)
    assert (unknown.status_code, typed(unknown.text, "flow")) == (404, "none-such")


async def test_whoever_is_no_admin_sees_and_ends_only_their_own_tokens(world: World) -> None:
    for role in (Role.ADMIN, Role.OPERATOR):
        async with world.client(await world.token(role)) as http:
            await http.post("/settings/tokens", data={"name": f"of {role.value}", "flow": "", "days": "7"})
    async with world.client(await world.token(Role.ADMIN)) as http:
        page = (await http.get("/settings/tokens")).text
        items = (await http.get("/api/v1/tokens")).json()["items"]
    assert {one["name"]: one["owner"] for one in items} == {
        "of admin": "admin@example.com",
        "of operator": "operator@example.com",
    }
    assert "operator@example.com" in page and "Owner" in page
    [admin_s] = [one["id"] for one in items if one["name"] == "of admin"]
    async with world.client(await world.token(Role.OPERATOR)) as http:
        page = (await http.get("/settings/tokens")).text
        assert ("of operator" in page, "of admin" in page, "Owner" in page) == (True, False, False)
        assert (await http.post(f"/api/v1/tokens/{admin_s}/revoke")).json()["code"] == "token_unknown"
        assert (await http.post(f"/settings/tokens/{admin_s}/revoke")).status_code == 404
    async with world.client(await world.token(Role.ADMIN)) as http:
        assert not [one for one in (await http.get("/api/v1/tokens")).json()["items"] if one["revoked_at"]]


async def test_an_approver_whom_no_flow_can_ask_is_told_apart(world: World) -> None:
    async with world.client(await world.token(Role.ADMIN)) as http:
        await http.post("/settings/people", data={"email": "Bob@example.com", "role": "approver"})
        await http.post("/settings/people", data={"email": "zoe@example.com", "role": "approver"})
        rows = (await http.get("/settings/people")).text.split("<tr>")
    said = {row.split("<strong>")[1].split("<")[0]: row for row in rows if "<strong>" in row}
    assert "asked as approver bob" in said["Bob@example.com"]
    assert "no approver in preloop.toml has this address" in said["zoe@example.com"]
    assert "asked" not in said["admin@example.com"]


async def status(world: World, clear: str) -> int:
    async with world.program(clear) as http:
        answer: httpx.Response = await http.get("/api/v1/executions")
    return answer.status_code
