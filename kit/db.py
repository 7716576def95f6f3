"""One door to write, one pool to read.

A write is a *unit*: a synchronous function `(tx) -> value`, so nothing can be awaited inside a transaction. The two
stores behind `Database` are `kit/db_sqlite` and `kit/db_postgres`; this file is what callers see: `Tx`, lanes, column
types. It knows no table.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, CursorResult, Dialect, Row
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator

from kit.prepared import Prepared, Ran

T = TypeVar("T")
READ_LIMIT = 500
"""Rows one read may return; pages are made of these."""


class Lane(StrEnum):
    DECISIONS = "decisions"  # what somebody waits for: claims, approvals, moves
    BULK = "bulk"  # log chunks and ledger flushes: many, and none in a hurry
    LATER = "later"  # notes that nobody waits for: they go with the next group, or within a moment


class UtcTime(TypeDecorator[datetime]):
    """An aware moment in UTC, with microseconds, on both databases. A naive one is a programming error."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _utc(value)

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ANN401 - SQLAlchemy's
        return _text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time without a zone")
    return value.astimezone(UTC)


def _text(value: datetime | None) -> str | None:
    """As SQLAlchemy writes it for SQLite, at a fifth of the price."""
    return None if value is None else _utc(value).isoformat(" ", "microseconds")[:26]


class octets(GenericFunction[int]):
    """How many bytes a text takes in UTF-8."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(octets, "sqlite")
def _octets_lite(element: octets, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"length(CAST({compiler.process(element.clauses, **more)} AS BLOB))"


@compiles(octets, "postgresql")
def _octets(element: octets, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    return f"octet_length({compiler.process(element.clauses, **more)})"


class millis(GenericFunction[int]):
    """Whole milliseconds from one moment to another."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(millis, "sqlite")
def _millis_lite(element: millis, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    since, until = (f"julianday({compiler.process(clause, **more)})" for clause in element.clauses)
    return f"CAST(ROUND(({until} - {since}) * 86400000) AS INTEGER)"


@compiles(millis, "postgresql")
def _millis(element: millis, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401 - SQLAlchemy's
    since, until = (compiler.process(clause, **more) for clause in element.clauses)
    return f"CAST(ROUND(EXTRACT(EPOCH FROM ({until} - {since})) * 1000) AS BIGINT)"


class Tx:
    """What a unit may do. Wake-ups are kept and published only after the commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection if connection.dialect.name == "sqlite" else None
        self._last: list[Callable[[], None]] = []
        self.wakes: list[str] = []
        self.memo: dict[object, Any] = {}
        """What a room keeps until the unit is over, by a key of its own: rows it has taken."""

    def complete(self, unit: "Unit[T]") -> tuple[T, list[str]]:
        """Run a unit, then what it put off; (its value, its wake-ups)."""
        value = unit(self)
        for step in self._last:
            step()
        return value, self.wakes

    def at_last(self, step: Callable[[], None]) -> None:
        """Do this when the unit has returned, in its transaction."""
        self._last.append(step)

    def execute(
        self, statement: sa.Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        result = self._connection.execute(statement, parameters)
        return result

    def run(self, prepared: Prepared, parameters: Mapping[str, Any]) -> Ran:
        """A statement that was built once; what is run a thousand times a second goes here."""
        if self._driver is None:
            return self._connection.execute(prepared.statement, parameters)
        return prepared.run(self._driver, self._connection.dialect, parameters)

    def run_many(self, prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same statement for many sets of the same parameters."""
        if self._driver is None:
            self._connection.execute(prepared.statement, rows)
        elif rows:
            prepared.run_many(self._driver, self._connection.dialect, rows)

    def one(self, statement: sa.Executable) -> Row[Any] | None:
        """The first row, or None."""
        return self.execute(statement).first()

    def changed(self, statement: sa.Executable) -> bool:
        """Run a conditional UPDATE or DELETE; whether it hit anything is the verdict."""
        return self.execute(statement).rowcount > 0

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """The dialect's own INSERT, for its ON CONFLICT."""
        return sqlite.insert(table) if self._driver is not None else postgresql.insert(table)

    def now(self) -> datetime:
        """The database's clock: SQLite's is this machine's, PostgreSQL's is its server's."""
        if self._driver is not None:
            return datetime.now(UTC)
        moment: datetime = self._connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def wake(self, topic: str) -> None:
        self.wakes.append(topic)


Unit = Callable[[Tx], T]


class Database(Protocol):
    """A store that was opened. Both kinds behave alike; tests run on both."""

    async def write(self, unit: Unit[T], *, lane: Lane = Lane.DECISIONS) -> T:
        """Run a unit in a transaction, commit, then publish its wake-ups. A started write outlives its caller."""

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """At most 500 rows, from a pool that cannot write."""

    async def hear(self) -> None:
        """Let wake-ups of this process reach others and theirs this one, until cancelled. They may be lost: whoever
        waits looks again by itself. SQLite has none, so there others' changes are only found by looking."""

    async def close(self) -> None:
        """Finish what is queued, then let go."""


async def pages(db: Database, asked: sa.Select[Any], *key: sa.ColumnElement[Any]) -> AsyncIterator[Sequence[Row[Any]]]:
    """All rows of a question, as many at a time as one read may return, in the order of `key`: columns that it asks
    for and that together are unique."""
    rows = await db.read(asked.order_by(*key))
    while rows:
        yield rows
        if len(rows) < READ_LIMIT:
            return
        last = (rows[-1]._mapping[column] for column in key)
        rows = await db.read(asked.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, last))).order_by(*key))
