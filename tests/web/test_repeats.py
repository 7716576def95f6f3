"""`Idempotency-Key` on what makes something: made once, however often it is asked for."""

import asyncio

import httpx
import pytest
import sqlalchemy as sa

from control.events import event_of
from control.identity import repeats
from control.identity.doorkeeper import Doorkeeper, Listener
from control.identity.principals import Role
from control.tables import events, users
from control.tables import repeats as stored
from kit.bus import Bus
from kit.errors import Conflict
from tests.control.house import ACCOUNT
from tests.web.world import World

AGENT = {"name": "mine", "flow": "process-payment"}
NEW = {"email": "kim@example.com", "role": "viewer"}


async def _made(world: World) -> int:
    return len(await world.house.db.read(sa.select(users.c.id).where(users.c.email == NEW["email"])))


async def _post(http: httpx.AsyncClient, key: str, body: dict[str, str]) -> httpx.Response:
    return await http.post("/api/v1/users", json=body, headers={"idempotency-key": key})


async def test_of_many_requests_with_one_key_one_makes_it(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        answers = await asyncio.gather(*(_post(http, "k1", NEW) for _ in range(8)))
        codes = sorted(answer.status_code for answer in answers)
        assert (codes, await _made(world)) == ([201, *[409] * 7], 1)
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"key_used"}


async def test_what_was_refused_leaves_its_key_free(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        wrong = await _post(http, "k1", {"email": "kim"})
        assert wrong.status_code == 422
        assert (await _post(http, "k1", NEW)).status_code == 201


async def test_a_key_that_comes_with_something_else_is_refused(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        await _post(http, "k1", NEW)
        other = await _post(http, "k1", NEW | {"email": "lee@example.com"})
        assert (other.status_code, other.json()["code"]) == (409, "key_used")
        assert "another request" in other.json()["detail"]


async def test_without_a_secret_the_first_answer_is_given_again_for_a_day(world: World) -> None:
    db = world.house.db
    assert await db.write(lambda tx: repeats.claim(tx, ACCOUNT, "k", "b")) is None
    with pytest.raises(Conflict):
        await db.write(lambda tx: repeats.claim(tx, ACCOUNT, "k", "b"))
    await db.write(lambda tx: repeats.keep(tx, "k", '{"id":"x"}'))
    assert await db.write(lambda tx: repeats.claim(tx, ACCOUNT, "k", "b")) == '{"id":"x"}'
    await db.write(lambda tx: tx.changed(sa.update(stored).values(at=tx.now() - repeats.KEPT_FOR * 2)))
    assert await db.write(lambda tx: repeats.claim(tx, ACCOUNT, "k", "b")) is None


async def test_an_enrolled_session_opens_at_the_first_use_of_its_token(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        made = (await http.post("/api/v1/tokens", json=AGENT)).json()
        assert (await http.get("/api/v1/sessions")).json()["items"] == []
        assert (await http.get("/api/v1/dashboard")).json()["active_sessions"] == 0
        keeper = Doorkeeper(world.house.db, Bus(), Listener.PEOPLE)
        for _ in range(2):
            await keeper.admit(made["token"])
        [known] = (await http.get("/api/v1/sessions")).json()["items"]
        assert (known["id"], known["opened_at"] is not None) == (made["session_id"], True)
        assert (known["flow"], "@" in known["owner"]) == ("process-payment", True)
        assert (await http.get("/api/v1/dashboard")).json()["active_sessions"] == 1
    opened = sa.select(events).where(events.c.stream == made["session_id"], events.c.type == "session.opened")
    [row] = await world.house.db.read(opened)
    told = event_of(row).data
    assert (told["flow"], told["by"]) == ("process-payment", known["owner"])


async def test_the_record_says_who_ended_a_session_and_a_token(world: World) -> None:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        made = [(await http.post("/api/v1/tokens", json=asked)).json() for asked in (AGENT, AGENT | {"name": "other"})]
        [other, _] = [one for one in (await http.get("/api/v1/tokens")).json()["items"] if one["kind"] == "enrolled"]
        assert (await http.post(f"/api/v1/sessions/{made[0]['session_id']}/revoke")).status_code == 200
        assert (await http.post(f"/api/v1/tokens/{other['id']}/revoke")).status_code == 200
    revoked = sa.select(events).where(events.c.type.in_(["session.revoked", "token.revoked"]))
    told = [event_of(row) for row in await world.house.db.read(revoked)]
    assert sorted(one.type for one in told) == ["session.revoked", "session.revoked", "token.revoked"]
    owners = {row.email for row in await world.house.db.read(sa.select(users.c.email))}
    assert {one.data["by"] for one in told} <= owners


async def test_a_test_run_s_key_is_of_one_payload(world: World) -> None:
    async with world.program(await world.token(Role.OPERATOR, "api")) as http:

        async def run(payload: object, key: str = "k") -> httpx.Response:
            path = "/api/v1/flows/process-payment/executions"
            return await http.post(path, json={"payload": payload}, headers={"idempotency-key": key})

        first = (await run({"amount": 5, "to": "a"})).json()
        again = (await run({"to": "a", "amount": 5})).json()
        assert (again["execution_id"], again["repeated"]) == (first["execution_id"], True)
        other = await run({"amount": 6, "to": "a"})
        assert (other.status_code, other.json()["code"]) == (409, "key_used")
        assert (await run({"amount": 6, "to": "a"}, "new")).json()["repeated"] is False
