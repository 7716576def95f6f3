"""Every PENDING execution says why it waits and where it stands in line."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from control.executions import lifecycle, pending, queue, runners
from control.executions.waiting import Facts, Reason, Waiting, why
from control.tables import accounts, executions
from tests.control.house import ACCOUNT, FLOW, House

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FREE: dict[str, Any] = dict(
    position=1, not_before=None, flow_running=0, concurrency=2, running=0, slots=20, places=20, problem=None
)


@pytest.mark.parametrize(
    ("changed", "reason", "text"),
    [
        ({}, "next", "A slot is free for it."),
        ({"position": 3}, "next", "A slot is free for it. 2 of its flow come before it."),
        ({"places": 0}, "no_engine", "No runner is up."),
        ({"places": 0, "problem": "no engine: Docker"}, "no_engine", "No engine: Docker."),
        ({"not_before": NOW + timedelta(seconds=5)}, "backoff", "at 12:00:05 UTC at the earliest."),
        ({"not_before": NOW}, "next", "A slot is free for it."),
        ({"running": 20}, "account_slots", "All 20 slots of the account are taken."),
        ({"running": 1, "slots": 1}, "account_slots", "The only slot of the account is taken."),
        ({"running": 20, "slots": None, "places": 21}, "next", "A slot is free for it."),
        ({"running": 2, "flow_running": 2}, "flow_concurrency", "2 of its flow run, and 2 may at a time."),
        ({"running": 3, "places": 3}, "runner_busy", "All 3 places of the runners are taken."),
        ({"running": 20, "position": 2}, "account_slots", "are taken. 1 of its flow comes before it."),
    ],
)
def test_the_reason_is_the_first_thing_that_would_have_to_change(
    changed: dict[str, Any], reason: str, text: str
) -> None:
    told = why(Facts(**FREE | changed), NOW)
    assert (told.reason, told.position) == (reason, changed.get("position", 1))
    assert told.text.endswith(text)


async def attend(house: House, parallel: int = 20, problem: str | None = None) -> None:
    await house.db.write(lambda tx: runners.announce(tx, "w1", engine="x", parallel=parallel, problem=problem))


async def told(house: House) -> dict[str, Waiting]:
    rows = await house.db.read(sa.select(executions))
    now = await house.db.write(lambda tx: tx.now())
    return await pending.reasons(house.db, ACCOUNT, rows, now)


async def reasons(house: House, ids: list[str]) -> list[tuple[str, int]]:
    found = await told(house)
    return [(found[id_].reason.value, found[id_].position) for id_ in ids]


async def test_the_line_of_a_flow_is_told_as_it_will_be_served(house: House) -> None:
    await attend(house)
    ids = [await house.start() for _ in range(5)]
    assert await reasons(house, ids) == [("next", place) for place in (1, 2, 3, 4, 5)]
    for _ in range(3):
        await house.db.write(lambda tx: queue.claim(tx, "w1"))
    assert await reasons(house, ids[3:]) == [("flow_concurrency", 1), ("flow_concurrency", 2)]
    assert set(await told(house)) == set(ids[3:])


async def test_each_thing_that_holds_one_up_is_told(house: House) -> None:
    id_ = await house.start()
    assert await reasons(house, [id_]) == [("no_engine", 1)]
    await attend(house, parallel=0, problem="no engine: Docker does not answer")
    assert (await told(house))[id_].text == "No engine: Docker does not answer."
    await attend(house, parallel=1)
    await house.apply(FLOW.replace("process-payment", "other"))
    await house.start("other")
    await house.db.write(lambda tx: queue.claim(tx, "w1"))
    waiting = [row.id for row in await house.db.read(sa.select(executions)) if row.state == "PENDING"]
    assert await reasons(house, waiting) == [("runner_busy", 1)]
    await house.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=1)))
    assert await reasons(house, waiting) == [("account_slots", 1)]
    await house.db.write(lambda tx: runners.leave(tx, "w%"))
    assert await reasons(house, waiting) == [("no_engine", 1)]


async def test_a_runner_that_died_counts_for_nothing(house: House) -> None:
    await attend(house)
    id_ = await house.start()
    later = await house.db.write(lambda tx: tx.now() + runners.ALIVE + timedelta(seconds=1))
    found = await pending.reasons(house.db, ACCOUNT, await house.db.read(sa.select(executions)), later)
    assert found[id_].reason is Reason.NO_ENGINE


async def test_a_retry_waits_for_its_time_and_lets_others_pass(house: House) -> None:
    await attend(house)
    retry, other = await house.start(), await house.start()
    await not_before(house, retry, timedelta(minutes=5))
    assert await reasons(house, [retry, other]) == [("backoff", 2), ("next", 1)]
    claimed = [await house.db.write(lambda tx: queue.claim(tx, "w1")) for _ in range(2)]
    assert [row and row.id for row in claimed] == [other, None]
    await not_before(house, retry, -timedelta(seconds=1))
    assert await reasons(house, [retry]) == [("next", 1)]
    row = await house.db.write(lambda tx: queue.claim(tx, "w1"))
    assert row and row.id == retry


async def test_one_that_was_cancelled_waits_for_nothing(house: House) -> None:
    gone, stays = await house.start(), await house.start()
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, gone, by="test"))
    assert {id_: waiting.position for id_, waiting in (await told(house)).items()} == {stays: 1}


async def not_before(house: House, id_: str, ahead: timedelta) -> None:
    mine = sa.update(executions).where(executions.c.id == id_)
    await house.db.write(lambda tx: tx.execute(mine.values(not_before=tx.now() + ahead)))
