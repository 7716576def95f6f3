"""Workers take, reserve, settle, flush, return and die in any order: no budget is passed, and nothing is lost.

The rows are real (SQLite, in memory), the purses are the workers' own; a journal is played by what each of them has
open.
"""

from dataclasses import dataclass, field
from itertools import count

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kit.db import Tx
from ledger import budgets
from ledger.budgets import Exhausted
from ledger.limits import Budget, Charge, budget
from ledger.purse import Purse
from ledger.tables import budgets as rows
from ledger.tables import leases, metadata

ACCOUNT = "default"
WIDE = budget("account", ACCOUNT, 1_000)
NARROW = budget("run", "exe_1", 300)
TOLD = budget("account", ACCOUNT, 200, kind="soft")
AGAINST = {"both": (WIDE, NARROW, TOLD), "wide": (WIDE, TOLD)}
workers = st.integers(min_value=0, max_value=2)
amounts = st.integers(min_value=0, max_value=120)


@dataclass
class Worker:
    """A process: what it holds, and what its journal says is open or was not yet committed."""

    name: str
    purse: Purse = field(default_factory=Purse)
    open: dict[str, tuple[tuple[Budget, ...], int]] = field(default_factory=dict)
    unflushed: list[tuple[Charge, ...]] = field(default_factory=list)


class Workers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        metadata.create_all(self.engine)
        self.names, self.ids = count(), count()
        self.workers = [self._born() for _ in range(3)]
        self.dead: list[Worker] = []
        self.entries: dict[str, int] = {}
        self.beyond = 0
        self.crossed = 0

    def _born(self) -> Worker:
        return Worker(name=f"jnl_{next(self.names)}")

    @rule(number=workers, which=st.sampled_from(sorted(AGAINST)), amount=amounts, exactly=st.booleans())
    def begin(self, number: int, which: str, amount: int, exactly: bool) -> None:
        """As a call does: from memory, else after a lease was cut, else refused."""
        worker, against, id_ = self.workers[number], AGAINST[which], f"att_{next(self.ids)}"
        if not worker.purse.reserve(id_, ACCOUNT, against, amount):
            wants = worker.purse.wants(ACCOUNT, against, [amount])
            with self.engine.begin() as connection:
                taken = budgets.take(Tx(connection), worker.name, ACCOUNT, wants, exactly=exactly)
            if isinstance(taken, Exhausted):
                free = sum(part.need for part in wants if part.budget.key == taken.budget.key)
                assert taken.spent_nano + taken.held_nano + free > taken.budget.limit_nano
                return
            for part in taken:
                worker.purse.add(ACCOUNT, part.budget, part.amount_nano)
            assert worker.purse.reserve(id_, ACCOUNT, against, amount)
        worker.open[id_] = (against, amount)

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(data=st.data(), over=st.integers(min_value=0, max_value=9))
    def settle(self, data: st.DataObject, over: int) -> None:
        """To the real figure; one in ten is dearer than it could have been."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.open]))
        id_ = data.draw(st.sampled_from(sorted(worker.open)))
        _, amount = worker.open.pop(id_)
        cost = data.draw(st.integers(0, amount)) if over else amount + data.draw(st.integers(1, 200))
        self.beyond += max(0, cost - amount)
        self.entries[id_] = cost
        worker.unflushed.append(worker.purse.settle(id_, cost))
        assert worker.purse.settle(id_, cost) == ()

    @rule(number=workers)
    def flush(self, number: int) -> None:
        worker = self.workers[number]
        self._commit(worker, worker.unflushed)
        worker.unflushed = []

    @rule(number=workers, all_=st.booleans())
    def give_back(self, number: int, all_: bool) -> None:
        worker = self.workers[number]
        parts = worker.purse.surrender() if all_ else worker.purse.idle()
        with self.engine.begin() as connection:
            budgets.give_back(Tx(connection), worker.name, parts)

    @rule(number=workers)
    def die(self, number: int) -> None:
        self.dead.append(self.workers[number])
        self.workers[number] = self._born()

    @precondition(lambda self: self.dead)
    @rule()
    def recover(self) -> None:
        """From its journal: what had ended as it ended, what was open at all that was reserved."""
        worker = self.dead.pop()
        for id_, (against, amount) in worker.open.items():
            self.entries[id_] = amount
            worker.unflushed.append(
                tuple(Charge(budget=b, spent_nano=amount, held_nano=-amount if b.hard else 0) for b in against)
            )
        self._commit(worker, worker.unflushed)
        with self.engine.begin() as connection:
            budgets.release_of(Tx(connection), worker.name)

    def _commit(self, worker: Worker, charges: list[tuple[Charge, ...]]) -> None:
        with self.engine.begin() as connection:
            flat = [(ACCOUNT, charge) for its in charges for charge in its]
            self.crossed += len(budgets.charge(Tx(connection), worker.name, flat))

    def standing(self) -> dict[str, tuple[int, int]]:
        with self.engine.connect() as connection:
            return {row.key: (row.spent_nano, row.held_nano) for row in connection.execute(sa.select(rows))}

    @invariant()
    def no_budget_is_passed(self) -> None:
        """But by what calls cost beyond their estimate."""
        for key, (spent, held) in self.standing().items():
            if "hard" in key:
                limit = {WIDE.key: WIDE.limit_nano, NARROW.key: NARROW.limit_nano}[key]
                assert spent + held <= limit + self.beyond

    @invariant()
    def what_is_held_is_the_leases(self) -> None:
        with self.engine.connect() as connection:
            lent: dict[str, int] = {}
            for row in connection.execute(sa.select(leases)):
                lent[row.budget_key] = lent.get(row.budget_key, 0) + row.amount_nano
        held = {key: held for key, (_, held) in self.standing().items() if held}
        assert held == {key: amount for key, amount in lent.items() if amount}

    @invariant()
    def every_reservation_is_covered_by_a_lease(self) -> None:
        held = self.standing()
        for one in (WIDE, NARROW):
            reserved = sum(
                amount
                for worker in (*self.workers, *self.dead)
                for against, amount in worker.open.values()
                if one in against
            )
            assert held.get(one.key, (0, 0))[1] >= reserved

    def teardown(self) -> None:
        """All ends: nothing is held, and what is spent is what the entries say, to the nano-dollar."""
        self.dead += self.workers
        while self.dead:
            self.recover()
        standing = self.standing()
        assert all(held == 0 for _, held in standing.values())
        assert standing.get(WIDE.key, (0, 0))[0] == sum(self.entries.values())
        assert standing.get(TOLD.key, (0, 0))[0] == sum(self.entries.values())
        assert self.crossed == (sum(self.entries.values()) >= TOLD.limit_nano)
        self.engine.dispose()


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_a_call_cost_beyond_all_we_have_is_held_until_it_is_written() -> None:
    purse = Purse()
    purse.add(ACCOUNT, WIDE, 100)
    assert purse.reserve("att_1", ACCOUNT, [WIDE], 60)
    assert purse.reserve("att_2", ACCOUNT, [WIDE], 40)
    assert purse.settle("att_1", 90) == (Charge(budget=WIDE, spent_nano=90, held_nano=-60),)
    assert purse.settle("att_2", 10) == (Charge(budget=WIDE, spent_nano=10, held_nano=-10),)
    assert [part.amount_nano for part in purse.surrender()] == [30]
