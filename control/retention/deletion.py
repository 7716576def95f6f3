"""What the clock takes of executions that are over: log lines, events and prompts, arguments and results of calls, and
what agents left.

By age class by class, and by `keep` the oldest first until the account is below. Units touch at most 500 rows. The
execution's row, its record and its costs stay; that content was deleted, and by which rule, is itself in the record,
so that `audit verify` can tell it from tampering. How far each class has come is kept, so that a pass looks only at
what is new; what one began and didn't finish the next does again.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import logs, results, storage
from control.executions.states import FINAL
from control.executions.storage import CONTENT, DELETED, SIZES, Kind
from control.retention import rules
from control.retention.rules import SETTLED, Rules
from control.tables import accounts, artifacts, executions, log_chunks, storage_use, streams, tool_calls
from kit.blobs import Blobs
from kit.canonical import dumps
from kit.db import Database, Lane, Tx
from kit.errors import Unavailable
from kit.observe import log

ROWS = 500
"""Rows that one unit changes or deletes."""
BATCH = 50
"""Executions that one look brings."""
NO_EVENT = "null"
"""What stands where an event was."""
FORGOTTEN = {"args": ""} | dict.fromkeys(CONTENT[1:])


async def in_force(db: Database, account_id: str, file: Rules) -> Rules:
    """The account's rules: its own over the file's."""
    row = (await db.read(sa.select(accounts.c.retention).where(accounts.c.id == account_id)))[0]
    return rules.over(file, json.loads(row.retention or "{}"))


def put(tx: Tx, account_id: str, given: Mapping[str, object], *, by: str) -> None:
    """Set an admin's own rules, all of them at once; an empty mapping follows the file again."""
    own = rules.checked(given)
    mine = sa.update(accounts).where(accounts.c.id == account_id)
    tx.execute(mine.values(retention=dumps(own) if own else None))
    events.append(tx, account_id, events.ACCOUNT, "retention.changed", by=by, **own)


async def delete_due(db: Database, blobs: Blobs, file: Rules, now: datetime) -> int:
    """One pass over every account; how much went, where a class of one execution is one."""
    found = await db.read(sa.select(accounts.c.id))
    return sum([await _Pass(db, blobs, row.id, await in_force(db, row.id, file), now).run() for row in found])


class _Pass:
    """One account's turn."""

    def __init__(self, db: Database, blobs: Blobs, account_id: str, its: Rules, now: datetime) -> None:
        self._db = db
        self._blobs = blobs
        self._account_id = account_id
        self._rules = its
        self._now = now

    async def run(self) -> int:
        taken = 0
        for kind in DELETED:
            if until := self._rules.until(kind, self._now):
                taken += await self._sweep([kind], until, self._rules.why(kind), keep=None)
        if until := self._rules.until(Kind.RESULTS, self._now):
            await self._enrolled(until)
        if self._rules.keep is not None:
            taken += await self._sweep(list(DELETED), self._now - SETTLED, self._rules.why(None), keep=self._rules.keep)
        return taken

    async def _sweep(self, kinds: Sequence[Kind], until: datetime, why: str, *, keep: int | None) -> int:
        """The oldest first, up to a moment, or until the account has no more than `keep`."""
        place, taken = await self._through(kinds), 0
        while rows := await self._db.read(self._after(place, until)):
            unit = partial(self._drop, rows=rows, kinds=kinds, why=why, keep=keep)
            done, lost, enough = await self._db.write(unit, lane=Lane.BULK)
            taken += lost
            if not await forget(self._blobs, [row.id for row in rows[:done]], kinds):
                break  # not further than here: the next pass asks again
            if done:
                place = (rows[done - 1].ended_at, rows[done - 1].id)
                await self._db.write(partial(self._came, kinds=kinds, at=place[0]), lane=Lane.BULK)
            if enough:
                break
        return taken

    async def _through(self, kinds: Sequence[Kind]) -> tuple[datetime, str] | None:
        """Where all of these classes have come to."""
        mine = (storage_use.c.account_id == self._account_id) & storage_use.c.kind.in_(kinds)
        came = [row.through for row in await self._db.read(sa.select(storage_use).where(mine)) if row.through]
        return (min(came), "") if len(came) == len(kinds) else None

    def _after(self, place: tuple[datetime, str] | None, until: datetime) -> sa.Select[Any]:
        its = executions.c
        columns = (its.id, its.ended_at, *(its[name] for name in DELETED.values()))
        over = sa.select(*columns).where(its.account_id == self._account_id, its.ended_at < until)
        if place is not None:
            later = (its.ended_at > place[0]) | ((its.ended_at == place[0]) & (its.id > place[1]))
            over = over.where(its.ended_at >= place[0], later)
        return over.order_by(its.ended_at, its.id).limit(BATCH)

    def _came(self, tx: Tx, *, kinds: Sequence[Kind], at: datetime) -> None:
        for kind in kinds:
            key = {"account_id": self._account_id, "kind": kind, "bytes": 0, "counted_at": tx.now()}
            tx.execute(tx.insert(storage_use).values(key).on_conflict_do_nothing())
            mine = (storage_use.c.account_id == self._account_id) & (storage_use.c.kind == kind)
            behind = storage_use.c.through.is_(None) | (storage_use.c.through < at)
            tx.execute(sa.update(storage_use).where(mine, behind).values(through=at))

    def _drop(
        self, tx: Tx, *, rows: Sequence[Row[Any]], kinds: Sequence[Kind], why: str, keep: int | None
    ) -> tuple[int, int, bool]:
        """(how many of the executions are done, how much went, whether that is enough)."""
        freed: Counter[Kind] = Counter()
        if keep is not None:  # one process after the other: what each takes is too much for the next to take again
            tx.execute(sa.select(accounts.c.id).where(accounts.c.id == self._account_id).with_for_update())
        room = None if keep is None else storage.total(tx, self._account_id) - keep
        done, lost, enough = self._drop_some(tx, rows, kinds, why, room, freed)
        for kind, size in sorted(freed.items()):
            storage.add(tx, self._account_id, kind, -size)
        return done, lost, enough

    def _drop_some(
        self,
        tx: Tx,
        rows: Sequence[Row[Any]],
        kinds: Sequence[Kind],
        why: str,
        above: int | None,
        freed: Counter[Kind],
    ) -> tuple[int, int, bool]:
        """The same, while what is `freed` is less than the account is above its bytes."""
        left, lost = ROWS, 0
        for done, row in enumerate(rows):
            begun = all(getattr(row, DELETED[kind]) for kind in kinds)
            if above is not None and not begun and freed.total() >= above:
                return done, lost, True
            for kind in kinds:
                size = mark(tx, self._account_id, row.id, kind, why)
                if size is not None:
                    freed[kind] += size
                    lost, left = lost + 1, left - 3
                left -= empty(tx, row.id, kind, max(1, left))
            if left <= 0:  # perhaps not all of this one
                return done, lost, False
        return len(rows), lost, False

    async def _enrolled(self, until: datetime) -> None:
        """Calls of agents of somebody's own, which belong to no execution: by their own age."""
        unit = partial(_drop_enrolled, account_id=self._account_id, until=until, why=self._rules.why(Kind.RESULTS))
        while await self._db.write(unit, lane=Lane.BULK):
            pass


