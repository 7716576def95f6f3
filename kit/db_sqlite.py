"""SQLite: one writer thread per process takes the waiting units in groups and commits once for each group.

BEGIN IMMEDIATE, a savepoint per unit (a failing unit rolls back alone), one COMMIT with synchronous FULL, and only then
the answers and the wake-ups. Decisions go before bulk; bulk takes at most 5 ms of a group.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from kit.bus import Bus
from kit.db import READ_LIMIT, Lane, Tx, Unit
from kit.errors import Unavailable
from kit.observe import log

T = TypeVar("T")
GROUP = 64
BULK_SLICE_S = 0.005
READERS = 4
"""Threads that read, each with a connection: one hop a read, where a driver for asyncio makes five."""
URGENT = (Lane.DECISIONS, Lane.BULK)
LATER_S = 0.02
"""How long a note for later waits for somebody else's commit."""
WAITING = {Lane.DECISIONS: 4096, Lane.BULK: 256, Lane.LATER: 4096}
"""Units that may wait per lane; a caller beyond that waits before it enqueues."""


@dataclass(slots=True, eq=False)
class _Job:
    """A unit that waits for the writer. What came of it goes back to the loop that waits, once for a whole group."""

    unit: Unit[Any]
    answer: "asyncio.Future[tuple[Any, list[str]]]"
    outcome: tuple[Any, list[str]] = (None, [])
    error: Exception | None = None

    def settle(self) -> None:
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.outcome)


class SqliteDatabase:
    """A database file in the data folder."""

    def __init__(self, path: Path, bus: Bus) -> None:
        self._bus = bus
        self._engine = sa.create_engine(
            f"sqlite:///{path}", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
        )
        sa.event.listen(self._engine, "connect", _pragmas)
        self._reader = sa.create_engine(
            f"sqlite:///{path}", pool_size=READERS, connect_args={"check_same_thread": False}
        ).execution_options(isolation_level="AUTOCOMMIT")
        sa.event.listen(self._reader, "connect", _reader_pragmas)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._lanes: dict[Lane, queue.SimpleQueue[_Job]] = {lane: queue.SimpleQueue() for lane in Lane}
        self._room = {lane: anyio.Semaphore(limit, fast_acquire=True) for lane, limit in WAITING.items()}
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, unit: Unit[T], *, lane: Lane = Lane.DECISIONS) -> T:
        async with self._room[lane]:
            if self._closing:
                raise Unavailable("database_closed", "The database is closing.", "Try again in a moment.")
            loop = asyncio.get_running_loop()
            job = _Job(unit, loop.create_future())
            self._lanes[lane].put(job)
            if lane is Lane.LATER:
                loop.call_later(LATER_S, self._ready.put, None)
            else:
                self._ready.put(None)
            with anyio.CancelScope(shield=True):
                value, wakes = await job.answer
        for topic in wakes:
            self._bus.publish(topic)
        return value  # type: ignore[no-any-return]

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return await asyncio.wrap_future(self._readers.submit(self._read, statement, parameters))

    def _read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        with self._reader.connect() as connection:
            return connection.execute(statement, parameters).fetchmany(READ_LIMIT)

    async def hear(self) -> None:
        await anyio.sleep_forever()

    async def close(self) -> None:
        self._closing = True
        self._ready.put(None)
        with anyio.CancelScope(shield=True):
            await asyncio.to_thread(self._thread.join)
            await asyncio.to_thread(self._readers.shutdown)
        self._reader.dispose()
        self._engine.dispose()

    def _work(self) -> None:
        """The writer thread. Should it ever die, whoever waits is told, and nobody waits again."""
        try:
            with self._engine.connect() as connection:  # "autocommit": it is we who say BEGIN and COMMIT
                self._serve(connection.execution_options(isolation_level="AUTOCOMMIT"))
        except Exception as error:
            log.exception("the database writer stopped")
            self._closing = True
            _answer(list(self._group()), error)

    def _serve(self, connection: Connection) -> None:
        while True:
            self._ready.get()
            lanes = list(self._lanes.values())
            while any(not lane.empty() for lane in lanes):
                self._commit(connection)
                lanes = list(self._lanes.values()) if self._closing else [self._lanes[lane] for lane in URGENT]
            if self._closing:
                return

    def _group(self) -> Iterator[_Job]:
        """Up to 64 units: the decisions that wait, then bulk for at most 5 ms."""
        room = GROUP
        for lane in Lane:
            until = time.monotonic() + (BULK_SLICE_S if lane is Lane.BULK else 60)
            while room and time.monotonic() < until and not self._lanes[lane].empty():
                room -= 1
                yield self._lanes[lane].get_nowait()

    def _commit(self, connection: Connection) -> None:
        jobs: list[_Job] = []
        driver: Any = connection.connection.driver_connection  # five times faster than SQLAlchemy for these few words
        try:
            driver.execute("BEGIN IMMEDIATE")
            try:
                for job in self._group():
                    jobs.append(job)
                    _run(connection, driver, job)
                driver.execute("COMMIT")
            except BaseException:
                _roll_back(driver)
                raise
        except Exception as error:  # no transaction could begin, or the commit failed: none of these happened
            _answer(jobs or list(self._group()), error)
            return
        _answer(jobs)


def _answer(jobs: Sequence[_Job], error: Exception | None = None) -> None:
    """Tell those who wait; after a failed commit all of them, in their own loop."""
    waiting: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if error is not None and job.error is None:
            job.error = _failed(error)
        waiting.setdefault(job.answer.get_loop(), []).append(job)
    for loop, its in waiting.items():
        with contextlib.suppress(RuntimeError):  # a loop that is closed waits for nothing
            loop.call_soon_threadsafe(_settle, its)


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if not job.answer.done():
            job.settle()


def _run(connection: Connection, driver: sqlite3.Connection, job: _Job) -> None:
    """One unit in its savepoint; a failure is its own caller's alone."""
    driver.execute("SAVEPOINT unit")
    try:
        job.outcome = Tx(connection).complete(job.unit)
    except Exception as error:
        job.error = error
        driver.execute("ROLLBACK TO unit")
    driver.execute("RELEASE unit")


def _roll_back(driver: sqlite3.Connection) -> None:
    """After a failed COMMIT; a transaction that SQLite has ended by itself is over already."""
    with contextlib.suppress(sqlite3.Error):
        driver.execute("ROLLBACK")


def _failed(error: BaseException) -> Exception:
    fault = Unavailable(
        "database_write_failed", f"The database could not commit: {error}.", "Is the disk full or the folder read-only?"
    )
    fault.__cause__ = error
    return fault


def _pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DB-API connection
    connection.isolation_level = None  # SQLAlchemy says when a transaction begins, not the driver
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _reader_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DB-API connection
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "query_only=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
