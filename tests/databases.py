"""The database that a test's plane works on: a SQLite file, or with TEST_DATABASE=postgresql one of its own on the
run's server. Both come with our tables: migrated once, then copied, since migrating is what takes the time.
"""

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import sqlalchemy as sa

from kit.bus import Bus
from kit.db import Database
from kit.db_postgres import PostgresDatabase
from kit.db_sqlite import SqliteDatabase
from preloop.migrating import migrate
from tests.components import postgres_programs
from tests.postgres import Cluster

FOLDER = "TEST_POSTGRES"
"""The folder of the run's server, for processes that a test starts too."""
_made: set[str] = set()


@functools.cache
def _newest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "newest.db"
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            migrate(connection)
        engine.dispose()
        return path.read_bytes()


def lay(path: Path) -> Path:
    """Put a SQLite database with tables and no rows where there is none; its path."""
    if not path.exists():
        path.write_bytes(_newest())
    return path


def whole_run_on(server: Cluster) -> None:
    """From now on `laid` makes its databases there."""
    os.environ[FOLDER] = str(server.folder)
    assert server.newest


def laid(path: Path) -> str | None:
    """The address of the database that this path stands for, with tables; None: it is the file there."""
    url = elsewhere(path)
    if url is None:
        lay(path)
    return url


def elsewhere(path: Path) -> str | None:
    """The address of the database that stands for this path on the run's server, with tables; None: there is none."""
    if FOLDER not in os.environ:
        return None
    if (name := _name(path)) not in _made:
        _server().keep_database(name, like="newest")
        _made.add(name)
    return _server().url(name)


def found(path: Path) -> str | None:
    """The same where this process made it."""
    return elsewhere(path) if _name(path) in _made else None


def _name(path: Path) -> str:
    return f"at_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:20]}"


def connected(path: Path, bus: Bus) -> Database:
    """The database of this path, opened as it is."""
    url = laid(path)
    return PostgresDatabase(url, bus) if url else SqliteDatabase(path, bus)


def drop() -> None:
    """What this process made on the run's server."""
    while _made:
        _server().drop_database(_made.pop())


@functools.cache
def _server() -> Cluster:
    programs = postgres_programs()
    assert programs
    return Cluster(programs, Path(os.environ[FOLDER]))
