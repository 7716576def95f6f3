"""PgBouncer before a throwaway PostgreSQL, in transaction mode: each transaction may get another connection."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from tests.components import need_program
from tests.postgres import Cluster
from tests.waiting import until

SETTINGS = """
[databases]
* = host={cluster} user=preloop
[pgbouncer]
pool_mode = transaction
auth_type = any
unix_socket_dir = {folder}
listen_port = 5432
default_pool_size = 4
"""


def _start(settings: Path, log: IO[str], **who: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["pgbouncer", str(settings)], stdout=log, stderr=log, cwd=settings.parent, **who)


@asynccontextmanager
async def pooled(cluster: Cluster, database: str) -> AsyncIterator[str]:
    """The address of a database behind it."""
    need_program("pgbouncer")
    with tempfile.TemporaryDirectory(prefix="preloop-pb-", dir="/tmp") as made:
        folder = Path(made)
        settings = folder / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(cluster=cluster.folder, folder=folder))
        who: dict[str, Any] = {}
        if cluster.owner:  # it does not run as root
            os.chown(folder, cluster.owner.pw_uid, cluster.owner.pw_gid)
            who = {"user": cluster.owner.pw_uid, "group": cluster.owner.pw_gid, "extra_groups": []}
        with (folder / "log").open("w") as log:
            process = _start(settings, log, **who)
        try:
            await until((folder / ".s.PGSQL.5432").exists, what="the pooler's socket")
            yield f"postgresql+asyncpg://preloop@/{database}?host={folder}&pooler=transaction"
        finally:
            process.terminate()
            process.wait(20)
