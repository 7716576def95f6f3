"""Do the requests say what the record says of them? Their rows are what pages and queries show; only events are hashed.
Compared are the status and who decided."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from control import events
from control.approvals.requests import Status
from control.tables import approvals
from control.tables import events as stored
from kit.db import Database

_TOLD = ("approval.asked", "approval.closed", "approval.lapsed")


@dataclass(slots=True)
class _State:
    status: str = Status.PENDING.value
    by: str | None = None


async def unlike(db: Database, account_id: str) -> list[str]:
    """The ids of requests that differ from their events, in order. One that is decided meanwhile does not count: a
    difference must be there twice."""
    found = await _unlike(db, account_id)
    return sorted(set(found) & set(await _unlike(db, account_id))) if found else []


async def _unlike(db: Database, account_id: str) -> list[str]:
    found: list[str] = []
    last = ""
    mine = approvals.c.account_id == account_id
    while rows := await db.read(sa.select(approvals).where(mine, approvals.c.id > last).order_by(approvals.c.id)):
        last = rows[-1].id
        told = await _told(db, account_id, {events.stream_of(row) for row in rows})
        for row in rows:
            state = told.get(row.id)
            used = state is not None and (state.status, row.status) == (Status.APPROVED, Status.CONSUMED)
            if state is None or row.decided_by != state.by or (row.status != state.status and not used):
                found.append(row.id)
    return found


async def _told(db: Database, account_id: str, streams: Iterable[str]) -> dict[str, _State]:
    """What the events of some streams say of each request."""
    found: dict[str, _State] = {}
    for stream in streams:
        after = 0
        its = (stored.c.account_id == account_id) & (stored.c.stream == stream) & stored.c.type.in_(_TOLD)
        while rows := await db.read(sa.select(stored).where(its, stored.c.seq > after).order_by(stored.c.seq)):
            after = rows[-1].seq
            for row in rows:
                _apply(found, events.event_of(row))
    return found


def _apply(found: dict[str, _State], event: events.Event) -> None:
    state = found.setdefault(event.data["approval"], _State())
    if event.type == "approval.lapsed":
        state.status = Status.LAPSED.value
    elif event.type == "approval.closed":
        state.status = event.data["status"]
        state.by = event.data["by"] or state.by
