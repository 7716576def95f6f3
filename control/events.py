"""What happened, appended in the unit of the change. Each stream is numbered without gaps and hash-linked.

A stream belongs to an execution, to an enrolled agent's session, or is the account's own (`ACCOUNT`). Log lines are
not events.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from control import audit
from control.tables import events, streams
from kit import canonical
from kit.clock import rfc3339
from kit.db import Database, Tx

ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as it is read back; (stream, seq, hash) is its receipt."""

    stream: str
    seq: int
    type: str
    at: str
    data: dict[str, Any]
    hash: str


def topic(stream: str) -> str:
    """What to watch to hear of new events and log lines of a stream."""
    return f"stream:{stream}"


_MINE = (streams.c.account_id == sa.bindparam("account")) & (streams.c.id == sa.bindparam("stream"))
_NUMBER = sa.update(streams).where(_MINE).values(last_seq=streams.c.last_seq + 1)
_NUMBERED = _NUMBER.returning(streams.c.last_seq, streams.c.head)
_APPENDED = sa.insert(events)
_LINKED = sa.update(streams).where(_MINE).values(head=sa.bindparam("hash"))
"""Built once: to build and to recognise a statement costs ten times what it costs to run it."""


def append(tx: Tx, account_id: str, stream: str, type_: str, **data: object) -> int:
    """Append one event and return its number. The stream's row is taken by the UPDATE, so numbers have no gaps."""
    at = tx.now()
    mine = {"account": account_id, "stream": stream}
    taken = tx.execute(_NUMBERED, mine).first()
    if taken is None:  # its first event
        insert = tx.insert(streams).values(account_id=account_id, id=stream, last_seq=0, head="")
        tx.execute(insert.on_conflict_do_nothing())
        taken = tx.execute(_NUMBERED, mine).one()
    seq, head = int(taken.last_seq), str(taken.head)
    body = canonical.dumps({"at": rfc3339(at), "data": data, "seq": seq, "stream": stream, "type": type_})
    hash_ = audit.link(head, body)
    row = {"account_id": account_id, "stream": stream, "seq": seq, "type": type_, "body": body, "hash": hash_, "at": at}
    tx.execute(_APPENDED, row)
    tx.execute(_LINKED, mine | {"hash": hash_})
    tx.wake(topic(stream))
    return seq


async def read(db: Database, account_id: str, stream: str, *, after: int = 0) -> Sequence[Event]:
    """Up to 500 events after a number, in order."""
    rows = await db.read(
        sa.select(events)
        .where(events.c.account_id == account_id, events.c.stream == stream, events.c.seq > after)
        .order_by(events.c.seq)
    )
    found = []
    for row in rows:
        body = json.loads(row.body)
        found.append(Event(stream=stream, seq=row.seq, type=row.type, at=body["at"], data=body["data"], hash=row.hash))
    return found


async def streams_of(db: Database, account_id: str) -> list[str]:
    """The names of the account's event streams."""
    found: list[str] = []
    while rows := await db.read(
        sa.select(streams.c.id)
        .where(streams.c.account_id == account_id, streams.c.id > (found[-1] if found else ""), streams.c.head != "")
        .order_by(streams.c.id)
    ):
        found += [row.id for row in rows]
    return found


async def verify(db: Database, account_id: str, stream: str) -> audit.Broken | None:
    """Walk a whole stream; also notices a missing tail."""
    mine = (events.c.account_id == account_id) & (events.c.stream == stream)
    seq, head = 0, ""
    while rows := await db.read(
        sa.select(events.c.seq, events.c.body, events.c.hash).where(mine, events.c.seq > seq).order_by(events.c.seq)
    ):
        if broken := audit.verify([(r.seq, r.body, r.hash) for r in rows], after=seq, previous=head):
            return broken
        seq, head = rows[-1].seq, rows[-1].hash
    kept = await db.read(
        sa.select(streams.c.last_seq, streams.c.head).where(streams.c.account_id == account_id, streams.c.id == stream)
    )
    if kept and (kept[0].last_seq, kept[0].head) != (seq, head):
        return audit.Broken(seq=seq + 1, reason="the end of the stream is missing")
    return None
