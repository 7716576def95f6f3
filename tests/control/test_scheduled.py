"""Schedules start executions: each fire time once, whatever runs or does not run meanwhile."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from control import events
from control.flows import schedule, timetable
from control.tables import executions, schedules
from kit.db import Database
from tests.control.house import ACCOUNT, House

HOURLY = """
version: 1
name: report
agent: {runtime: scripted}
triggers:
  - {type: schedule, cron: "0 * * * *"MORE}
  - {type: manual}
prompt: For {{trigger_event.scheduled_at}}
"""


async def apply(house: House, more: str = "", source: str = HOURLY) -> None:
    await house.apply(source.replace("MORE", more))


async def rows(house: House) -> Sequence[Any]:
    return await house.db.read(sa.select(schedules).order_by(schedules.c.position))


async def back(house: House, ago: timedelta) -> datetime:
    """As if the schedule's last look at the clock had been so long ago; the fire time that is due since."""
    [first] = schedule.following("0 * * * *", "UTC", datetime.now(UTC) - ago)
    await house.db.write(lambda tx: tx.execute(sa.update(schedules).values(next_at=first)))
    return first


async def fire(house: House, *others: Database, **more: Any) -> None:
    """The chore, in as many processes at once."""
    async with anyio.create_task_group() as tasks:
        for db in (house.db, *others):
            tasks.start_soon(house.chores(db, **more).fire)


async def made(house: House) -> list[dict[str, Any]]:
    """The events of the executions that schedules made, oldest first."""
    mine = sa.select(executions.c.trigger_event).where(executions.c.trigger_type == "schedule")
    return [json.loads(row.trigger_event) for row in await house.db.read(mine.order_by(executions.c.created_at))]


async def told(house: House, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in await events.read(house.db, ACCOUNT, events.ACCOUNT) if event.type == kind]


async def due_now(house: House) -> datetime:
    """The schedule's time came two seconds ago; on time, whatever its line says."""
    at = datetime.now(UTC) - timedelta(seconds=2)
    await house.db.write(lambda tx: tx.execute(sa.update(schedules).values(next_at=at)))
    return at


async def test_nothing_starts_before_its_time(house: House) -> None:
    await apply(house)
    await fire(house)
    assert await made(house) == []
    [row] = await rows(house)
    assert row.next_at > datetime.now(UTC)
    assert (row.next_at.minute, row.next_at.second, row.last_at) == (0, 0, None)


async def test_two_processes_start_one_execution_for_a_fire_time(house: House, twin: Database) -> None:
    await apply(house)
    for _ in range(5):
        await due_now(house)
        await fire(house, twin, house.db, twin)
    assert len(await made(house)) == 5


async def test_the_event_says_what_it_is_for(house: House) -> None:
    await apply(house)
    at = await due_now(house)
    await fire(house)
    [event] = await made(house)
    assert event.pop("scheduled_at").startswith(f"{at:%Y-%m-%dT%H:%M:%S}")
    assert event == {"type": "schedule", "cron": "0 * * * *", "zone": "UTC", "missed": 0, "payload": {}}
    [row] = await rows(house)
    assert row.last_at is not None and row.next_at > datetime.now(UTC)
    await fire(house)
    assert len(await made(house)) == 1


async def test_what_was_missed_is_made_up_for_by_one_run(house: House) -> None:
    await apply(house)
    first = await back(house, timedelta(days=1))
    await fire(house)
    [event] = await made(house)
    assert event["missed"] in (23, 24)  # the newest of them may be on time
    assert event["scheduled_at"].startswith(f"{first:%Y-%m-%dT%H:%M}")
    await fire(house)
    assert len(await made(house)) == 1


async def test_what_was_missed_is_skipped_on_wish_and_recorded(house: House) -> None:
    await apply(house, ", missed: skip")
    at = datetime.now(UTC) - timedelta(minutes=61)
    await house.db.write(lambda tx: tx.execute(sa.update(schedules).values(next_at=at, cron="7 7 7 7 *")))
    await house.apply(HOURLY.replace("MORE", ", missed: skip").replace("0 * * * *", "7 7 7 7 *"))
    await fire(house)
    assert await made(house) == []
    [skipped] = await told(house, "schedule.skipped")
    assert (skipped["flow"], skipped["missed"]) == ("report", 1)
    [row] = await rows(house)
    assert row.next_at > datetime.now(UTC)
    await due_now(house)
    await fire(house)
    assert [event["missed"] for event in await made(house)] == [0]


async def test_a_schedule_that_stays_keeps_its_time_when_its_file_changes(house: House) -> None:
    await apply(house)
    at = await due_now(house)
    await apply(house, source=HOURLY.replace("prompt: For", "prompt: Now for"))
    assert [row.next_at for row in await rows(house)] == [at]
    await apply(house, source=HOURLY.replace("0 * * * *", "30 * * * *"))
    [row] = await rows(house)
    assert (row.cron, row.next_at.minute, row.next_at > datetime.now(UTC)) == ("30 * * * *", 30, True)
    await apply(house, source=HOURLY.replace('  - {type: schedule, cron: "0 * * * *"MORE}\n', ""))
    assert await rows(house) == []


async def test_each_schedule_of_a_flow_fires_in_its_own_zone(house: House) -> None:
    berlin = '\n  - {type: schedule, cron: "30 9 * * *", zone: Asia/Kolkata}'
    await house.apply(HOURLY.replace("MORE}", "}" + berlin))
    [hourly, kolkata] = await rows(house)
    assert (hourly.position, kolkata.position) == (0, 1)
    assert (kolkata.next_at.hour, kolkata.next_at.minute) == (4, 0)


async def test_a_row_of_an_older_file_starts_nothing(house: House) -> None:
    await apply(house)
    await due_now(house)
    [row] = await house.db.write(timetable.due)
    await apply(house, source=HOURLY.replace("0 * * * *", "30 * * * *"))
    assert not await house.db.write(lambda tx: timetable.take(tx, row))


async def test_a_full_queue_or_a_prompt_that_fails_stops_no_schedule_for_good(house: House) -> None:
    await apply(house)
    for _ in range(3):
        await due_now(house)
        await fire(house, max_pending=2)
    assert len(await made(house)) == 2
    [refused] = await told(house, "schedule.refused")
    assert (refused["flow"], refused["code"]) == ("report", "queue_full")
    await house.apply(
        HOURLY.replace("MORE", "").replace("{{trigger_event.scheduled_at}}", "{{trigger_event.payload.x}}")
        + "on_undefined: fail\n"
    )
    await due_now(house)
    await fire(house)
    assert [event["code"] for event in await told(house, "schedule.refused")] == ["queue_full", "prompt_undefined"]
    assert all(row.next_at > datetime.now(UTC) for row in await rows(house))


@pytest.mark.parametrize("bad", ['cron: "61 * * * *"', 'cron: "0 9 * * *", zone: Nowhere', "labels: [x]"])
async def test_a_schedule_that_can_not_be_is_refused_when_it_is_saved(house: House, bad: str) -> None:
    with pytest.raises(Exception, match=r"line 6, triggers\.0: "):
        await house.apply(HOURLY.replace('cron: "0 * * * *"MORE', bad))
    assert await rows(house) == []
