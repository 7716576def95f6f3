"""Runs whose agent listens no more while a call of theirs waits for a person."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from control import events
from control.executions import unattended
from control.executions.unattended import GONE
from control.tables import tool_calls
from kit.db import Tx
from tests.control.house import ACCOUNT, House

LONG, SHORT = 2 * GONE, GONE / 2


async def asked(house: House, call: str, ago: timedelta, attended: timedelta | None = None) -> None:
    """As if the call had been asked for, and listened for last, so long ago."""

    def unit(tx: Tx) -> None:
        when = {"asked_at": tx.now() - ago, "attended_at": tx.now() - attended if attended is not None else None}
        tx.execute(sa.update(tool_calls).where(tool_calls.c.id == call).values(when))

    await house.db.write(unit)


async def end(house: House, up: timedelta = LONG) -> int:
    """How many runs are asked to end by a process that is up for so long."""

    def unit(tx: Tx) -> int:
        since: datetime = tx.now() - up
        return unattended.end(tx, since=since)

    return await house.db.write(unit)


async def test_a_run_ends_when_nobody_listened_for_its_waiting_call_for_long(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await asked(house, call, LONG, attended=SHORT)
    assert await end(house) == 0
    await asked(house, call, LONG, attended=LONG)
    assert await end(house) == 1
    assert (await house.row(principal.execution_id)).stop_intent == "stream_cut"
    assert await end(house) == 0


async def test_one_that_was_never_listened_for_counts_from_its_asking(house: House) -> None:
    call = await house.call(await house.running())
    await asked(house, call, SHORT)
    assert await end(house) == 0
    await asked(house, call, LONG)
    assert await end(house) == 1


async def test_whoever_is_up_for_a_moment_knows_nothing_of_who_listens(house: House) -> None:
    call = await house.call(await house.running())
    await asked(house, call, LONG)
    assert await end(house, up=SHORT) == 0


async def test_to_listen_is_written_down_for_calls_that_wait(house: House) -> None:
    principal = await house.running()
    waits, ready = await house.call(principal), await house.call(principal, amount=50)
    for call in (waits, ready):
        await asked(house, call, LONG)
    await house.db.write(lambda tx: unattended.attend(tx, [waits, ready]))
    assert await end(house) == 0
    assert [(await house.call_row(call)).attended_at is not None for call in (waits, ready)] == [True, False]


async def test_a_call_that_does_not_wait_for_people_ends_nobody(house: House) -> None:
    call = await house.call(await house.running(), amount=50)
    await asked(house, call, LONG)
    assert await end(house) == 0


async def test_a_run_with_another_call_that_is_listened_for_goes_on(house: House) -> None:
    principal = await house.running()
    left, held = await house.call(principal), await house.call(principal, amount=1600)
    await asked(house, left, LONG)
    await asked(house, held, LONG, attended=SHORT)
    assert await end(house) == 0
    await asked(house, held, LONG, attended=LONG)
    assert await end(house) == 1


async def test_an_agent_that_asks_its_model_works_on(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await asked(house, call, LONG)
    await house.db.write(lambda tx: events.append(tx, ACCOUNT, principal.stream, "model.requested", call="att_1"))
    assert await end(house) == 0
