"""What the record says of an execution's model calls beside their entries in the ledger: what budgets decided, what the
provider answered, which ones another one was made for, which were refused and which go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.tables import events as recorded
from kit.db import Database, pages
from ledger import money
from web.model_shapes import Told

_REQUESTED, _REFUSED = "model.requested", "model.refused"
_SETTLED = ("model.answered", "model.failed")
_MOVED = ("model.retry", "model.fallback")
_LATE = timedelta(seconds=30)
"""The record is at most so far behind the ledger's time."""
NEWEST = 100
"""Events that are looked through for calls without an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmade:
    """A call that was refused before any model was asked."""

    at: datetime
    alias: str
    stage: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An attempt that goes on."""

    id: str
    at: datetime
    alias: str
    model: str


async def told(db: Database, account_id: str, execution_id: str, rows: Sequence[Row[Any]]) -> dict[str, Told]:
    """By the ids of ledger entries, which are attempts; `rows` are in their order."""
    if not rows:
        return {}
    last = max(row.at + timedelta(milliseconds=row.total_ms or 0) for row in rows) + _LATE
    of_them = recorded.c.at.between(min(row.at for row in rows) - _LATE, last)
    asked = _of(account_id, execution_id, _REQUESTED, *_SETTLED, *_MOVED).where(of_them)
    found: dict[str, dict[str, Any]] = {}
    moved: str | None = None
    async for part in pages(db, asked, recorded.c.seq):
        for event in map(events.event_of, part):
            if event.type in _MOVED:
                moved = event.type.removeprefix("model.")
                continue
            known = found.setdefault(event.data["attempt"], {})
            known |= event.data
            if event.type == _REQUESTED:
                known["came_by"] = moved if event.data.get("number") else None
                moved = None
    return {id_: _told(data) for id_, data in found.items()}


def _told(data: dict[str, Any]) -> Told:
    held = data.get("held_nano")
    return Told(
        came_by=data.get("came_by"),
        held_usd=None if held is None else money.usd(held),
        upstream_status=data.get("upstream_status"),
        stage=data.get("stage"),
        message=data.get("message"),
    )


async def without_entry(db: Database, account_id: str, execution_id: str) -> tuple[list[Unmade], list[Open]]:
    """Refused calls and those under way, oldest first, among the newest of the record."""
    asked = _of(account_id, execution_id, _REQUESTED, _REFUSED, *_SETTLED)
    rows = await db.read(asked.order_by(recorded.c.seq.desc()).limit(NEWEST))
    unmade, going = [], {}
    for row in reversed(rows):
        event = events.event_of(row)
        data = event.data
        if event.type == _REFUSED:
            facts = {name: str(data.get(name) or "") for name in ("alias", "stage", "error", "message")}
            unmade.append(Unmade(at=row.at, **facts))
        elif event.type == _REQUESTED:
            going[data["attempt"]] = Open(id=data["attempt"], at=row.at, alias=data["alias"], model=data["model"])
        else:
            going.pop(data["attempt"], None)
    return unmade, list(going.values())


def _of(account_id: str, execution_id: str, *types: str) -> sa.Select[Any]:
    mine = (recorded.c.account_id == account_id) & (recorded.c.stream == execution_id)
    return sa.select(recorded).where(mine, recorded.c.type.in_(types))
