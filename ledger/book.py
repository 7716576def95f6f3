"""The book: one entry for each attempt at a model, written once.

The door that spent the money composes the unit: the entry here, the event in `control/events`, the hold in `budgets`.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from kit.db import Tx
from ledger.prices import Usage
from ledger.tables import entries


class Status(StrEnum):
    ANSWERED = "answered"  # the model spoke to its end; the figures are the provider's
    FAILED = "failed"  # refused before a word: costs nothing
    CUT = "cut"  # ended early by anybody: billed by an estimate that is marked
    LOST = "lost"  # the worker died with it: billed by an estimate that is marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
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
    price_version: str | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    upstream_id: str | None = None


def append(tx: Tx, entry: Entry) -> bool:
    """Write an entry; False when this attempt has one already, which then stays as it is."""
    row = asdict(entry)
    row |= row.pop("usage")
    row["status"] = entry.status.value
    row["day"] = entry.at.astimezone(UTC).date().isoformat()
    result = tx.execute(tx.insert(entries).values(row).on_conflict_do_nothing())
    return result.rowcount > 0
