"""A hard budget holds, whoever races for it, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from kit.db import Database, Tx
from kit.ids import new_id
from ledger import budgets, reports
from ledger.budgets import Exhausted
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
        async with postgres(request.getfixturevalue("postgres_url")) as two:
            yield two


async def hold(db: Database, session: str, attempt: str, amount: int = AMOUNT) -> Exhausted | None:
    def unit(tx: Tx) -> Exhausted | None:
        return budgets.hold(tx, ACCOUNT, attempt, [budgets.of_session(session, LIMIT)], amount, worker="jnl_1")

    return await db.write(unit)


async def test_sixty_four_racers_on_two_workers_never_overspend(doors: Doors) -> None:
    session, admitted = new_id("ses"), []

    async def race(number: int) -> None:
        attempt = new_id("att")
        if await hold(doors[number % 2], session, attempt) is None:
            admitted.append(attempt)
            await doors[number % 2].write(lambda tx: budgets.settle(tx, {attempt: AMOUNT}))

    async with anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(race, number)
    standing = await reports.standing(doors[0], ACCOUNT, "session", session)
    assert standing == reports.Standing(limit_nano=LIMIT, spent_nano=AMOUNT * ROOM, held_nano=0)
    assert len(admitted) == ROOM


async def test_a_refusal_says_how_the_budget_stands_and_takes_nothing(doors: Doors) -> None:
    session = new_id("ses")
    await hold(doors[0], session, new_id("att"), LIMIT - 1)
    refused = await hold(doors[0], session, new_id("att"), 2)
    assert refused
    assert (refused.limit_nano, refused.spent_nano, refused.held_nano) == (LIMIT, 0, LIMIT - 1)


async def test_one_budget_without_room_leaves_the_others_untouched(doors: Doors) -> None:
    wide, narrow = budgets.of_session(new_id("ses"), 100), budgets.of_session(new_id("ses"), 10)

    def unit(tx: Tx) -> Exhausted | None:
        return budgets.hold(tx, ACCOUNT, new_id("att"), [wide, narrow], 50, worker="jnl_1")

    refused = await doors[0].write(unit)
    assert refused
    assert refused.budget == narrow
    standing = await reports.standing(doors[0], ACCOUNT, "session", wide.subject)
    assert standing
    assert standing.held_nano == 0


async def test_settling_twice_counts_once(doors: Doors) -> None:
    session, attempt = new_id("ses"), new_id("att")
    await hold(doors[0], session, attempt)
    assert await doors[0].write(lambda tx: budgets.settle(tx, {attempt: 5}))
    assert not await doors[1].write(lambda tx: budgets.settle(tx, {attempt: 5}))
    standing = await reports.standing(doors[0], ACCOUNT, "session", session)
    assert standing == reports.Standing(limit_nano=LIMIT, spent_nano=5, held_nano=0)


async def test_what_a_dead_worker_held_and_never_began_comes_back(doors: Doors) -> None:
    session, worker = new_id("ses"), new_id("jnl")
    budget = budgets.of_session(session, LIMIT)
    await doors[0].write(lambda tx: budgets.hold(tx, ACCOUNT, new_id("att"), [budget], AMOUNT, worker=worker))
    assert await doors[1].write(lambda tx: budgets.release_of(tx, worker))
    standing = await reports.standing(doors[0], ACCOUNT, "session", session)
    assert standing == reports.Standing(limit_nano=LIMIT, spent_nano=0, held_nano=0)
