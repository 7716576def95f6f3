"""The data folder and the database in it: checked, migrated, opened. Whatever is wrong is said before anything is
made."""

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from kit.bus import Bus
from kit.db import Database
from kit.db_sqlite import SqliteDatabase
from kit.errors import Invalid, Missing, Unavailable, Unsuitable
from preloop.roles import Role
from preloop.steps import Plane, Standing, Steps, announce, next_steps, standing

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.s3fs"}
KNOWN = Steps()
"""What this version knows."""
Work = Callable[[Connection], Standing]
MIGRATING = 0x70726C6F
"""The advisory lock of whoever brings a PostgreSQL database up to date."""


def prepare_folder(path: Path) -> None:
    """A folder of our own (0700) on a disk of this machine, or Unsuitable."""
    kind = filesystem(path)
    if kind in NETWORK:
        raise Unsuitable(
            "data_on_network",
            f"The data folder {path} is on a network file system ({kind}).",
            "SQLite would lose data there: point PRELOOP_DATA at a local disk, or use PostgreSQL.",
        )
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / ".probe"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)  # another process may look at the same time
    except OSError as error:
        raise Unsuitable(
            "data_unwritable",
            f"The data folder {path} can't be written: {error.strerror or error}.",
            "Give it to the user that runs preloop, or set PRELOOP_DATA to another folder.",
        ) from error


@contextmanager
def held(path: Path, roles: Collection[Role]) -> Iterator[None]:
    """Be the one worker of a data folder while this is open, if that is among our roles; the lock dies with its
    process. Whoever holds it may take up at once what a worker before it left."""
    with (path / "up.lock").open("w") as lock:
        if Role.RUNNER in roles:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Unsuitable(
                    "data_in_use",
                    f"Another control plane runs agents in the data folder {path}.",
                    "Stop it, or give this one a folder of its own with PRELOOP_DATA.",
                ) from error
        yield


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """One process after the other makes what a data folder holds: keys, tables, the first admin."""
    with (path / "opening.lock").open("w") as lock:
        await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


def filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of file system a path is (or will be) on; empty where that can't be told."""
    if not mounts.exists():
        return ""
    target = str(path.resolve())
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        _, at, type_, *_ = line.split(" ")
        at = at.encode().decode("unicode_escape")
        if (target == at or target.startswith(at.rstrip("/") + "/")) and len(at) >= len(best):
            best, kind = at, type_
    return kind


async def read_database(folder: Path, url: str | None, bus: Bus) -> Database:
    """Open what is there as it is, for whoever only looks; nothing is made or brought up to date."""
    if url is not None:
        return _server(url, bus)
    path = folder / "preloop.db"
    if not await anyio.Path(path).exists():
        raise Missing("database_missing", f"There is no database in {folder}.", "PRELOOP_DATA names the data folder.")
    return SqliteDatabase(path, bus)


async def open_database(
    folder: Path, url: str | None, bus: Bus, *, plane: Plane | None = None, steps: Steps = KNOWN
) -> Database:
    """Migrate as far as processes of older versions allow, then open. A `plane` is seen by others from then on."""
    await bring_up(folder, url, plane=plane, steps=steps)
    return SqliteDatabase(folder / "preloop.db", bus) if url is None else _server(url, bus)


async def bring_up(
    folder: Path, url: str | None, *, plane: Plane | None = None, steps: Steps = KNOWN, only_look: bool = False
) -> Standing:
    """How it stands after that. `only_look`: nothing is changed."""

    def work(connection: Connection) -> Standing:
        if connection.dialect.name == "postgresql":  # several processes may start at once, from several folders
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATING)))
        if not only_look:
            _migrate(connection, plane, steps)
        return standing(connection, steps)

    if url is None:
        return await anyio.to_thread.run_sync(_in_file, folder / "preloop.db", work)
    if not url.startswith("postgresql+asyncpg://"):
        kind = url.partition("://")[0]
        raise Invalid("database_invalid", f"{kind}:// is no database of ours.", "Write postgresql+asyncpg://…")
    try:
        return await _in_server(url, work)
    except ModuleNotFoundError as error:
        raise Unsuitable(
            "asyncpg_missing",
            "PRELOOP_DATABASE names a PostgreSQL, and asyncpg is not installed.",
            "Install the extras: `make extras`, or leave PRELOOP_DATABASE out.",
        ) from error
    except (OSError, sa.exc.SQLAlchemyError) as error:
        raise Unavailable(
            "database_unreachable", f"The database does not answer: {error}.", "Is PRELOOP_DATABASE right?"
        ) from error


def _server(url: str, bus: Bus) -> Database:
    from kit.db_postgres import PostgresDatabase  # decision 0006: SQLAlchemy's ORM comes with it

    return PostgresDatabase(url, bus)


async def _in_server(url: str, work: Work) -> Standing:
    from kit.db_postgres import open_engine  # decision 0006

    engine = open_engine(url)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _in_file(path: Path, work: Work) -> Standing:
    """All of it in one transaction: a start that is cut off leaves the file as it was."""
    engine = sa.create_engine(f"sqlite:///{path}")
    sa.event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            found = work(connection)
    except sa.exc.SQLAlchemyError as error:
        raise Unsuitable(
            "database_unusable",
            f"The database {path} can't be brought up to date: {error}.",
            "Nothing was changed in it. Is it from a newer version, or used by another program?",
        ) from error
    finally:
        engine.dispose()
    os.chmod(path, 0o600)
    return found


def _migrate(connection: Connection, plane: Plane | None, steps: Steps) -> None:
    if todo := next_steps(connection, steps):
        from preloop import migrating  # decision 0006: Alembic and all it brings, for a start that has something to do

        migrating.migrate(connection, steps, todo[-1].number)
    if plane is not None:
        announce(connection, plane, steps)