async def forget(blobs: Blobs, ids: Sequence[str], kinds: Sequence[Kind]) -> bool:
    """Delete the blobs; False where their store does not answer."""
    try:
        for id_ in ids:
            if Kind.LOGS in kinds:
                await blobs.delete(logs.file_of(id_))
                await blobs.clear(logs.parts_of(id_))
            if Kind.RESULTS in kinds:
                await blobs.clear(results.folder_of(id_))
    except Unavailable as fault:
        log.warning("the object store does not answer; deletions are tried again", why=fault.message)
        return False
    return True


def mark(tx: Tx, account_id: str, execution_id: str, kind: Kind, why: str) -> int | None:
    """Write down that a class of content goes; the bytes that it is in the meter with. None: that was done before."""
    gone = executions.c[DELETED[kind]]
    mine = (executions.c.id == execution_id) & (executions.c.account_id == account_id) & executions.c.state.in_(FINAL)
    values: dict[str, Any] = {DELETED[kind]: tx.now()}
    if kind is Kind.PAYLOADS:
        values |= {"trigger_event": NO_EVENT, "prompt": ""}
    marked = sa.update(executions).where(mine, gone.is_(None)).values(values)
    row = tx.execute(marked.returning(executions.c.counted_at, executions.c[SIZES[kind]].label("size"))).first()
    if row is None:
        return None
    if kind is Kind.LOGS:
        log = (streams.c.account_id == account_id) & (streams.c.id == logs.stream_of(execution_id))
        tx.execute(sa.update(streams).where(log).values(bytes=0))
    events.append(tx, account_id, execution_id, "content.deleted", kind=kind.value, why=why)
    return int(row.size) if row.counted_at else 0


def empty(tx: Tx, execution_id: str, kind: Kind, most: int) -> int:
    """Take up to so many rows of an execution's content; fewer when that was all."""
    if kind is Kind.LOGS:
        its = log_chunks.c.execution_id == execution_id
        some = sa.select(log_chunks.c.first).where(its).order_by(log_chunks.c.first).limit(most)
        return tx.execute(sa.delete(log_chunks).where(its, log_chunks.c.first.in_(some))).rowcount
    if kind is Kind.RESULTS:
        kept = (tool_calls.c.execution_id == execution_id) & tool_calls.c.deleted_at.is_(None)
        calls = sa.select(tool_calls.c.id).where(kept).limit(most)
        forgotten = tx.execute(_forget(tx).where(tool_calls.c.id.in_(calls))).rowcount
        its = artifacts.c.execution_id == execution_id
        some = sa.select(artifacts.c.name).where(its).order_by(artifacts.c.name).limit(max(1, most - forgotten))
        return forgotten + tx.execute(sa.delete(artifacts).where(its, artifacts.c.name.in_(some))).rowcount
    return 0


def _forget(tx: Tx) -> sa.Update:
    return sa.update(tool_calls).values(FORGOTTEN | {"deleted_at": tx.now()})


def _drop_enrolled(tx: Tx, *, account_id: str, until: datetime, why: str) -> int:
    kept = tool_calls.c.execution_id.is_(None) & tool_calls.c.deleted_at.is_(None)
    old = sa.select(tool_calls.c.id, tool_calls.c.session_id).where(
        kept, tool_calls.c.settled_at < until, tool_calls.c.account_id == account_id
    )
    rows = tx.execute(old.order_by(tool_calls.c.settled_at).limit(ROWS // 4).with_for_update()).all()
    tx.execute(_forget(tx).where(tool_calls.c.id.in_([row.id for row in rows])))
    for session_id in sorted({row.session_id for row in rows}):
        ids = sorted(row.id for row in rows if row.session_id == session_id)
        events.append(tx, account_id, session_id, "content.deleted", kind=Kind.RESULTS.value, why=why, calls=ids)
    return len(rows)
