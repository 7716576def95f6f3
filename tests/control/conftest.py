"""The domain runs on both databases: every test here that takes `db` runs twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.bus import Bus
from kit.db import Database
from preloop.database import open_database
from tests.control.house import House


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest, tmp_path: Path, bus: Bus) -> AsyncIterator[Database]:
    url = request.getfixturevalue("postgres_database") if request.param == "postgres" else None
    database = await open_database(tmp_path, url, bus)
    yield database
    await database.close()


@pytest.fixture
async def house(db: Database, bus: Bus, tmp_path: Path) -> House:
    """The domain with one account, one flow and two approvers."""
    return await House.build(db, bus, tmp_path)
