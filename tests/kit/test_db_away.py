"""A server that goes and comes back: who asks waits, and hears of it when it takes too long."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
import sqlalchemy as sa

from kit.bus import Bus
from kit.db import Tx
from kit.db_postgres import PostgresDatabase, is_away
from tests.postgres import Cluster


def add(tx: Tx) -> int:
    tx.execute(sa.text("UPDATE shared SET count = count + 1"))
    return int(tx.execute(sa.text("SELECT count FROM shared")).scalar_one())


async def counted(db: PostgresDatabase) -> int:
    [row] = await db.read(sa.text("SELECT count FROM shared"))
    return int(row[0])


async def filled(postgres_own: Cluster, **more: float) -> PostgresDatabase:
    """With as many connections open as it keeps."""
    postgres_own.make_database("kept")
    db = PostgresDatabase(postgres_own.url("kept"), Bus(), **more)
    await db.write(lambda tx: tx.execute(sa.text("CREATE TABLE shared AS SELECT 0 AS count")))
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(db.read, sa.text("SELECT pg_sleep(0.1)"))
            tasks.start_soon(db.write, add)
    return db


async def test_after_a_restart_old_connections_are_nobodys_error(postgres_own: Cluster) -> None:
    db = await filled(postgres_own)
    postgres_own.stop()
    postgres_own.start()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(counted, db)
            tasks.start_soon(db.write, add)
    assert await counted(db) == 30
    await db.close()


async def test_who_asks_while_it_is_away_waits_for_it(postgres_own: Cluster) -> None:
    db = await filled(postgres_own)
    postgres_own.stop()
    found: list[int] = []

    async def look() -> None:
        found.append(await counted(db))

    async def write() -> None:
        found.append(await db.write(add))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        tasks.start_soon(write)
        await anyio.to_thread.run_sync(postgres_own.start)
    assert sorted(found) in ([10, 11], [11, 11])
    await db.close()


async def test_a_server_that_stays_away_is_told_in_time_and_who_waits_can_leave(postgres_own: Cluster) -> None:
    db = await filled(postgres_own, away_s=0.5)
    postgres_own.stop()
    each: tuple[Callable[[], Awaitable[int]], ...] = (lambda: counted(db), lambda: db.write(add))
    for asked in each:
        with pytest.raises(Exception) as lost, anyio.fail_after(20):
            await asked()
        assert is_away(lost.value)
    patient = PostgresDatabase(postgres_own.url("kept"), Bus(), away_s=600)
    with anyio.move_on_after(0.2) as left:
        await patient.write(add)
    assert left.cancelled_caught
    postgres_own.start()
    assert await counted(db) == 10
    for one in (db, patient):
        await one.close()


async def test_what_is_wrong_with_a_question_is_said_at_once(postgres_own: Cluster) -> None:
    db = await filled(postgres_own)
    with anyio.fail_after(10), pytest.raises(sa.exc.DBAPIError):
        await db.read(sa.text("SELECT nothing"))
    await db.close()
