"""Repricing: an entry that was written is never changed; what it should have cost is a new entry that names it.

A correction carries the difference, no tokens, and the moment of the call, so that it counts into the day of the call.
Budgets are not touched: what they decided, they decided on the price of that day.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from kit.db import Tx
from ledger import book, prices
from ledger.book import Entry, Status
from ledger.prices import CLASSES, Price, Usage
from ledger.tables import entries

BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """What a batch came to. `stands_nano` is what the calls that were seen were billed at before; `last` is the entry
    to go on after, None when it was the last batch."""

    seen: int
    corrected: int
    delta_nano: int
    stands_nano: int
    last: str | None


def reprice(tx: Tx, which: sa.ColumnElement[bool], price: Price, *, after: str = "", write: bool = True) -> Repriced:
    """Correct the next batch of entries after an id to what they cost at a price.

    Doing it again finds nothing left to correct. What the provider itself charged stays. Not `write`: only say what
    would be done.
    """
    mine = which & entries.c.corrects.is_(None) & (entries.c.cost_source != "provider") & (entries.c.id > after)
    rows = tx.execute(sa.select(entries).where(mine).order_by(entries.c.id).limit(BATCH)).all()
    before = _corrected(tx, [row.id for row in rows])
    stands = {row.id: _stands(row, before.get(row.id, (0, 0))) for row in rows}
    found = [entry for row in rows if (entry := _correction(row, before.get(row.id, (0, 0))[0], stands[row.id], price))]
    written = book.append(tx, found) if write else {entry.id for entry in found}
    return Repriced(
        seen=len(rows),
        corrected=len(written),
        delta_nano=sum(entry.cost_nano or 0 for entry in found if entry.id in written),
        stands_nano=sum(amount or 0 for amount in stands.values()),
        last=rows[-1].id if len(rows) == BATCH else None,
    )


def _corrected(tx: Tx, ids: list[str]) -> dict[str, tuple[int, int]]:
    """Of each entry that was corrected before: how often, and by how much together."""
    amount = sa.cast(sa.func.sum(entries.c.cost_nano), sa.BigInteger)
    asked = sa.select(entries.c.corrects, sa.func.count().label("times"), amount.label("amount"))
    rows = tx.execute(asked.where(entries.c.corrects.in_(ids)).group_by(entries.c.corrects)).all()
    return {row.corrects: (row.times, row.amount) for row in rows}


def _stands(row: Row[Any], before: tuple[int, int]) -> int | None:
    """What a call is billed at, corrections and all; None when it has no price yet."""
    times, amount = before
    return None if row.cost_nano is None and not times else (row.cost_nano or 0) + amount


def _correction(row: Row[Any], times: int, stands: int | None, price: Price) -> Entry | None:
    should = prices.cost(Usage(**{name: getattr(row, name) for name in CLASSES}), price)
    if should is None or (should := should + row.hosted_nano) == stands:
        return None
    return Entry(
        id=_id(row.id, times),
        corrects=row.id,
        account_id=row.account_id,
        session_id=row.session_id,
        execution_id=row.execution_id,
        flow=row.flow,
        principal=row.principal,
        alias=row.alias,
        provider=row.provider,
        model=row.model,
        wire=row.wire,
        status=Status(row.status),
        usage=Usage(),
        cost_nano=should - (stands or 0),
        cost_source="estimated" if row.cost_source == "estimated" else price.source,
        price_version=price.version,
        at=row.at,
        attempt=row.attempt,
    )


def _id(corrected: str, times: int) -> str:
    """The same for whoever corrects the same entry at the same time: one of them writes it."""
    return f"cor_{hashlib.sha256(f'{corrected}/{times}'.encode()).hexdigest()[:26]}"
