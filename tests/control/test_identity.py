"""Whose token this is, once, on which listener, and for how long."""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa
from anyio.abc import TaskGroup

from control.identity import accounts, doorkeeper, sessions
from control.identity.charter import Charter
from control.identity.doorkeeper import Doorkeeper, Listener
from control.identity.principals import AUDIENCE, Role
from control.tables import sessions as table
from control.tables import tokens as issued
from kit import tokens
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Conflict, Fault, Unauthorized
from tests.control.house import ACCOUNT, House
from tests.waiting import until

CHARTER = Charter(flow=None, tools=(), models=("default",))


async def opened(house: House, bootstrap_hash: str | None = None) -> str:
    def unit(tx: Tx) -> str:
        return sessions.open_session(
            tx,
            ACCOUNT,
            kind="execution",
            principal="test",
            charter=CHARTER,
            alive_until=tx.now() + timedelta(minutes=5),
            bootstrap_hash=bootstrap_hash,
        )

    return await house.db.write(unit)


async def test_of_many_exchanges_of_one_bootstrap_secret_one_gets_the_session(house: House) -> None:
    secret, hash_ = tokens.mint("plb")
    session_id = await opened(house, hash_)
    got: list[str] = []

    async def exchange() -> None:
        try:
            got.append((await house.db.write(lambda tx: sessions.exchange(tx, secret))).id)
        except Conflict:
            got.append("refused")

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(exchange)
    assert sorted(got) == ["refused"] * 9 + [session_id]


async def test_whoever_spent_a_bootstrap_secret_may_ask_again_by_their_key_and_nobody_else(house: House) -> None:
    secret, hash_ = tokens.mint("plb")
    session_id = await opened(house, hash_)
    for _ in range(2):  # the first answer was lost
        assert (await house.db.write(lambda tx: sessions.exchange(tx, secret, "mine"))).id == session_id
    for other in ("theirs", "", None):
        with pytest.raises(Conflict):
            await house.db.write(lambda tx: sessions.exchange(tx, secret, other))  # noqa: B023 - run at once
    await house.db.write(lambda tx: sessions.revoke(tx, session_id))
    with pytest.raises(Conflict):
        await house.db.write(lambda tx: sessions.exchange(tx, secret, "mine"))


async def test_a_secret_spent_without_a_key_is_given_to_nobody_again(house: House) -> None:
    secret, hash_ = tokens.mint("plb")
    await opened(house, hash_)
    await house.db.write(lambda tx: sessions.exchange(tx, secret))
    for key in ("", None, "mine"):
        with pytest.raises(Conflict):
            await house.db.write(lambda tx: sessions.exchange(tx, secret, key))  # noqa: B023 - run at once


async def test_a_bootstrap_secret_of_a_revoked_session_opens_nothing(house: House) -> None:
    secret, hash_ = tokens.mint("plb")
    session_id = await opened(house, hash_)
    await house.db.write(lambda tx: sessions.revoke(tx, session_id))
    with pytest.raises(Conflict):
        await house.db.write(lambda tx: sessions.exchange(tx, secret))
    with pytest.raises(Unauthorized):
        await house.db.write(lambda tx: sessions.exchange(tx, "plb_guessed"))


async def test_each_listener_takes_its_own_tokens_only(house: House, tmp_path: Path) -> None:
    signer = tokens.Signer.open(tmp_path / "signing.pem")
    await house.db.write(lambda tx: sessions.publish_key(tx, ACCOUNT, signer))
    session_id = await opened(house)

    def enroll(tx: Tx) -> str:
        return sessions.enroll(tx, ACCOUNT, name="mine", charter=CHARTER, until=tx.now() + timedelta(days=1))[1]

    enrolled = await house.db.write(enroll)
    until = (await house.db.read(sa.select(table.c.alive_until).where(table.c.id == session_id)))[0].alive_until
    runtime = signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)
    people = Doorkeeper(house.db, house.bus, Listener.PEOPLE)
    containers = Doorkeeper(house.db, house.bus, Listener.CONTAINERS)
    assert (await containers.admit(runtime)).session_id == session_id
    assert (await people.admit(enrolled)).name == "mine"
    other = signer.sign(subject=session_id, audience="preloop:elsewhere", expires_at=until)
    stranger = tokens.Signer.open(tmp_path / "stranger.pem").sign(
        subject=session_id, audience=AUDIENCE, expires_at=until
    )
    past = signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until - timedelta(hours=1))
    for door, token in (
        (people, runtime),
        (containers, enrolled),
        (containers, other),
        (containers, stranger),
        (containers, past),
        (people, "ple_guessed"),
    ):
        with pytest.raises(Unauthorized):
            await door.admit(token)


async def test_the_token_of_an_agent_whose_session_was_ended_is_listed_as_ended(house: House) -> None:
    def enroll(tx: Tx, name: str) -> str:
        return sessions.enroll(tx, ACCOUNT, name=name, charter=CHARTER, until=tx.now() + timedelta(days=1))[0]

    ended, other = [await house.db.write(partial(enroll, name=name)) for name in ("ended", "other")]
    await house.db.write(lambda tx: sessions.revoke(tx, ended, by="admin@example.com"))
    rows = await house.db.read(sa.select(issued.c.session_id, issued.c.revoked_at))
    assert {row.session_id: row.revoked_at is not None for row in rows} == {ended: True, other: False}


