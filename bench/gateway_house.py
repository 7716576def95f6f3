"""A folder for gateways of ours: database, keys, settings, and sessions whose tokens are good there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec

from bench import processes
from control.identity import accounts, sessions
from control.identity.charter import Charter
from control.identity.principals import AUDIENCE
from kit.bus import Bus
from kit.db import Tx
from kit.tokens import Signer
from preloop.database import open_database

LASTS = timedelta(hours=2)
PRICES = {"input_usd_per_mtok": "2.50", "output_usd_per_mtok": "10.00", "cached_input_usd_per_mtok": "0.25"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One process that listens."""

    origin: str
    pid: int


def prepare(folder: Path, settings: Mapping[str, Any], *, budget_nano: int, database: str | None = None) -> str:
    """Make what a role finds when it starts; the token of a session that may use every alias, and spend so much."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gateway.json").write_bytes(msgspec.json.encode(settings))
    return anyio.run(_session, folder, tuple(settings["models"]), budget_nano, database)


async def _session(folder: Path, models: tuple[str, ...], budget_nano: int, database: str | None) -> str:
    signer = Signer.open(folder / "keys" / "signing.pem")
    until = datetime.now(UTC) + LASTS
    charter = Charter(flow="bench", tools=(), models=models, budget_nano=budget_nano)

    def unit(tx: Tx) -> str:
        accounts.ensure_default(tx)
        sessions.publish_key(tx, accounts.DEFAULT, signer)
        return sessions.open_session(
            tx, accounts.DEFAULT, kind="execution", principal="bench", charter=charter, alive_until=until
        )

    db = await open_database(folder, database, Bus())
    try:
        session_id = await db.write(unit)
    finally:
        await db.close()
    return signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)


@contextmanager
def serving(folder: Path, env: dict[str, str] | None = None) -> Iterator[Serving]:
    """A gateway process on a prepared folder; several may share one."""
    with processes.running([processes.PYTHON, "-m", "bench.gateway_role", str(folder)], env) as running:
        yield Serving(origin=processes.told(running, r"http://\S+"), pid=running.pid)
