"""A database with the tables of money, of either kind, and entries to put into it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kit.bus import Bus
from kit.db import Database
from kit.db_postgres import PostgresDatabase
from kit.db_sqlite import SqliteDatabase
from ledger.book import Entry, Status
from ledger.prices import Usage
from tests.databases import lay

ACCOUNT = "default"
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' worth of doors to one file."""
    path = lay(folder / "ledger.db")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # as a first start leaves it: two can't switch it at once
    engine.dispose()
    one, two = (SqliteDatabase(path, Bus()) for _ in range(2))
    yield one, two
    await one.close()
    await two.close()


@asynccontextmanager
async def postgres(url: str) -> AsyncIterator[tuple[Database, Database]]:
    one, two = PostgresDatabase(url, Bus()), PostgresDatabase(url, Bus())
    yield one, two
    await one.close()
    await two.close()


@asynccontextmanager
async def either(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[tuple[Database, Database]]:
    """What the fixture's parameter names: sqlite or postgres."""
    if request.param == "sqlite":
        async with sqlite(folder) as doors:
            yield doors
    else:
        async with postgres(request.getfixturevalue("postgres_tables")) as doors:
            yield doors


def entry(id_: str, **more: Any) -> Entry:
    known: dict[str, Any] = {
        "account_id": ACCOUNT,
        "session_id": "ses_1",
        "execution_id": "exe_1",
        "flow": "process-payment",
        "principal": "agent",
        "alias": "default",
        "provider": "openai",
        "model": "gpt",
        "wire": "chat",
        "status": Status.ANSWERED,
        "usage": Usage(input=100, output=10),
        "cost_nano": 1_000,
        "cost_source": "override",
        "at": AT,
    }
    return Entry(id=id_, **known | more)
