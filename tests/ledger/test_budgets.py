"""A hard budget holds, whoever races for it, on both databases."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from kit.db import Database, Tx
from kit.ids import new_id
from ledger import budgets, reports
from ledger.budgets import Exhausted
from ledger.limits import Budget, Charge, budget
from ledger.purse import Part, Purse, Want
from ledger.reports import Standing
from tests.ledger.books import ACCOUNT, postgres, sqlite

AMOUNT, ROOM = 7, 20
LIMIT = AMOUNT * ROOM + 3
Doors = tuple[Database, Database]


@pytest.fixture(params=["sqlite", "postgres"])
async def doors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Doors]:
    if request.param == "sqlite":
        async with sqlite(tmp_path) as two:
            yield two
    else:
        async with postgres(request.getfixturevalue("postgres_tables")) as two:
            yield two


def of_run(limit: int = LIMIT) -> Budget:
    return budget("run", new_id("exe"), limit)


async def take(
    db: Database, worker: str, *against: Budget, need: int = AMOUNT, exactly: bool = False
) -> list[Part] | Exhausted:
    wants = [Want(budget=one, need=need, want=need) for one in against]
    return await db.write(lambda tx: budgets.take(tx, worker, ACCOUNT, wants, exactly=exactly))


def cut(tx: Tx, worker: str, wants: list[Want]) -> list[Part] | Exhausted:
    return budgets.take(tx, worker, ACCOUNT, wants, exactly=True)


async def standing(db: Database, one: Budget) -> tuple[int, int]:
    found = await reports.standing(db, ACCOUNT, one)
    assert found
    return found.spent_nano, found.held_nano


async def test_sixty_four_racers_on_two_workers_never_overspend(doors: Doors) -> None:
    mine, admitted = of_run(), []
    purses = Purse(), Purse()

    async def race(number: int) -> None:
        which, attempt = number % 2, new_id("att")
        worker, purse, db = f"jnl_{which}", purses[which], doors[which]
        while not purse.reserve(attempt, ACCOUNT, [mine], AMOUNT):
            wants = purse.wants(ACCOUNT, [mine], [AMOUNT])
            parts = await db.write(partial(cut, worker=worker, wants=wants))
            if isinstance(parts, Exhausted):
                return
            for part in parts:
                purse.add(ACCOUNT, part.budget, part.amount_nano)
        admitted.append(attempt)
        charges = [(ACCOUNT, charge) for charge in purse.settle(attempt, AMOUNT)]
        await db.write(lambda tx: budgets.charge(tx, worker, charges))

    async with anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(race, number)
    assert len(admitted) == ROOM
    for number, db in enumerate(doors):
        await db.write(lambda tx, name=f"jnl_{number}": budgets.release_of(tx, name))  # type: ignore[misc]
    assert await reports.standing(doors[0], ACCOUNT, mine) == Standing(
        limit_nano=LIMIT, spent_nano=AMOUNT * ROOM, held_nano=0
    )


async def test_a_lease_is_a_twentieth_of_what_is_left_and_what_is_needed_near_the_end(doors: Doors) -> None:
    mine, cut = of_run(1_000), []
    for need in (10, 10, 400, 400, 50, 60):
        parts = await take(doors[0], "jnl_0", mine, need=need)
        cut.append(parts if isinstance(parts, Exhausted) else parts[0].amount_nano)
    refused = cut.pop()
    assert cut == [50, 47, 400, 400, 50]
    assert isinstance(refused, Exhausted)
    assert (refused.spent_nano, refused.held_nano, refused.elsewhere_nano) == (0, 947, 0)


async def test_a_refusal_says_what_others_hold_and_asks_them_for_it(doors: Doors) -> None:
    mine = of_run()
    await take(doors[0], "jnl_0", mine, need=LIMIT - 1)
    refused = await take(doors[1], "jnl_1", mine, need=2)
    assert isinstance(refused, Exhausted)
    assert (refused.budget, refused.held_nano, refused.elsewhere_nano) == (mine, LIMIT - 1, LIMIT - 1)
    assert await standing(doors[0], mine) == (0, LIMIT - 1)


async def test_one_budget_without_room_leaves_the_others_untouched(doors: Doors) -> None:
    first, second = sorted((of_run(100), of_run(100)), key=lambda one: one.key)
    await take(doors[0], "jnl_0", second, need=60)
    refused = await take(doors[0], "jnl_0", first, second, need=50)
    assert isinstance(refused, Exhausted)
    assert refused.budget == second
    assert await standing(doors[0], first) == (0, 0)


async def test_a_lower_limit_holds_at_once(doors: Doors) -> None:
    before = of_run(100)
    await take(doors[0], "jnl_0", before, need=60)
    after = budget("run", before.subject, 50)
    assert isinstance(await take(doors[0], "jnl_0", after, need=1), Exhausted)


async def test_parts_go_back_and_a_dead_worker_s_lease_too(doors: Doors) -> None:
    mine = of_run(100)
    parts = await take(doors[0], "jnl_0", mine, need=10)
    await take(doors[1], "jnl_1", mine, need=20)
    assert not isinstance(parts, Exhausted)
    await doors[0].write(lambda tx: budgets.give_back(tx, "jnl_0", parts))
    assert await standing(doors[0], mine) == (0, 20)
    assert await doors[0].write(lambda tx: budgets.release_of(tx, "jnl_1")) == 1
    assert await standing(doors[0], mine) == (0, 0)


async def test_a_soft_limit_is_told_once_when_it_is_reached(doors: Doors) -> None:
    soft = budget("account", new_id("acc"), 100, period="day", window="2026-11-22", kind="soft")

    def unit(tx: Tx) -> int:
        charge = Charge(budget=soft, spent_nano=40, held_nano=0)
        return len(budgets.charge(tx, "jnl_0", [(ACCOUNT, charge)]))

    assert [await doors[0].write(unit) for _ in range(4)] == [0, 0, 1, 0]
    assert await standing(doors[0], soft) == (160, 0)
