"""What happened, appended in the unit of the change. Each stream is numbered without gaps and hash-linked.

A stream belongs to an execution, to an enrolled agent's session, or is the account's own (`ACCOUNT`). Log lines are
not events.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import audit
from control.tables import checkpoints, events, streams
from kit.clock import rfc3339
from kit.db import Database, Lane, Tx, pages
from kit.prepared import Prepared

ACCOUNT = "account"
DIAGNOSED = "run.diagnosed"
"""The type of the event after a bad end: the stage in which a run broke, and what that is about."""
FINISHED = "agent.finished"
"""The type of the event with the last word of an agent's CLI about its work."""
SEALS = "seals"
"""The stream that has every seal once more: a stream that is gone with its checkpoints is missed here."""

TOLD = "events.told"
"""The key of a unit's memo under which whoever wants to hear of its events, once they are committed, has put a list."""

Heads = dict[str, dict[int, str]]
"""Hashes that are vouched for elsewhere: stream → number → hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as it is read back; (stream, seq, hash) is its receipt."""

    stream: str
    seq: int
    type: str
    at: str
    data: dict[str, Any]
    hash: str


Told = tuple[str, Event]
"""An account and an event of it."""


def stream_of(row: Row[Any]) -> str:
    """The stream of what belongs to a run, or to an enrolled agent's session: a call, an approval."""
    return str(row.execution_id or row.session_id)


def topic(stream: str) -> str:
    """What to watch to hear of new events and log lines of a stream."""
    return f"stream:{stream}"


_MINE = (streams.c.account_id == sa.bindparam("account")) & (streams.c.id == sa.bindparam("stream"))
_TAKEN = Prepared(sa.select(streams.c.last_seq, streams.c.head).where(_MINE).with_for_update(key_share=True))
_APPENDED = Prepared(sa.insert(events))
_LINKED = Prepared(sa.update(streams).where(_MINE).values(last_seq=sa.bindparam("seq"), head=sa.bindparam("hash")))
"""Built once: to build and to recognise a statement costs ten times what it costs to run it."""


@dataclass(slots=True)
class _End:
    """The last event of a stream, as the unit that has taken the stream's row knows it."""

    seq: int
    head: str


def append(tx: Tx, account_id: str, stream: str, type_: str, **data: object) -> int:
    """Append one event and return its number. The unit takes the stream's row, so numbers have no gaps; it writes the
    new end once, when it has appended all it has to."""
    return append_many(tx, account_id, stream, [(type_, data)])


def append_many(tx: Tx, account_id: str, stream: str, happened: Sequence[tuple[str, Mapping[str, object]]]) -> int:
    """Append events, as (type, data), all of one moment; the number of the last."""
    end, at = _take(tx, account_id, stream), tx.now()
    seq, hash_, told = end.seq, end.head, rfc3339(at)
    listening: list[Told] | None = tx.memo.get(TOLD)
    rows = []
    for type_, data in happened:
        seq += 1
        body = _body({"at": told, "data": data, "seq": seq, "stream": stream, "type": type_})
        hash_ = audit.link(hash_, body)
        row = {"account_id": account_id, "stream": stream, "seq": seq, "type": type_}
        rows.append(row | {"body": body, "hash": hash_, "at": at})
        if listening is not None:
            event = Event(stream=stream, seq=seq, type=type_, at=told, data=dict(data), hash=hash_)
            listening.append((account_id, event))
    tx.run_many(_APPENDED, rows)
    end.seq, end.head = seq, hash_
    return seq


def _body(event: Mapping[str, object]) -> str:
    """The text that is hashed and kept. It is checked as it was kept and never written again: any spelling will do."""
    return msgspec.json.encode(event, order="sorted").decode()


def head(tx: Tx, account_id: str, stream: str) -> tuple[int, str]:
    """(number, hash) of the stream's last event, this unit's included; (0, '') before the first one."""
    end = _take(tx, account_id, stream)
    return end.seq, end.head


def _take(tx: Tx, account_id: str, stream: str) -> _End:
    """The stream's end; its row is ours until the unit's commit."""
    key = (_End, account_id, stream)
    if key not in tx.memo:
        mine = {"account": account_id, "stream": stream}
        taken = tx.run(_TAKEN, mine).first()
        if taken is None:  # its first event
            insert = tx.insert(streams).values(account_id=account_id, id=stream, last_seq=0, head="")
            tx.execute(insert.on_conflict_do_nothing())
            taken = tx.run(_TAKEN, mine).one()
        end = tx.memo[key] = _End(int(taken.last_seq), str(taken.head))
        tx.at_last(lambda: _write_end(tx, mine, end))
        tx.wake(topic(stream))
    found: _End = tx.memo[key]
    return found


def _write_end(tx: Tx, mine: dict[str, str], end: _End) -> None:
    tx.run(_LINKED, mine | {"seq": end.seq, "hash": end.head})


async def read(db: Database, account_id: str, stream: str, *, after: int = 0) -> Sequence[Event]:
    """Up to 500 events after a number, in order."""
    rows = await db.read(
        sa.select(events)
        .where(events.c.account_id == account_id, events.c.stream == stream, events.c.seq > after)
        .order_by(events.c.seq)
    )
    return [event_of(row) for row in rows]


