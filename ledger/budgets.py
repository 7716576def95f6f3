"""Budgets in the database: workers cut leases from a budget's row, give parts back, and turn parts into what was spent.

One conditional UPDATE decides; its row count is the verdict. Every function runs inside a unit and takes the rows in
the order of their keys. At any commit a budget's `held_nano` is the sum of its leases. Neighbours: `purse` is a
worker's own view of its leases, `book` records the calls in the same unit as `charge`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from kit.db import Tx
from kit.prepared import Prepared
from ledger.limits import Budget, Charge
from ledger.purse import Part, Want
from ledger.tables import budgets, leases

SHARE = 20
"""A lease is a twentieth of what is left, so that near the end it is no more than what one call needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The budget that had no room, and how it stands; `elsewhere_nano` of what is held is other workers'."""

    budget: Budget
    spent_nano: int
    held_nano: int
    elsewhere_nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A soft limit was just reached."""

    account_id: str
    budget: Budget
    spent_nano: int


def begin(tx: Tx, account_id: str, fresh: Sequence[Budget]) -> None:
    """Have rows of budgets that no call has counted against."""
    rows = [_new(tx, account_id, budget) for budget in fresh]
    tx.execute(tx.insert(budgets).on_conflict_do_nothing(), rows)


def take(
    tx: Tx, worker: str, account_id: str, wants: Sequence[Want], *, exactly: bool = False
) -> list[Part] | Exhausted:
    """Cut a part from every budget or from none. `exactly`: no more than what waits for it."""
    taken: list[Part] = []
    for want in sorted(wants, key=lambda want: want.budget.key):
        size = _cut(tx, account_id, want, exactly)
        if size is None:
            for part in taken:
                _move(tx, account_id, part.budget.key, held=-part.amount_nano)
            return _refused(tx, worker, account_id, want.budget)
        taken.append(Part(account_id=account_id, budget=want.budget, amount_nano=size))
    for part in taken:
        _lend(tx, worker, account_id, part.budget.key, part.amount_nano)
    return taken


def give_back(tx: Tx, worker: str, parts: Iterable[Part]) -> None:
    for part in sorted(parts, key=lambda part: (part.account_id, part.budget.key)):
        _move(tx, part.account_id, part.budget.key, held=-part.amount_nano)
        _lend(tx, worker, part.account_id, part.budget.key, -part.amount_nano)
    tx.execute(sa.delete(leases).where(leases.c.worker == worker, leases.c.amount_nano == 0))


def charge(tx: Tx, worker: str, charges: Iterable[tuple[str, Charge]]) -> list[Crossing]:
    """Write what attempts cost, as (account, charge): one UPDATE a budget. The soft limits that were reached by it."""
    sums: dict[tuple[str, str], Charge] = {}
    for account_id, one in charges:
        known = sums.get((account_id, one.budget.key))
        spent, held = (known.spent_nano, known.held_nano) if known else (0, 0)
        sums[account_id, one.budget.key] = Charge(
            budget=one.budget, spent_nano=spent + one.spent_nano, held_nano=held + one.held_nano
        )
    crossed = []
    for (account_id, key), total in sorted(sums.items(), key=lambda item: item[0]):
        spent = _spend(tx, account_id, total)
        if total.held_nano:
            _lend(tx, worker, account_id, key, total.held_nano)
        limit = total.budget.limit_nano
        if not total.budget.hard and spent - total.spent_nano < limit <= spent:
            crossed.append(Crossing(account_id=account_id, budget=total.budget, spent_nano=spent))
    return crossed


def release_of(tx: Tx, worker: str) -> int:
    """Give back what a worker still holds: when it ends, or after a dead one's journal was settled."""
    rows = tx.execute(sa.delete(leases).where(leases.c.worker == worker).returning(leases)).all()
    for row in sorted(rows, key=lambda row: (row.account_id, row.budget_key)):
        _move(tx, row.account_id, row.budget_key, held=-row.amount_nano)
    return len(rows)


