"""The runner's loop: woken by what happens, and shut out by a newer epoch whatever it still believes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Row

from bench.memory_engine import END, START, MemoryEngine, Running
from control.executions import lifecycle, logs, queue, runners
from control.identity import sessions
from control.tables import accounts, executions
from control.tables import runners as workers
from control.tables import sessions as runtime
from kit.bus import Bus
from kit.db import Tx
from preloop.database import open_database
from runner.engine import Job
from runner.placing import job_name
from runner.run import Run
from runner.worker import Worker
from tests.control.house import ACCOUNT
from tests.databases import laid
from tests.runner.station import Station, open_station


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path) as opened:
        yield opened


async def reached_all(station: Station, session_id: str) -> None:
    """As if the agent had listed its tools and called its model."""
    await station.db.write(lambda tx: sessions.mark_used(tx, session_id, tools=True, model=True))


async def test_a_worker_frozen_past_its_lease_writes_stops_and_removes_nothing(station: Station) -> None:
    execution_id = await station.house.start()
    frozen = station.drive(await station.held("w1"), "w1")
    agent = await station.agent(execution_id)
    agent.say("before")
    await station.stored(execution_id, "before")
    taken = await station.adopted(execution_id, "w2")

    agent.say("after")  # what it thaws to: output it reads, an agent's end it wants to judge, a job it wants to remove
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    agent.end(0)
    with anyio.fail_after(30):
        await frozen.wait()
    row = await station.house.row(execution_id)
    assert (row.state, row.lease_owner, row.agent_ended_at, row.cleaned_at) == ("RUNNING", "w2", None, None)
    assert await station.said(execution_id) == ["before"]
    assert station.asked(execution_id) == ["prepare", "start"]

    await reached_all(station, row.session_id)
    with anyio.fail_after(30):
        await station.drive(taken, "w2").wait()
    assert (await station.ended(execution_id)).state == "SUCCEEDED"
    assert await station.said(execution_id) == ["before", "after"]
    assert station.asked(execution_id).count("start") == 1


async def test_a_heartbeat_that_finds_another_s_lease_leaves_the_agent_running(station: Station) -> None:
    execution_id = await station.house.start()
    frozen = station.drive(await station.held("w1"), "w1")
    await station.agent(execution_id)
    await station.adopted(execution_id, "w2")
    station.house.bus.publish(lifecycle.stop_topic(execution_id))  # it looks at its lease when woken, as every 10 s
    with anyio.fail_after(30):
        await frozen.wait()
    assert station.asked(execution_id) == ["prepare", "start"]
    assert (await station.house.row(execution_id)).state == "RUNNING"


async def test_a_worker_that_was_shut_out_before_the_start_starts_nothing(station: Station) -> None:
    execution_id = await station.house.start()
    row = await station.held("w1")
    await station.adopted(execution_id, "w2")
    with anyio.fail_after(30):
        await station.drive(row, "w1").wait()
    assert station.asked(execution_id) == []


async def test_an_event_is_claimed_by_its_wake_up(station: Station) -> None:
    with anyio.fail_after(30):
        await station.worker().adopted.wait()
        row = await station.running(await station.house.start())
    assert row.claimed_at


async def test_the_end_of_one_claims_the_next(station: Station) -> None:
    await station.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=1)))
    first, second = await station.house.start(), await station.house.start()
    station.worker()
    agent = await station.agent(first)
    assert (await station.house.row(second)).state == "PENDING"
    agent.stopped.set()
    assert (await station.ended(first)).cause == "killed"
    await station.running(second)


async def test_a_declined_approval_frees_the_slot_at_once(station: Station) -> None:
    await station.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=1)))
    principal = await station.house.running()
    call = await station.house.call(principal)
    waits = await station.house.start()
    with anyio.fail_after(30):
        await station.worker().adopted.wait()
        assert (await station.house.row(waits)).state == "PENDING"
        await station.house.decide(call, verdict="declined", reason="no")
        await station.running(waits)


async def test_a_container_that_is_gone_frees_its_place(tmp_path: Path) -> None:
    async with open_station(tmp_path, parallel=1) as station:
        first, second = await station.house.start(), await station.house.start()
        station.worker()
        agent = await station.agent(first)
        agent.say("PRELOOP_AGENT_EXEC_END 3")  # the agent is over, its container is still there
        await station.ended(first)
        assert (await station.house.row(second)).state == "PENDING"
        agent.end(3)
        await station.running(second)
        assert station.engine.most == 1


async def test_what_runs_here_already_is_adopted_whatever_the_limit(tmp_path: Path) -> None:
    async with open_station(tmp_path, parallel=1) as station:
        ids = [await station.house.start() for _ in range(3)]
        rows = [await station.held("here:wrk_dead") for _ in ids]
        waits = await station.house.start()
        worker = station.worker()
        with anyio.fail_after(30):
            await worker.adopted.wait()
        held = [await station.house.row(row.id) for row in rows]
        assert [(row.lease_owner, row.epoch) for row in held] == [(worker.owner, 2)] * 3
        assert (await station.house.row(waits)).state == "PENDING"


async def test_a_worker_says_that_it_lives_until_it_stops(station: Station) -> None:
    async with anyio.create_task_group() as tasks:
        station.tasks = tasks
        worker = station.worker()
        with anyio.fail_after(30):
            await worker.adopted.wait()
        seen = await station.db.read(sa.select(workers))
        assert [(row.id, row.engine, row.parallel) for row in seen] == [(worker.owner, "memory:here", 20)]
        tasks.cancel_scope.cancel()
    assert await station.db.read(sa.select(workers)) == []
    assert runners.ALIVE.total_seconds() > 2 * runners.RENEWED_S
    assert queue.LEASE.total_seconds() > 2 * queue.HEARTBEAT_S


async def test_a_cancel_in_another_process_is_heard_before_the_next_heartbeat(tmp_path: Path) -> None:
    async with open_station(tmp_path) as station:
        station.tasks.start_soon(Worker(station.parts, poll_s=0.05).work)
        execution_id = await station.house.start()
        await station.agent(execution_id)
        elsewhere = await open_database(tmp_path, laid(tmp_path / "preloop.db"), Bus())
        await elsewhere.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, execution_id, by="test"))
        await elsewhere.close()
        with anyio.fail_after(queue.HEARTBEAT_S / 2):
            assert (await station.ended(execution_id)).state == "CANCELLED"


async def test_the_lines_that_a_dead_worker_did_not_store_are_stored_by_whoever_cleans_up(station: Station) -> None:
    """It died between the verdict and the last chunk."""
    execution_id = await station.house.start()
    row = await station.held("here:wrk_dead")
    name = job_name("here", execution_id)
    station.engine.jobs[name] = agent = Running(Job(name=name, image="", argv=(), env={}, files={}))
    for text in ("setting up", START, "one", "two", END.format(0), "leaving"):
        agent.say(text)
    agent.end(0)

    def die(tx: Tx) -> None:
        mine = sa.update(executions).where(executions.c.id == execution_id)
        tx.execute(mine.values(job=name, engine=station.parts.engine_id))
        assert station.house.lifecycle.started(tx, execution_id, row.epoch)
        stored = [("", "setup", "info", "setting up"), ("", "agent", "info", "one")]
        logs.append(tx, ACCOUNT, execution_id, stored, cursor="3")
        assert station.house.lifecycle.end(tx, execution_id, None, epoch=row.epoch)

    await station.db.write(die)
    station.worker()
    cleaned = await station.row_when(execution_id, lambda row: row.cleaned_at is not None, "the job to be removed")
    assert cleaned.epoch == row.epoch + 1  # should that worker only have been frozen
    lines = [line for line in await logs.read(station.db, ACCOUNT, execution_id) if line.source != "preloop"]
    assert [(line.source, line.text) for line in lines] == [
        ("setup", "setting up"),
        ("agent", "one"),
        ("agent", "two"),
        ("setup", "leaving"),
    ]


async def test_a_start_that_is_read_once_more_after_an_adoption_is_no_line_of_the_log(station: Station) -> None:
    """Its first worker died between the agent's start and the first stored line."""
    execution_id = await station.house.start()
    row = await station.held("here:wrk_dead")
    name = job_name("here", execution_id)
    station.engine.jobs[name] = agent = Running(Job(name=name, image="", argv=(), env={}, files={}))
    agent.say(START)

    def die(tx: Tx) -> None:
        mine = sa.update(executions).where(executions.c.id == execution_id)
        tx.execute(mine.values(job=name, engine=station.parts.engine_id))
        assert station.house.lifecycle.started(tx, execution_id, row.epoch)

    await station.db.write(die)
    station.worker()
    agent.say("one")
    await station.stored(execution_id, "one")
    assert await station.said(execution_id) == ["one"]


