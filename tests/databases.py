"""A SQLite file with our tables: migrated once in a process, then copied, since migrating is what takes the time."""

import functools
import tempfile
from pathlib import Path

import sqlalchemy as sa

from preloop.migrating import migrate


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
    """Put a database with tables and no rows where there is none; its path."""
    if not path.exists():
        path.write_bytes(_newest())
    return path
