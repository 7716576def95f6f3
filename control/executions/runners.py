"""Which workers live, how many executions each takes, and why one can't: a row each, renewed while they live.

Only whoever asks why something waits reads it; a claim needs nobody's leave.
"""

from datetime import timedelta

import sqlalchemy as sa

from control.identity.accounts import DEFAULT
from control.tables import runners
from kit.db import Tx

RENEWED_S = 10.0
ALIVE = timedelta(seconds=30)
"""Older rows are of workers that died."""


def announce(tx: Tx, owner: str, *, engine: str = "", parallel: int = 0, problem: str | None = None) -> None:
    """Say that a worker lives, now and every `RENEWED_S`; `problem` is why it has no engine."""
    known = {"engine": engine, "parallel": parallel, "problem": problem, "seen_at": tx.now()}
    row = tx.insert(runners).values(id=owner, account_id=DEFAULT, **known)
    tx.execute(row.on_conflict_do_update(index_elements=["id"], set_=known))


def leave(tx: Tx, owner: str) -> None:
    """A worker stops or is known to be dead; `owner` may end in `%`: all of one instance."""
    tx.execute(sa.delete(runners).where(runners.c.id.like(owner) | (runners.c.seen_at < tx.now() - timedelta(days=1))))
