"""The book: one entry for each attempt at a model, written once and never changed; `corrections` adds to it.

The door that spent the money composes the unit: the entry here, the event in `control/events`, the hold in `budgets`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa
from msgspec import Struct

from kit.db import Tx
from kit.prepared import Prepared
from ledger.prices import CLASSES, Usage
from ledger.tables import entries, intents


class Status(StrEnum):
    ANSWERED = "answered"  # the model spoke to its end; the figures are the provider's
    FAILED = "failed"  # refused before a word or never sent: costs nothing
    CUT = "cut"  # ended early by anybody: billed by an estimate that is marked
    LOST = "lost"  # the worker died with it: billed by an estimate that is marked


class Entry(Struct, frozen=True, kw_only=True):
    """One attempt. `cost_nano` is None for a model without a price."""

    id: str
    account_id: str
    session_id: str
    execution_id: str | None
    flow: str | None
    principal: str
    alias: str
    provider: str
    model: str
    wire: str
    status: Status
    usage: Usage
    cost_nano: int | None
    cost_source: str
    at: datetime
    error_class: str | None = None
    attempt: int = 0
    hosted_calls: int = 0  # uses of tools that ran at the provider
    hosted_nano: int = 0  # what of the cost is for them
    price_version: str | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    upstream_id: str | None = None
    corrects: str | None = None  # the entry whose cost this one adds to


def append(tx: Tx, written: Sequence[Entry], *, again: bool = True) -> set[str]:
    """Write entries; the ids of those that are new. An attempt that has one already keeps it as it is.

    Not `again`: the caller knows that none of them was written before, and nothing is looked up.
    """
    ids = [entry.id for entry in written]
    known = set(tx.execute(sa.select(entries.c.id).where(entries.c.id.in_(ids))).scalars()) if ids and again else set()
    fresh = {entry.id: entry for entry in reversed(written) if entry.id not in known}
    if fresh:
        rows = [_row(entry) for entry in fresh.values()]
        if again:
            tx.execute(tx.insert(entries).on_conflict_do_nothing(), rows)
        else:
            tx.run_many(_WRITTEN, rows)
    return set(fresh)


def intend(tx: Tx, worker: str, attempt_id: str, body: str) -> None:
    """Note that a worker is about to make an attempt; `body` is what settles it if that worker dies."""
    tx.run(_INTENDED, {"attempt_id": attempt_id, "worker": worker, "body": body})


def intended(tx: Tx, attempt_ids: Sequence[str]) -> None:
    """Those attempts are over: what was noted of them is not needed any more."""
    if attempt_ids:
        tx.execute(sa.delete(intents).where(intents.c.attempt_id.in_(attempt_ids)))


def intents_of(tx: Tx, worker: str) -> dict[str, str]:
    """What a worker was about to do, by attempt."""
    rows = tx.execute(sa.select(intents).where(intents.c.worker == worker)).all()
    return {row.attempt_id: row.body for row in rows}


def _row(entry: Entry) -> dict[str, object]:
    row = {name: getattr(entry, name) for name in _COLUMNS}
    usage = entry.usage
    for name in CLASSES:
        row[name] = getattr(usage, name)
    row["status"] = entry.status.value
    row["day"] = entry.at.astimezone(UTC).date().isoformat()
    return row


_WRITTEN = Prepared(sa.insert(entries))
_INTENDED = Prepared(sa.insert(intents))
_COLUMNS = [name for name in Entry.__struct_fields__ if name != "usage"]