async def test_a_revoked_session_is_refused_at_once_in_the_same_process(house: House, tmp_path: Path) -> None:
    signer = tokens.Signer.open(tmp_path / "signing.pem")
    await house.db.write(lambda tx: sessions.publish_key(tx, ACCOUNT, signer))
    session_id = await opened(house)
    until = (await house.db.read(sa.select(table.c.alive_until).where(table.c.id == session_id)))[0].alive_until
    runtime = signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)
    door = Doorkeeper(house.db, house.bus, Listener.CONTAINERS)
    await door.admit(runtime)
    await house.db.write(lambda tx: sessions.revoke(tx, session_id))
    with pytest.raises(Unauthorized, match="ended"):
        await door.admit(runtime)
    assert not await house.db.write(lambda tx: sessions.revoke(tx, session_id))


async def test_a_revoked_token_stops_here_at_its_next_call_and_elsewhere_within_a_second(
    house: House, twin: Database
) -> None:
    def enroll(tx: Tx) -> tuple[str, str]:
        return sessions.enroll(tx, ACCOUNT, name="mine", charter=CHARTER, until=tx.now() + timedelta(days=1))

    session_id, token = await house.db.write(enroll)
    here, elsewhere = (Doorkeeper(db, bus, Listener.PEOPLE) for db, bus in ((house.db, house.bus), (twin, Bus())))
    assert (await here.admit(token)).session_id == (await elsewhere.admit(token)).session_id == session_id
    [row] = await house.db.read(sa.select(issued.c.id).where(issued.c.session_id == session_id))
    await house.db.write(lambda tx: sessions.revoke_token(tx, ACCOUNT, row.id, by="test"))
    revoked = time.monotonic()
    with pytest.raises(Unauthorized):
        await here.admit(token)

    async def refused() -> bool:
        try:
            await elsewhere.admit(token)
        except Unauthorized:
            return True
        return False

    await until(refused, what="the end of a token elsewhere")
    assert time.monotonic() - revoked < doorkeeper.FRESH_S + 0.5


async def test_many_who_ask_for_one_token_at_once_hear_the_same_also_when_the_first_gives_up(
    house: House, tmp_path: Path
) -> None:
    signer = tokens.Signer.open(tmp_path / "signing.pem")
    await house.db.write(lambda tx: sessions.publish_key(tx, ACCOUNT, signer))
    session_id = await opened(house)
    until = (await house.db.read(sa.select(table.c.alive_until).where(table.c.id == session_id)))[0].alive_until
    runtime = signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)
    door = Doorkeeper(house.db, house.bus, Listener.CONTAINERS)
    heard: list[str] = []

    async def ask(token: str) -> None:
        try:
            heard.append((await door.admit(token)).session_id)
        except Unauthorized as fault:
            heard.append(fault.code)

    for token, answer in ((runtime, session_id), ("guessed", "token_invalid")):
        heard.clear()
        async with anyio.create_task_group() as tasks:
            first = beginning(tasks, ask, token)
            await anyio.lowlevel.checkpoint()
            for _ in range(20):
                tasks.start_soon(ask, token)
            await anyio.lowlevel.checkpoint()
            first.cancel()
        assert (set(heard), len(heard) >= 20) == ({answer}, True)


def beginning(tasks: TaskGroup, ask: Callable[[str], Awaitable[None]], token: str) -> anyio.CancelScope:
    """Somebody who has begun to ask, and may be cancelled."""
    scope = anyio.CancelScope()

    async def begin() -> None:
        with scope:
            await ask(token)

    tasks.start_soon(begin)
    return scope


async def test_a_sign_in_link_works_once_and_each_kind_of_token_is_its_own(house: House) -> None:
    user = await house.db.write(
        lambda tx: accounts.add_user(tx, ACCOUNT, email="a@example.com", name="A", role=Role.VIEWER, password="open")
    )
    link = await house.db.write(lambda tx: accounts.issue(tx, user, "sign_in", lasts=accounts.SIGN_IN_FOR))
    cookie = await house.db.write(lambda tx: accounts.redeem(tx, link))
    with pytest.raises(Unauthorized):
        await house.db.write(lambda tx: accounts.redeem(tx, link))
    assert (await accounts.person(house.db, cookie, "cookie")).email == "a@example.com"
    for clear, kind in ((cookie, "api"), (link, "cookie"), ("plc_guessed", "cookie")):
        with pytest.raises(Unauthorized):
            await accounts.person(house.db, clear, kind)
    assert await accounts.by_password(house.db, ACCOUNT, "a@example.com", "open")
    for email, password in (("a@example.com", "wrong"), ("nobody@example.com", "open")):
        with pytest.raises(Fault, match="do not match"):
            await accounts.by_password(house.db, ACCOUNT, email, password)
