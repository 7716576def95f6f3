"""After links of a request were revoked nothing makes another: no retry, no reminder, no escalation, no race."""

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events, outbox
from control.approvals import links, notices
from control.approvals.notices import Failure, Notice
from control.tables import links as minted
from control.tables import outbox as queued
from tests.control.house import ACCOUNT, House

ROUNDS = 29
LATER = Failure(reason="answered 503")


async def asked(house: House) -> tuple[str, str]:
    """A waiting call and its approval."""
    call = await house.call(await house.gated(escalate="directors"))
    return call, (await house.approval(call)).id


async def attempt(house: House, failure: Failure | None = None) -> list[Notice]:
    """One attempt of every notice that is due, each of which goes like this; what they were."""
    found = []
    while row := await house.db.write(outbox.take):
        notice = await house.db.write(partial(notices.compose, row=row, public_url="http://p"))
        assert notice
        found.append(notice)
        await house.db.write(partial(house.desk.noted, sent=row, failure=failure))
    return found


async def revoke(house: House, approval: str) -> int:
    return await house.db.write(lambda tx: links.revoke(tx, ACCOUNT, approval, by="eve"))


async def alive(house: House) -> int:
    open_ = minted.c.revoked_at.is_(None)
    return int((await house.db.read(sa.select(sa.func.count()).select_from(minted).where(open_)))[0][0])


async def due_now(house: House) -> None:
    soon = sa.update(queued).where(queued.c.status == "waiting").values(next_at=queued.c.created_at)
    await house.db.write(lambda tx: tx.execute(soon))


@pytest.mark.parametrize("step", ["retry", "reminder", "escalation"])
async def test_a_later_notice_has_no_link_and_gives_the_page(house: House, step: str) -> None:
    call, approval = await asked(house)
    first = await attempt(house, LATER if step == "retry" else None)
    assert {notice.link is None for notice in first} == {False}
    assert await revoke(house, approval) == 2
    if step == "retry":
        await due_now(house)
    else:
        await house.age(call, timedelta(minutes=6 if step == "reminder" else 8))
        assert await house.db.write(house.desk.climb)
    again = await attempt(house)
    told = {notice.target for notice in again}
    assert told == ({"alice", "bob", "carol"} if step == "escalation" else {"alice", "bob"})
    assert {(notice.link, notice.page) for notice in again} == {(None, f"http://p/approvals/{approval}")}
    assert await alive(house) == 0


async def test_revoking_before_anything_was_sent_counts_too_and_is_recorded_once(house: House) -> None:
    call, approval = await asked(house)
    assert [await revoke(house, approval) for _ in range(2)] == [0, 0]
    assert {notice.link for notice in await attempt(house)} == {None}
    stream = (await house.approval(call)).execution_id
    told = [event for event in await events.read(house.db, ACCOUNT, stream) if event.type == "approval.links_revoked"]
    assert [(event.data["links"], event.data["by"]) for event in told] == [(0, "eve")]


async def test_links_of_another_request_go_on(house: House) -> None:
    _, approval = await asked(house)
    await house.call(await house.gated(), amount=7000)
    await revoke(house, approval)
    assert sorted(notice.link is None for notice in await attempt(house)) == [False, False, True, True]


async def compose_often(house: House, row: Row[Any]) -> None:
    for _ in range(4):
        await house.db.write(lambda tx: notices.compose(tx, row, ""))


async def test_a_link_under_way_while_links_are_revoked_is_not_left_open(house: House) -> None:
    principal = await house.gated()
    for number in range(ROUNDS):
        call = await house.call(principal, amount=1000 + number)
        approval, rows = (await house.approval(call)).id, []
        while row := await house.db.write(outbox.take):
            rows.append(row)
        async with anyio.create_task_group() as tasks:
            for row in rows:
                tasks.start_soon(compose_often, house, row)
            tasks.start_soon(revoke, house, approval)
        assert await alive(house) == 0
        await house.decide(call)
