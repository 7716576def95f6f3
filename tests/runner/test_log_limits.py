"""A run whose lines there is no room for goes on: its output is read to the end, and its end is seen."""

from pathlib import Path

import anyio
import sqlalchemy as sa

from bench.memory_engine import END, Running
from control.executions import logs, storage
from control.executions.keeping import AGAIN
from control.tables import accounts
from kit.db import Tx
from runner import follow
from tests.control.house import ACCOUNT
from tests.runner.station import FLOW, Station, open_station
from tests.waiting import until

SMALL = FLOW.replace("wall: 24h}", "wall: 24h, max_log_mb: 1}")
LINE, SAID = "x" * 1000, 3000
FULL = "Storage of the plan is full (1 KB): later lines are not kept."


async def ours(station: Station, execution_id: str) -> list[str]:
    found, after = [], 0
    while lines := await logs.read(station.db, ACCOUNT, execution_id, after=after):
        found += [line.text for line in lines if line.source == "preloop"]
        after = lines[-1].number
    return found


async def cut(station: Station) -> tuple[str, Running]:
    """A run of worker w1 whose agent has said `SAID` lines, more than are kept."""
    execution_id = await station.house.start()
    station.drive(await station.held("w1"), "w1")
    agent = await station.agent(execution_id)
    for _ in range(SAID):
        agent.say(LINE)
    await station.row_when(execution_id, lambda row: row.log_cut_at is not None, "the cut")
    return execution_id, agent


async def test_after_the_cut_everything_is_read_and_the_agent_s_end_is_seen(tmp_path: Path) -> None:
    async with open_station(tmp_path, flow=SMALL) as station:
        execution_id = await station.house.start()
        run = station.drive(await station.held("w1"), "w1")
        agent = await station.agent(execution_id)
        for _ in range(20_000):
            agent.say(LINE)
        agent.say(END.format(7))
        agent.end(7)
        with anyio.fail_after(60):
            await run.wait()
        row = await station.house.row(execution_id)
        assert (row.state, row.exit_code, bool(row.log_cut_at)) == ("FAILED", 7, True)
        assert await ours(station, execution_id) == [
            "The log has reached limits.max_log_mb (1 MB): later lines are not kept."
        ]
        await storage.count(station.db)
        kept = (await station.house.row(execution_id)).log_bytes
        raw = await station.parts.blobs.get(logs.file_of(execution_id))
        assert raw and len(raw) == 1 << 20
        assert kept - len(raw) in range(1 << 20, (1 << 20) + 3 * follow.CHUNK_BYTES)


async def test_who_adopts_a_run_whose_log_was_cut_keeps_it_so_and_says_it_no_second_time(tmp_path: Path) -> None:
    async with open_station(tmp_path, flow=SMALL) as station:
        execution_id, agent = await cut(station)
        taken = await station.adopted(execution_id, "w2")
        agent.say(END.format(3))
        agent.end(3)
        with anyio.fail_after(60):
            await station.drive(taken, "w2").wait()
        assert (await station.house.row(execution_id)).exit_code == 3
        assert len(await ours(station, execution_id)) == 1


async def test_at_a_full_plan_the_run_goes_on_and_its_lines_return_with_the_room(tmp_path: Path) -> None:
    async with open_station(tmp_path) as station:
        execution_id = await station.house.start()
        run = station.drive(await station.held("w1"), "w1")
        agent = await station.agent(execution_id)
        agent.say("before")
        await station.stored(execution_id, "before")
        await plan(station, 1024, taken=1024)
        for number in range(5000):
            agent.say(f"{number} {LINE}")
            if number % 500 == 0:
                await anyio.lowlevel.checkpoint()

        async def told() -> bool:
            return FULL in await ours(station, execution_id)

        await until(told, 30, what="the marker")
        await plan(station, 1 << 30, taken=0)

        async def again() -> bool:
            agent.say("after")
            return "after" in await station.said(execution_id)

        await until(again, 30, what="lines to be kept again")
        agent.say(END.format(0))
        agent.end(0)
        with anyio.fail_after(60):
            await run.wait()
        assert await ours(station, execution_id) == [FULL, AGAIN]
        row = await station.house.row(execution_id)
        assert (row.exit_code, row.log_cut_at) == (0, None)


async def plan(station: Station, limit: int, *, taken: int) -> None:
    """The plan's storage and what the meter shows of it."""

    def unit(tx: Tx) -> None:
        tx.execute(sa.update(accounts).where(accounts.c.id == ACCOUNT).values(storage_bytes=limit))
        storage.add(tx, ACCOUNT, "logs", taken - storage.total(tx, ACCOUNT))

    await station.db.write(unit)