def _cut(tx: Tx, account_id: str, want: Want, exactly: bool) -> int | None:
    """A twentieth of what is left, at least what is needed, at most what is left; None when that is too little."""
    budget, mine = want.budget, _mine(account_id, want.budget.key)
    row = tx.one(sa.select(budgets.c.spent_nano, budgets.c.held_nano).where(mine))
    if row is None:
        tx.execute(tx.insert(budgets).values(_new(tx, account_id, budget)).on_conflict_do_nothing())
    left = budget.limit_nano - (row.spent_nano + row.held_nano if row else 0)
    generous = min(left, max(want.want, 0 if exactly else left // SHARE))
    for size in (generous, want.need):
        room = budgets.c.spent_nano + budgets.c.held_nano + size <= budget.limit_nano
        changed = {"held_nano": budgets.c.held_nano + size, "limit_nano": budget.limit_nano}
        if size >= want.need and tx.changed(sa.update(budgets).where(mine, room).values(changed)):
            return size
    return None


def _refused(tx: Tx, worker: str, account_id: str, budget: Budget) -> Exhausted:
    """How it stands; whoever holds free parts of it elsewhere is asked for them."""
    row = tx.execute(sa.select(budgets).where(_mine(account_id, budget.key))).one()
    own = tx.execute(sa.select(leases.c.amount_nano).where(_its(worker, account_id, budget.key))).scalar() or 0
    if row.held_nano > own:
        tx.execute(sa.update(budgets).where(_mine(account_id, budget.key)).values(wanted_at=tx.now()))
    return Exhausted(
        budget=budget, spent_nano=row.spent_nano, held_nano=row.held_nano, elsewhere_nano=row.held_nano - own
    )


def _spend(tx: Tx, account_id: str, total: Charge) -> int:
    """What is spent of it now."""
    moves = {"spent": total.spent_nano, "held": total.held_nano, "most": total.budget.limit_nano}
    known = tx.run(_SPENT, {"account": account_id, "budget": total.budget.key} | moves).first()
    if known is not None:
        return int(known.spent_nano)
    row = _new(tx, account_id, total.budget) | {"spent_nano": total.spent_nano, "held_nano": total.held_nano}
    changed = {
        "spent_nano": budgets.c.spent_nano + total.spent_nano,
        "held_nano": budgets.c.held_nano + total.held_nano,
        "limit_nano": total.budget.limit_nano,
    }
    statement = tx.insert(budgets).values(row).on_conflict_do_update(index_elements=["account_id", "key"], set_=changed)
    spent: int = tx.execute(statement.returning(budgets.c.spent_nano)).scalar_one()
    return spent


def _new(tx: Tx, account_id: str, budget: Budget) -> dict[str, object]:
    return {
        "account_id": account_id,
        "key": budget.key,
        "scope": budget.scope,
        "subject": budget.subject,
        "period": budget.period,
        "window_start": budget.window,
        "kind": budget.kind,
        "limit_nano": budget.limit_nano,
        "created_at": tx.now(),
    }


def _move(tx: Tx, account_id: str, key: str, *, held: int) -> None:
    tx.execute(sa.update(budgets).where(_mine(account_id, key)).values(held_nano=budgets.c.held_nano + held))


def _lend(tx: Tx, worker: str, account_id: str, key: str, amount_nano: int) -> None:
    """Make a worker's lease so much larger, or smaller."""
    named = {"by": worker, "account": account_id, "budget": key}
    if tx.run(_LENT, named | {"more": amount_nano}).rowcount:
        return
    row = {"worker": worker, "account_id": account_id, "budget_key": key, "amount_nano": amount_nano}
    keys = ["worker", "account_id", "budget_key"]
    changed = {"amount_nano": leases.c.amount_nano + amount_nano}
    tx.execute(tx.insert(leases).values(row).on_conflict_do_update(index_elements=keys, set_=changed))


_SPENT = Prepared(
    sa.update(budgets)
    .where(budgets.c.account_id == sa.bindparam("account"), budgets.c.key == sa.bindparam("budget"))
    .values(
        spent_nano=budgets.c.spent_nano + sa.bindparam("spent"),
        held_nano=budgets.c.held_nano + sa.bindparam("held"),
        limit_nano=sa.bindparam("most"),
    )
    .returning(budgets.c.spent_nano)
)
_LENT = Prepared(
    sa.update(leases)
    .where(
        leases.c.worker == sa.bindparam("by"),
        leases.c.account_id == sa.bindparam("account"),
        leases.c.budget_key == sa.bindparam("budget"),
    )
    .values(amount_nano=leases.c.amount_nano + sa.bindparam("more"))
)


def _mine(account_id: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(budgets.c.account_id == account_id, budgets.c.key == key)


def _its(worker: str, account_id: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(leases.c.worker == worker, leases.c.account_id == account_id, leases.c.budget_key == key)
