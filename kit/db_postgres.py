"""PostgreSQL: each unit is one READ COMMITTED transaction on asyncpg, run by `run_sync`.

Serialisation failures and deadlocks (40001, 40P01) get five tries. While the server is away, restarted or failing over,
reads and units wait for it; a connection lost in COMMIT is never retried, because nobody knows whether it happened.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kit.bus import Bus
from kit.db import READ_LIMIT, Lane, Tx, Unit
from kit.db_notify import Notifier
from kit.errors import Unavailable
from kit.observe import log

T = TypeVar("T")
TRIES = 5
RETRIED = {"40001", "40P01"}
AWAY_S = 60.0
"""How long the server may be away before those who ask hear of it: a restart, a fail-over."""
AGAIN_S = 0.25
_AWAY = ("08", "57P0")
"""How codes begin of a server that goes, is gone, or is not there yet."""
CONNECTIONS = {Lane.DECISIONS: 8, Lane.BULK: 2, Lane.LATER: 2}
READERS = 8
"""Connections that read; all of them stay: one that is made for a moment costs more than many reads, most of all when
there is much to do."""


FROZEN_S = 5.0
"""How long a transaction may stand still in our hands, whose locks others wait for: a process that is frozen in the
middle of one loses it, not everybody their patience. Those of its that wait for the same row get it one after the
other, so long each."""


def open_engine(
    url: str,
    patience_s: float = 60,
    frozen_s: float = FROZEN_S,
    **more: Any,  # noqa: ANN401 - SQLAlchemy's
) -> AsyncEngine:
    """`url` is postgresql+asyncpg://…; with `?pooler=transaction` its server is a pooler that gives each transaction
    another connection, so no prepared statement outlives one. `patience_s` is for the making of a connection."""
    asked = sa.make_url(url)
    settings: dict[str, Any] = {"timeout": patience_s, "async_creator_fn": _connect}
    if asked.query.get("pooler") == "transaction":
        none_kept = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        settings |= none_kept | {"prepared_statement_name_func": _any_name}
        return create_async_engine(asked.difference_update_query(["pooler"]), connect_args=settings, **more)
    engine = create_async_engine(asked, connect_args=settings, **more)
    limit = f"SET idle_in_transaction_session_timeout = {round(frozen_s * 1000)}"
    sa.event.listen(engine.sync_engine, "connect", lambda raw, _: raw.run_async(lambda driver: driver.execute(limit)))
    return engine


def _any_name() -> str:
    return f"__preloop_{secrets.token_hex(8)}__"


async def _connect(*words: Any, **settings: Any) -> Any:  # noqa: ANN401 - asyncpg's
    """What SQLAlchemy does by itself; a server that takes nobody is told as one that is not there."""
    try:
        return await asyncpg.connect(*words, **settings)
    except asyncpg.PostgresError as refused:
        if str(refused.sqlstate).startswith(_AWAY):
            raise ConnectionRefusedError(str(refused)) from refused
        raise


def is_away(error: Exception) -> bool:
    """Is it the server that is missing, and not what was asked of it?"""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or str(getattr(error.orig, "sqlstate", "")).startswith(_AWAY)
    return isinstance(error, OSError)


class PostgresDatabase:
    """A server the user runs. `url` is that of `open_engine`."""

    def __init__(self, url: str, bus: Bus, *, away_s: float = AWAY_S) -> None:
        self._bus = bus
        self._away_s = away_s
        self._engine = open_engine(url, pool_size=10, max_overflow=0)
        self._reader = open_engine(url, pool_size=READERS, max_overflow=0).execution_options(postgresql_readonly=True)
        self._notifier = Notifier(self._engine, open_engine(url, poolclass=NullPool, patience_s=5), bus)
        self._room = {lane: anyio.Semaphore(limit) for lane, limit in CONNECTIONS.items()}

    async def write(self, unit: Unit[T], *, lane: Lane = Lane.DECISIONS) -> T:
        async with self._room[lane]:
            value, wakes = await self._patiently(partial(self._shielded, unit))
        for topic in wakes:
            self._bus.publish(topic)
        self._notifier.tell(wakes)
        return value

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return await self._patiently(partial(self._read, statement, parameters))

    async def _read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        async with self._reader.connect() as connection:
            return (await connection.execute(statement, parameters)).fetchmany(READ_LIMIT)

    async def _patiently(self, asked: Callable[[], Awaitable[T]]) -> T:
        """What is asked, once the server is there; at once where only the connections of before are gone."""
        until, told = anyio.current_time() + self._away_s, False
        while True:
            try:
                answer = await asked()
            except Exception as error:
                if not is_away(error) or anyio.current_time() >= until:
                    raise
                if not told:
                    log.warning("the database is away, and waited for", reason=str(error).split("\n")[0])
                told = True
            else:
                return answer
            await anyio.sleep(AGAIN_S)

    async def hear(self) -> None:
        await self._notifier.run()

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._engine.dispose()
            await self._reader.dispose()

    async def _shielded(self, unit: Unit[T]) -> tuple[T, list[str]]:
        with anyio.CancelScope(shield=True):
            outcome = await self._tries(unit)
        return outcome

    async def _tries(self, unit: Unit[T]) -> tuple[T, list[str]]:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._engine.connect() as connection:
                    return await _transaction(connection, unit)
            except DBAPIError as error:
                if attempt == TRIES or getattr(error.orig, "sqlstate", None) not in RETRIED:
                    raise
        raise AssertionError("unreachable")


async def _transaction(connection: AsyncConnection, unit: Unit[T]) -> tuple[T, list[str]]:
    def run(sync: Connection) -> tuple[T, list[str]]:
        return Tx(sync).complete(unit)

    transaction = await connection.begin()
    try:
        outcome = await connection.run_sync(run)
    except BaseException:
        with suppress(DBAPIError):  # of a connection that is gone
            await transaction.rollback()
        raise
    try:
        await transaction.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unavailable(
            "commit_unknown",
            "The connection to the database was lost while committing; whether it happened is not known.",
            "Look at the record before you try again.",
        ) from error
    return outcome