def event_of(row: Row[Any]) -> Event:
    """A row of `events` as a value."""
    body = json.loads(row.body)
    return Event(stream=row.stream, seq=row.seq, type=row.type, at=body["at"], data=body["data"], hash=row.hash)


async def streams_of(db: Database, account_id: str) -> list[str]:
    """The names of the account's event streams, those too of which only a seal is left."""
    held = sa.select(streams.c.id).where(streams.c.account_id == account_id, streams.c.head != "")
    known = held.union(sa.select(checkpoints.c.stream).where(checkpoints.c.account_id == account_id)).subquery()
    return [row.id async for rows in pages(db, sa.select(known.c.id), known.c.id) for row in rows]


async def seal(db: Database, *, most: int = 500) -> int:
    """Write the heads of all streams that moved since their last seal into `checkpoints`; returns how many."""
    last = sa.select(checkpoints.c.seq).where(
        checkpoints.c.account_id == streams.c.account_id,
        checkpoints.c.stream == streams.c.id,
        checkpoints.c.seq == streams.c.last_seq,
    )
    moved = sa.select(streams).where(streams.c.head != "", streams.c.id != SEALS, ~last.exists()).limit(most)
    sealed = 0
    while rows := await db.read(moved):
        heads = [{"account_id": r.account_id, "stream": r.id, "seq": r.last_seq, "hash": r.head} for r in rows]
        await db.write(partial(_seal, heads=heads), lane=Lane.BULK)
        sealed += len(heads)
    return sealed


def _seal(tx: Tx, heads: list[dict[str, Any]]) -> None:
    now = tx.now()
    its, made = checkpoints.c, tx.insert(checkpoints).values([head | {"at": now} for head in heads])
    columns = (its.account_id, its.stream, its.seq, its.hash)
    fresh = tx.execute(made.on_conflict_do_nothing().returning(*columns)).all()  # others are of another process
    for account_id in sorted({row.account_id for row in fresh}):
        told = sorted([row.stream, row.seq, row.hash] for row in fresh if row.account_id == account_id)
        append(tx, account_id, SEALS, "heads.sealed", heads=told)


async def sealed_heads(db: Database, account_id: str) -> Heads:
    """The last seal of every stream, as the stream of seals has it."""
    found: Heads = {}
    after = 0
    while batch := await read(db, account_id, SEALS, after=after):
        for event in batch:
            found |= {stream: {seq: hash_} for stream, seq, hash_ in event.data["heads"]}
        after = batch[-1].seq
    return found


async def heads_of(db: Database, account_id: str) -> Heads:
    """The end of every stream as it stands, to be kept where nobody who writes the database can write."""
    found: Heads = {}
    mine = (streams.c.account_id == account_id) & (streams.c.head != "")
    async for rows in pages(db, sa.select(streams).where(mine), streams.c.id):
        found |= {row.id: {row.last_seq: row.head} for row in rows}
    return found


async def inspect(
    db: Database, account_id: str, stream: str, vouched: Mapping[int, str] | None = None
) -> audit.Verdict:
    """Walk a stream as it stands now, also one that grows meanwhile: its links, its columns, its seals and what else is
    `vouched` for, its end."""
    seals = await _seals(db, account_id, stream) | dict(vouched or {})
    mine = (streams.c.account_id == account_id) & (streams.c.id == stream)
    kept = await db.read(sa.select(streams.c.last_seq, streams.c.head).where(mine))
    end, head = (kept[0].last_seq, kept[0].head) if kept else (0, "")
    sealed = max(seals, default=0)
    its = (events.c.account_id == account_id) & (events.c.stream == stream) & (events.c.seq <= end)
    columns = sa.select(events.c.seq, events.c.body, events.c.hash, events.c.type, events.c.at).order_by(events.c.seq)
    seq, last = 0, ""
    while rows := await db.read(columns.where(its, events.c.seq > seq)):
        triples = [(r.seq, r.body, r.hash) for r in rows]
        broken = audit.verify(triples, after=seq, previous=last) or audit.forged(triples, seals)
        if broken := broken or audit.unlike((r.seq, r.body, _columns(stream, r)) for r in rows):
            return audit.Verdict(events=end, sealed=sealed, broken=broken)
        seq, last = rows[-1].seq, rows[-1].hash
    if (seq, last) != (end, head) or sealed > end:
        cut = audit.Broken(seq=seq + 1, reason=f"event {seq + 1} is missing: the end of the stream was cut off")
        return audit.Verdict(events=end, sealed=sealed, broken=cut)
    return audit.Verdict(events=end, sealed=sealed)


def _columns(stream: str, row: Row[Any]) -> dict[str, object]:
    return {"stream": stream, "seq": row.seq, "type": row.type, "at": rfc3339(row.at)}


async def _seals(db: Database, account_id: str, stream: str) -> dict[int, str]:
    """Every checkpoint of a stream: number → hash."""
    found: dict[int, str] = {}
    mine = (checkpoints.c.account_id == account_id) & (checkpoints.c.stream == stream)
    async for rows in pages(db, sa.select(checkpoints).where(mine), checkpoints.c.seq):
        found |= {row.seq: row.hash for row in rows}
    return found


async def verify(db: Database, account_id: str, stream: str) -> audit.Broken | None:
    """The first thing wrong with a stream, or None."""
    return (await inspect(db, account_id, stream)).broken