class Dies(MemoryEngine):
    """Its worker is gone before anything was started."""

    async def prepare(self, job: Job) -> None:
        await anyio.sleep_forever()


async def _died_while_starting(station: Station) -> Row[Any]:
    """An execution that was placed by a worker that died then, in the hands of another."""
    execution_id = await station.house.start()
    row = await station.held("w1")
    async with anyio.create_task_group() as tasks:
        dying = replace(station.parts, engine=Dies(tasks))
        tasks.start_soon(Run(dying, row, "w1").drive)
        await station.row_when(execution_id, lambda row: row.job is not None, "the place")
        tasks.cancel_scope.cancel()
    return await station.adopted(execution_id, "w2")


async def test_a_run_whose_worker_died_before_its_agent_began_is_started_anew(station: Station) -> None:
    taken = await _died_while_starting(station)
    before = await station.db.read(sa.select(runtime).where(runtime.c.id == taken.session_id))
    station.drive(taken, "w2")
    (await station.agent(taken.id)).end(0)
    assert (await station.ended(taken.id)).cause != "runner_lost"
    assert [what for what in station.asked(taken.id) if what != "stop"][:3] == ["remove", "prepare", "start"]
    after = await station.db.read(sa.select(runtime).where(runtime.c.id == taken.session_id))
    assert after[0].bootstrap_hash != before[0].bootstrap_hash


async def test_one_whose_secret_was_used_began_and_is_lost(station: Station) -> None:
    taken = await _died_while_starting(station)
    used = sa.update(runtime).where(runtime.c.id == taken.session_id)
    await station.db.write(lambda tx: tx.changed(used.values(bootstrap_used_at=tx.now())))
    station.drive(taken, "w2")
    assert (await station.ended(taken.id)).cause == "runner_lost"
    assert "start" not in station.asked(taken.id)
