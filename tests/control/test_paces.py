"""Several processes of one database let through together what one minute allows, and little less."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
import sqlalchemy as sa

from control.paces import Rate, Shared, rates
from control.tables import paces
from kit.clock import Clock
from kit.db import Database

ACCOUNT, MOST = "acc_1", 60
SLICE = MOST // 10


class Still(Clock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


async def admitted(*each: Rate, asks: int = MOST, key: str = "ses_1") -> int:
    """How many of so many asks at each come through when all come at once."""
    waits: list[float] = []

    async def ask(rate: Rate) -> None:
        waits.append(await rate.take(ACCOUNT, key))

    async with anyio.create_task_group() as tasks:
        for rate in each:
            for _ in range(asks):
                tasks.start_soon(ask, rate)
    return waits.count(0)


async def test_two_processes_share_a_minute(db: Database, twin: Database) -> None:
    clock = Still()
    one, other = Shared(db, "model fast", MOST, clock), Shared(twin, "model fast", MOST, clock)
    assert await admitted(one, other) == MOST
    assert await one.take(ACCOUNT, "ses_1") == await other.take(ACCOUNT, "ses_1") == 30
    assert await other.take(ACCOUNT, "ses_2") == 0  # another session has a minute of its own
    clock.at += timedelta(seconds=30)
    assert await admitted(one, other) == MOST
    clock.at += timedelta(minutes=10)
    await one.take(ACCOUNT, "ses_1")
    kept = await db.read(sa.select(paces.c.minute))
    assert len(kept) == 1  # what was counted long ago is gone


async def test_what_one_process_holds_is_all_that_another_lacks(db: Database, twin: Database) -> None:
    clock = Still()
    idle, busy = Shared(db, "model fast", MOST, clock), Shared(twin, "model fast", MOST, clock)
    assert await idle.take(ACCOUNT, "ses_1") == 0
    assert await admitted(busy) == MOST - SLICE
    assert await admitted(idle) == SLICE - 1
    clock.at += timedelta(minutes=1)
    assert await idle.take(ACCOUNT, "ses_1") == 0  # what is left of a slice is not carried into the next minute
    clock.at += timedelta(minutes=1)
    assert await admitted(busy, idle) == MOST


@pytest.mark.parametrize("most", [1, 9, 11])
async def test_few_a_minute_are_cut_one_by_one(db: Database, twin: Database, most: int) -> None:
    clock = Still()
    assert await admitted(*(Shared(at, "deliveries", most, clock) for at in (db, twin)), asks=most) == most


async def test_one_process_asks_no_database(db: Database) -> None:
    alone = rates(db, shared=False)("model fast", 2)
    assert [await alone.take(ACCOUNT, "ses_1") > 0 for _ in range(3)] == [False, False, True]
    assert await db.read(sa.select(paces)) == []
