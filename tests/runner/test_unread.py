"""A run whose output is read slower than it is written ends when its agent does, and is told so."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from bench.memory_engine import END, MemoryEngine, Running
from control.executions import lifecycle, logs, queue
from control.executions.states import Cause
from control.identity import sessions
from control.tables import executions
from runner.engine import LogLine
from runner.run import UNREAD
from tests.control.house import ACCOUNT
from tests.runner.station import EXPIRED, Station, open_station
from tests.runner.test_log_limits import LINE, SAID, SMALL, cut, ours
from tests.waiting import until

SOON_S = 15


class Slow(MemoryEngine):
    """Lines behind the gate are told once it is open."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gate = anyio.Event()

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        async for line in super().logs(handle, after=after):
            if line.text.startswith(("unread", "PRELOOP_AGENT_EXEC_END")):
                await self.gate.wait()
            yield line


class Noted(MemoryEngine):
    """Remembers behind which line it was asked to tell."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.read_from: list[int] = []

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        self.read_from.append(int(after or 0))
        async for line in super().logs(handle, after=after):
            yield line


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path) as opened:
        opened.engine = Slow(opened.tasks)
        opened.parts = replace(opened.parts, engine=opened.engine)
        yield opened


def open_gate(station: Station) -> None:
    assert isinstance(station.engine, Slow)
    station.engine.gate.set()


async def working(station: Station) -> tuple[str, Running]:
    """An agent that called its tools and its model."""
    execution_id = await station.house.start()
    agent = await station.agent(execution_id)
    row = await station.house.row(execution_id)
    await station.db.write(lambda tx: sessions.mark_used(tx, row.session_id, tools=True, model=True))
    return execution_id, agent


async def test_a_stopped_run_ends_and_is_forgotten_however_much_is_unread(station: Station) -> None:
    station.worker()
    execution_id, agent = await working(station)
    agent.say("read")
    await station.stored(execution_id, "read")
    agent.say("unread")
    with anyio.fail_after(SOON_S):
        await station.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, execution_id, by="test"))
        row = await station.row_when(execution_id, lambda row: row.cleaned_at is not None, "the end")
    assert (row.state, row.epoch) == ("CANCELLED", 1)
    assert (await station.said(execution_id), await ours(station, execution_id)) == (["read"], [UNREAD])


async def test_while_what_a_stopped_agent_said_is_read_its_worker_holds_the_lease(station: Station) -> None:
    execution_id = await station.house.start()
    station.drive(await station.held("w1"), "w1")
    (await station.agent(execution_id)).say("unread")
    await station.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, execution_id, by="test"))

    async def stopped() -> bool:
        return "stop" in station.asked(execution_id)

    await until(stopped, SOON_S, what="the stop")
    before = (await station.house.row(execution_id)).lease_until
    station.house.bus.publish(lifecycle.stop_topic(execution_id))  # it renews when woken, as every 10 s
    renewed = await station.row_when(
        execution_id, lambda row: row.lease_until is None or row.lease_until > before, "a heartbeat"
    )
    assert renewed.state == "RUNNING"


async def test_who_drives_a_run_does_not_adopt_it(station: Station) -> None:
    await station.house.start()
    row = await station.held("w1")
    past = sa.update(executions).where(executions.c.id == row.id).values(lease_until=row.lease_until - EXPIRED)
    await station.db.write(lambda tx: tx.execute(past))
    engines = [station.parts.engine_id]
    assert await station.db.write(lambda tx: queue.adopt(tx, "w1", engines, [row.id])) is None
    assert await station.db.write(lambda tx: queue.adopt(tx, "w1", engines, [])) is not None


async def test_a_wish_of_the_clock_that_came_after_the_agent_s_end_ends_nothing(station: Station) -> None:
    station.worker()
    execution_id, agent = await working(station)
    agent.say(END.format(0))
    await station.db.write(lambda tx: lifecycle.intend(tx, ACCOUNT, execution_id, Cause.TIMEOUT, by="clock"))
    open_gate(station)
    row = await station.ended(execution_id)
    assert (row.state, row.cause, row.exit_code, row.stop_intent) == ("SUCCEEDED", None, 0, None)


async def test_one_that_came_before_it_does(station: Station) -> None:
    station.worker()
    execution_id, agent = await working(station)
    await station.db.write(lambda tx: lifecycle.intend(tx, ACCOUNT, execution_id, Cause.TIMEOUT, by="clock"))
    agent.say(END.format(0))
    open_gate(station)
    assert (await station.ended(execution_id)).cause == "timeout"


async def test_an_ended_container_is_noted_before_its_output_is_read_and_no_time_limit_ends_it(
    station: Station,
) -> None:
    station.worker()
    execution_id, agent = await working(station)
    agent.say("unread")
    agent.say(END.format(0))
    agent.end(0)
    row = await station.row_when(execution_id, lambda row: row.agent_ended_at is not None, "the agent's end")
    past = sa.update(executions).where(executions.c.id == execution_id)
    await station.db.write(lambda tx: tx.execute(past.values(claimed_at=row.claimed_at - timedelta(days=2))))
    assert await station.db.write(queue.overdue) == 0
    open_gate(station)
    row = await station.ended(execution_id)
    assert (row.state, row.exit_code) == ("SUCCEEDED", 0)


async def test_who_adopts_a_run_whose_log_was_cut_reads_on_where_it_was_read_to(tmp_path: Path) -> None:
    async with open_station(tmp_path, flow=SMALL) as station:
        noted = Noted(station.tasks)
        station.engine, station.parts = noted, replace(station.parts, engine=noted)
        execution_id, agent = await cut(station)
        with anyio.fail_after(SOON_S):
            while int(await station.db.write(lambda tx: logs.cursor(tx, execution_id))) <= SAID:
                agent.say(LINE)
                await anyio.lowlevel.checkpoint()
        taken = await station.adopted(execution_id, "w2")
        agent.say(END.format(3))
        agent.end(3)
        with anyio.fail_after(SOON_S):
            await station.drive(taken, "w2").wait()
        assert noted.read_from[0] == 0
        assert noted.read_from[1] > SAID  # what comes later is read whole again, for the raw file
