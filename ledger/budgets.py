"""Budgets: hold before the call, settle after it. One conditional UPDATE decides; its row count is the verdict.

Every function runs inside a unit. A budget's row is made by the first hold that needs it. Neighbours: `book` records
what the call really cost, in the same unit as `settle`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from kit.db import Tx
from ledger.tables import budgets, holds

TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit that a call counts against: `scope` says of what, `subject` of which, `period` of when."""

    scope: str
    subject: str
    limit_nano: int
    period: str = TOTAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The budget that had no room, and how it stands."""

    budget: Budget
    limit_nano: int
    spent_nano: int
    held_nano: int


def of_session(session_id: str, limit_nano: int) -> Budget:
    return Budget(scope="session", subject=session_id, limit_nano=limit_nano)


def hold(
    tx: Tx, account_id: str, attempt_id: str, against: Sequence[Budget], amount_nano: int, *, worker: str
) -> Exhausted | None:
    """Reserve an amount on every budget or on none; None when it is held. `worker` is who must settle it."""
    for number, budget in enumerate(against):
        if not _take(tx, account_id, budget, amount_nano):
            for taken in against[:number]:
                _move(tx, account_id, taken.scope, taken.subject, taken.period, held=-amount_nano)
            return _standing(tx, account_id, budget)
    now = tx.now()
    rows = [
        {
            "attempt_id": attempt_id,
            "account_id": account_id,
            "scope": budget.scope,
            "subject": budget.subject,
            "period": budget.period,
            "amount_nano": amount_nano,
            "worker": worker,
            "created_at": now,
        }
        for budget in against
    ]
    if rows:
        tx.execute(sa.insert(holds), rows)
    return None


def settle(tx: Tx, actual_nano: Mapping[str, int]) -> int:
    """Turn the holds of attempts into what those really cost; one that never happened cost nothing.

    Returns how many holds were closed: an attempt that held nothing, or was settled before, closes none.
    """
    return _close(tx, holds.c.attempt_id.in_(actual_nano), actual_nano) if actual_nano else 0


def release_of(tx: Tx, worker: str) -> int:
    """Give back what a dead worker still holds and never began: to be called after its journal was settled."""
    return _close(tx, holds.c.worker == worker, {})


def _take(tx: Tx, account_id: str, budget: Budget, amount_nano: int) -> bool:
    key = {"account_id": account_id, "scope": budget.scope, "subject": budget.subject, "period": budget.period}
    fresh = tx.insert(budgets).values(key | {"limit_nano": budget.limit_nano, "created_at": tx.now()})
    tx.execute(fresh.on_conflict_do_nothing())
    room = budgets.c.spent_nano + budgets.c.held_nano + amount_nano <= budgets.c.limit_nano
    mine = _mine(account_id, budget.scope, budget.subject, budget.period)
    return tx.changed(sa.update(budgets).where(mine, room).values(held_nano=budgets.c.held_nano + amount_nano))


def _close(tx: Tx, which: sa.ColumnElement[bool], actual_nano: Mapping[str, int]) -> int:
    """One UPDATE per budget, in one order everywhere."""
    closed = tx.execute(sa.delete(holds).where(which).returning(holds)).all()
    sums: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for row in closed:
        key = (row.account_id, row.scope, row.subject, row.period)
        held, spent = sums.get(key, (0, 0))
        sums[key] = (held - row.amount_nano, spent + actual_nano.get(row.attempt_id, 0))
    for key, (held, spent) in sorted(sums.items()):
        _move(tx, *key, held=held, spent=spent)
    return len(closed)


def _move(tx: Tx, account_id: str, scope: str, subject: str, period: str, *, held: int, spent: int = 0) -> None:
    tx.execute(
        sa.update(budgets)
        .where(_mine(account_id, scope, subject, period))
        .values(held_nano=budgets.c.held_nano + held, spent_nano=budgets.c.spent_nano + spent)
    )


def _standing(tx: Tx, account_id: str, budget: Budget) -> Exhausted:
    mine = _mine(account_id, budget.scope, budget.subject, budget.period)
    row = tx.execute(sa.select(budgets).where(mine)).one()
    return Exhausted(budget=budget, limit_nano=row.limit_nano, spent_nano=row.spent_nano, held_nano=row.held_nano)


def _mine(account_id: str, scope: str, subject: str, period: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        budgets.c.account_id == account_id,
        budgets.c.scope == scope,
        budgets.c.subject == subject,
        budgets.c.period == period,
    )
