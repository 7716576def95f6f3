"""What must leave the house: rows written in the unit of the change, sent later, with retries.

It knows channels and targets as words; what a message says and how it is sent is `approvals/notices` and
`kit/outbound`. No row holds a clear link: links are minted at each attempt.
"""

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.tables import outbox
from kit import canonical
from kit.db import Database, Tx
from kit.ids import new_id

TOPIC = "outbox"
_WAITS = outbox.c.status == sa.literal_column("'waiting'")  # a word: only so is its index enough
ATTEMPTS = 9
LEASE = timedelta(seconds=60)
"""How long one attempt may take; a sender that died is followed by the next after it."""


def add(tx: Tx, account_id: str, *, channel: str, topic: str, target: str, payload: dict[str, Any]) -> str:
    row_id = new_id("out")
    now = tx.now()
    row = {"id": row_id, "account_id": account_id, "channel": channel, "topic": topic, "target": target}
    times = {"payload": canonical.dumps(payload), "created_at": now, "next_at": now}
    tx.execute(sa.insert(outbox).values(row | times))
    tx.wake(TOPIC)
    return row_id


def take(tx: Tx, *, only: str | None = None, besides: Collection[str] = ()) -> Row[Any] | None:
    """The next due row, of one channel or of all but some, taken for one attempt, or None."""
    now = tx.now()
    due = (outbox.c.status == "waiting") & (outbox.c.next_at <= now) & outbox.c.channel.not_in(besides)
    if only is not None:
        due &= outbox.c.channel == only
    row_id = tx.execute(sa.select(outbox.c.id).where(due).order_by(outbox.c.next_at).limit(1)).scalar()
    if row_id is None:
        return None
    taken = sa.update(outbox).where(outbox.c.id == row_id, due)
    return tx.execute(taken.values(attempts=outbox.c.attempts + 1, next_at=now + LEASE).returning(outbox)).first()


def sent(tx: Tx, row_id: str) -> None:
    tx.execute(sa.update(outbox).where(outbox.c.id == row_id).values(status="sent", sent_at=tx.now(), error=None))


def failed(tx: Tx, row: Row[Any], error: str, *, final: bool = False) -> bool:
    """Try again later, twice as late each time; True when that was the last attempt."""
    last = final or bool(row.attempts >= ATTEMPTS)
    later = tx.now() + pause(row.attempts)
    state = {"status": "failed" if last else "waiting", "next_at": later, "error": error[:2000]}
    tx.execute(sa.update(outbox).where(outbox.c.id == row.id).values(state))
    return last


def pause(attempts: int) -> timedelta:
    """How long to wait after that many attempts: 1 s, 2 s, 4 s …; all of them take about 4 minutes."""
    return timedelta(seconds=min(2 ** (attempts - 1), 300))


def payload(row: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.payload)
    return found


async def depth(db: Database) -> int:
    """How much must still leave the house, of all accounts."""
    return int((await db.read(sa.select(sa.func.count()).select_from(outbox).where(_WAITS)))[0][0])
