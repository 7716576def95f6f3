"""Which sessions ended, read in one go by whoever serves many: a revocation in another process wakes nobody here."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from control.tables import sessions
from kit.db import Database

READ_MOST = 400


async def ended(db: Database, session_ids: Sequence[str]) -> list[str]:
    """Those of some sessions that live no more: revoked, or past their time."""
    alive: set[str] = set()
    for start in range(0, len(session_ids), READ_MOST):
        mine = sessions.c.id.in_(session_ids[start : start + READ_MOST])
        lives = sessions.c.revoked_at.is_(None) & (sessions.c.alive_until > datetime.now(UTC))
        alive |= {row.id for row in await db.read(sa.select(sessions.c.id).where(mine, lives))}
    return [id_ for id_ in session_ids if id_ not in alive]
