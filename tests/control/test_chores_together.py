"""Each chore of the clock, done by two processes at once, has its effect once."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import sqlalchemy as sa

from control import events, outbox
from control.executions import queue, storage
from control.retention import deletion
from control.retention.rules import Rules
from control.tables import approvals, checkpoints, executions
from control.tables import outbox as rows
from kit.db import Database
from tests.control.house import ACCOUNT, House
from tests.control.test_retention import NOW, run_of, told

ROUNDS = 5


async def together(house: House, twin: Database, chore: Callable[[Database], Awaitable[Any]]) -> list[Any]:
    """What each of four passes of two processes says, all begun at once."""
    said: list[Any] = []

    async def one(db: Database) -> None:
        said.append(await chore(db))

    async with anyio.create_task_group() as tasks:
        for db in (house.db, twin) * 2:
            tasks.start_soon(one, db)
    return said


async def test_a_head_is_sealed_once(house: House, twin: Database) -> None:
    for number in range(ROUNDS):
        await house.event(f"exe_{number}", number)
        await together(house, twin, events.seal)
    kept = [(row.stream, row.seq) for row in await house.db.read(sa.select(checkpoints))]
    sealed = [
        (stream, seq)
        for event in await events.read(house.db, ACCOUNT, events.SEALS)
        for stream, seq, _ in event.data["heads"]
    ]
    assert sorted(sealed) == sorted(kept) and len(kept) >= ROUNDS


async def test_what_ended_is_counted_once(house: House, twin: Database) -> None:
    for _ in range(ROUNDS):
        await run_of(house, days=1)
    assert sum(await together(house, twin, storage.count)) == ROUNDS
    found = (await storage.usage(house.db, ACCOUNT)).total
    sizes = sum(executions.c[name] for name in storage.SIZES.values())
    assert found == (await house.db.read(sa.select(sa.func.sum(sizes))))[0][0]


async def test_what_is_too_old_goes_once(house: House, twin: Database) -> None:
    its = [(await run_of(house, days=10))[0].execution_id for _ in range(ROUNDS)]
    await storage.count(house.db)
    chore = partial(deletion.delete_due, blobs=house.blobs, file=Rules(logs_days=5), now=NOW)
    assert sum(await together(house, twin, chore)) == ROUNDS
    assert [len(await told(house, id_)) for id_ in its] == [1] * ROUNDS


async def test_what_is_too_much_goes_and_no_more(house: House, twin: Database) -> None:
    its = [(await run_of(house, days=10 - number))[0].execution_id for number in range(6)]
    await storage.count(house.db)
    whole = (await storage.usage(house.db, ACCOUNT)).total
    keep = whole * 5 // 6 - 100  # what two of six hold is too much, in part
    await together(house, twin, partial(deletion.delete_due, blobs=house.blobs, file=Rules(keep=keep), now=NOW))
    gone = [bool(await told(house, id_)) for id_ in its]
    assert gone == [True, True, False, False, False, False]


async def test_a_notice_is_taken_once(house: House, twin: Database) -> None:
    def add(tx: Any) -> None:
        for number in range(ROUNDS):
            outbox.add(tx, ACCOUNT, channel="test", topic="t", target=str(number), payload={})

    await house.db.write(add)
    taken: list[str] = []

    async def take(db: Database) -> None:
        found = [await db.write(outbox.take) for _ in range(ROUNDS)]
        taken.extend(row.id for row in found if row)

    await together(house, twin, take)
    assert len(taken) == len(set(taken)) == ROUNDS
    assert {row.attempts for row in await house.db.read(sa.select(rows).where(rows.c.channel == "test"))} == {1}


async def test_a_deadline_passes_and_a_lost_run_ends_once(house: House, twin: Database) -> None:
    principal = await house.gated()
    call = await house.call(principal)
    await house.age(call, timedelta(days=2))
    await together(house, twin, lambda db: db.write(house.desk.expire))
    assert [row.status for row in await house.db.read(sa.select(approvals.c.status))] == ["expired"]
    lost = await house.running()
    long_ago = sa.update(executions).where(executions.c.id == lost.execution_id)
    await house.db.write(lambda tx: tx.execute(long_ago.values(lease_until=tx.now() - timedelta(days=1))))
    await together(house, twin, lambda db: db.write(lambda tx: queue.sweep(tx, house.lifecycle)))
    assert (await house.row(lost.execution_id)).ended_at
    for one in (principal, lost):
        kinds = [event.type for event in await events.read(house.db, ACCOUNT, one.execution_id or "")]
        assert len(kinds) == len(set(kinds))
