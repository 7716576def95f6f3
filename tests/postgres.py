"""A throwaway PostgreSQL: its own cluster in a temporary folder, on a unix socket only, gone with the test run.

PostgreSQL refuses to run as root: then the folder is handed to `postgres` (or `nobody`), and it runs as that user.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from preloop.migrating import migrate

SETTINGS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=200 -k {folder}"


def _owner() -> pwd.struct_passwd | None:
    """The user to run as, or None for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


class Cluster:
    """`url(name)` is what SQLAlchemy takes to reach database `name` through asyncpg."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.owner = programs, folder, _owner()

    def run(self, program: str, *arguments: str) -> None:
        who = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []} if self.owner else {}
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            timeout=120,
            **who,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}\n{self.log()}")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = SETTINGS.format(folder=self.folder)
        self.run("pg_ctl", "-D", self.data, "-l", str(self.folder / "log"), "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+asyncpg://preloop@/{database}?host={self.folder}"

    def make_database(self, name: str, like: str = "template1") -> str:
        self._tell(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self.url(name)

    def keep_database(self, name: str, like: str) -> None:
        """Make it unless somebody else did."""
        try:
            self.make_database(name, like)
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise

    def drop_database(self, name: str) -> None:
        self._tell(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _tell(self, statement: str) -> None:
        self.run("psql", "-h", str(self.folder), "-U", "preloop", "-d", "postgres", "-qc", statement)

    @cached_property
    def newest(self) -> str:
        """The name of a database with our tables and no rows, to be copied: copying takes a tenth of migrating."""
        url = self.make_database("newest")
        with ThreadPoolExecutor(1) as aside:  # whoever asks may have a loop that runs
            aside.submit(asyncio.run, _migrated(url)).result()
        return "newest"


async def _migrated(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="preloop-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    made = Cluster(programs, folder)
    try:
        if made.owner:
            os.chown(folder, made.owner.pw_uid, made.owner.pw_gid)
        data = made.data
        made.run("initdb", "-D", data, "-U", "preloop", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
