"""Wake-ups between processes that share a PostgreSQL: here two databases with a bus each, over one server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from kit import db_notify
from kit.bus import Bus
from kit.db import Tx
from kit.db_notify import ALL, MOST, payloads
from kit.db_postgres import PostgresDatabase
from tests.pgbouncer import pooled
from tests.postgres import Cluster
from tests.waiting import until

LONG_S = 30.0
"""Longer than any wake-up takes: a waiter that was not woken fails by it."""


class Process:
    """A database and a bus as one process has them."""

    def __init__(self, url: str) -> None:
        self.bus = Bus()
        self.db = PostgresDatabase(url, self.bus)

    async def says(self, *topics: str) -> None:
        def wake(tx: Tx) -> None:
            for topic in topics:
                tx.wake(topic)

        await self.db.write(wake)

    async def listeners(self) -> list[int]:
        """Those backends that wait for notifications, of this database."""
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
        return [row.pid for row in await self.db.read(sa.text(asked))]


@asynccontextmanager
async def processes(*urls: str) -> AsyncIterator[list[Process]]:
    made = [Process(url) for url in urls]
    opened = [one.bus.watch("nothing says this") for one, url in zip(made, urls, strict=True) if "pooler" not in url]
    async with anyio.create_task_group() as tasks:
        for one in made:
            tasks.start_soon(one.db.hear)
        try:
            for watch in opened:  # who begins to listen looks at everything
                assert await watch.changed(LONG_S)
            yield made
        finally:
            tasks.cancel_scope.cancel()
    for one in made:
        await one.db.close()


async def joined(one: Process, other: Process) -> None:
    """Wait until what one says reaches the other."""
    with other.bus.watch("joined") as watch:

        async def heard() -> bool:
            await one.says("joined")
            return await watch.changed(0.1)

        await until(heard, LONG_S, what="a first wake-up")


async def test_a_commit_of_one_process_wakes_a_waiter_of_another(postgres_database: str) -> None:
    async with processes(postgres_database, postgres_database) as (one, other):
        with other.bus.watch("wanted") as wanted, other.bus.watch("not") as unwanted:
            await one.says("something", "wanted")
            assert await wanted.changed(LONG_S)
            assert not unwanted.pending


async def test_a_unit_that_fails_wakes_nobody(postgres_database: str) -> None:
    def fails(tx: Tx) -> None:
        tx.wake("wanted")
        raise ValueError

    async with processes(postgres_database, postgres_database) as (one, other):
        with other.bus.watch("wanted") as wanted, other.bus.watch("after") as after:
            with pytest.raises(ValueError):
                await one.db.write(fails)
            await one.says("after")
            assert await after.changed(LONG_S)
            assert not wanted.pending


async def test_a_lost_connection_is_made_again_and_wakes_everybody(postgres_database: str) -> None:
    """What was said in between is lost; so whoever waits looks."""
    async with processes(postgres_database, postgres_database) as (one, other):
        await joined(one, other)
        with other.bus.watch("said meanwhile") as watch:
            for pid in await one.listeners():
                await one.db.read(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            assert await watch.changed(LONG_S)
        await joined(one, other)


async def test_many_at_once_are_all_heard(postgres_database: str) -> None:
    names = [f"{'x' * 50}{number}" for number in range(1000)]
    async with processes(postgres_database, postgres_database) as (one, other):
        watches = [other.bus.watch(name) for name in names]
        for name in names:
            await one.says(name)
        for watch in watches:
            assert await watch.changed(LONG_S)


async def test_behind_a_transaction_pooler_it_is_said_and_all_else_works(
    postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_notify, "PROBE_S", 1.0)
    postgres_cluster.make_database("behind")
    async with pooled(postgres_cluster, "behind") as url:
        with capture_logs() as logged:
            async with processes(url, postgres_cluster.url("behind")) as (behind, direct):
                await joined(behind, direct)
                await until(lambda: "pooler" in str(logged), LONG_S, what="the warning")
                assert await written(behind, 40) == list(range(40))


async def written(one: Process, count: int) -> list[int]:
    """What is there after as many writers at once, each of which wakes somebody, beside as many readers."""
    await one.db.write(lambda tx: tx.execute(sa.text("CREATE TABLE written (number int)")))

    def write(tx: Tx, number: int) -> None:
        tx.execute(sa.text("INSERT INTO written VALUES (:number)"), {"number": number})
        tx.wake("busy")

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one.db.write, partial(write, number=number))
            tasks.start_soon(one.db.read, sa.text("SELECT 1"))
    return [row.number for row in await one.db.read(sa.text("SELECT number FROM written ORDER BY number"))]


async def test_a_reader_can_not_write_on_either(postgres_cluster: Cluster) -> None:
    postgres_cluster.make_database("read")
    async with pooled(postgres_cluster, "read") as url:
        for address in (url, postgres_cluster.url("read")):
            async with processes(address) as (one,):
                with pytest.raises(sa.exc.DBAPIError, match="read-only"):
                    await one.db.read(sa.text("CREATE TABLE t (a int)"))


@pytest.mark.parametrize("odd", ["two\nlines", "x" * MOST])
def test_a_name_that_can_not_be_sent_wakes_everybody(odd: str) -> None:
    assert list(payloads("me", ["a", odd, "b"])) == [f"me\na\n{ALL}\nb"]


def test_no_payload_is_larger_than_the_server_takes() -> None:
    names = [f"topic-{'é' * 40}-{number}" for number in range(2000)]
    sent = list(payloads("me", names))
    assert max(len(payload.encode()) for payload in sent) <= MOST
    assert [name for payload in sent for name in payload.split("\n")[1:]] == names
    assert list(payloads("me", [])) == []
