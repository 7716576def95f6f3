"""The migrations make what the models say, on both databases; what is asked often is found by an index."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

import ledger.tables
from control import tables
from kit.bus import Bus
from preloop.database import open_database


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_database")) if request.param == "postgres" else None


async def migrated(folder: Path, url: str | None, look: Any) -> Any:
    """What a look at a database that was just made finds; `look` takes a connection."""
    await (await open_database(folder, url, Bus())).close()
    if url is None:
        engine = sa.create_engine(f"sqlite:///{folder / 'preloop.db'}")
        with engine.connect() as connection:
            found = look(connection)
        engine.dispose()
        return found
    other = create_async_engine(url)
    async with other.connect() as connection:
        found = await connection.run_sync(look)
    await other.dispose()
    return found


def differences(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    both = sa.MetaData(naming_convention=tables.metadata.naming_convention)
    for table in (*tables.metadata.sorted_tables, *ledger.tables.metadata.sorted_tables):
        table.to_metadata(both)
    return list(compare_metadata(context, both))


def plan(connection: sa.Connection) -> str:
    question = "SELECT * FROM approvals WHERE call_id = 'tcl_1'"
    if connection.dialect.name == "sqlite":
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}").all())
    connection.exec_driver_sql("SET enable_seqscan = off")
    return str(connection.exec_driver_sql(f"EXPLAIN {question}").all())


async def test_the_migrations_make_what_the_models_say(tmp_path: Path, url: str | None) -> None:
    assert await migrated(tmp_path, url, differences) == []


async def test_the_approval_of_a_call_is_found_by_an_index(tmp_path: Path, url: str | None) -> None:
    assert "ix_approvals_call" in await migrated(tmp_path, url, plan)
