"""The domain runs on both databases: every test here that takes `db` runs twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.bus import Bus
from kit.db import Database
from preloop.database import open_database
from tests.control.house import House
from tests.databases import lay


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest, tmp_path: Path, bus: Bus) -> AsyncIterator[Database]:
    url = request.getfixturevalue("postgres_tables") if request.param == "postgres" else None
    if url is None:
        lay(tmp_path / "preloop.db")
    database = await open_database(tmp_path, url, bus)
    yield database
    await database.close()


@pytest.fixture
async def house(db: Database, bus: Bus, tmp_path: Path) -> House:
    """The domain with one account, one flow and two approvers."""
    return await House.build(db, bus, tmp_path)


@pytest.fixture
async def twin(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """The same database, opened once more as another process does: after the first has written, as each start does."""
    await db.write(lambda tx: tx.now())
    url = request.getfixturevalue("postgres_tables") if request.node.callspec.params["db"] == "postgres" else None
    database = await open_database(tmp_path, url, Bus())
    yield database
    await database.close()
