"""A full queue, drained by two runners on engines in memory: what the record says of limits and losses.

Everything but the agents is real: claims, leases, sessions, logs, verdicts. The first flow's executions were queued
first, all of them, then the second's: the order in which a plain line would be worst.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from bench.figures import Judged
from bench.memory_engine import START, MemoryEngine, Running
from bench.queue_house import FLOWS, enqueue, limit, open_house
from control.identity import sessions
from control.tables import events, executions
from kit.blobs import Blobs
from kit.db import Tx
from runner.agents.script import EXECUTION_LABEL
from runner.parts import Parts
from runner.settings import RunnerSettings
from runner.worker import Worker
from tests.control.house import House
from tests.waiting import until

SLOTS, PARALLEL = 30, 20
WORKS_S = 0.5


def backlog(count: int) -> list[int]:
    """Executions per flow: those that may run one at a time have a third of what the others have."""
    weights = [1 if limit(number) == 1 else 3 for number in range(FLOWS)]
    parts = [count * weight // sum(weights) for weight in weights]
    return [*parts[:-1], count - sum(parts[:-1])]


def worker(house: House, tasks: TaskGroup, folder: Path, name: str) -> MemoryEngine:
    """A runner whose agents think for a moment and end well."""

    async def agent(running: Running) -> int:
        running.say(START)
        mine = executions.c.id == running.job.labels[EXECUTION_LABEL]

        def called(tx: Tx) -> None:
            session_id = tx.execute(sa.select(executions.c.session_id).where(mine)).scalar_one()
            sessions.mark_used(tx, session_id, model=True)

        await house.db.write(called)
        with anyio.move_on_after(WORKS_S):
            await running.stopped.wait()
        running.say("one, two, three")
        return 0

    engine = MemoryEngine(tasks, agent)
    parts = Parts(
        db=house.db,
        bus=house.bus,
        blobs=Blobs(folder / "blobs"),
        lifecycle=house.lifecycle,
        engine=engine,
        engine_id=f"memory:{name}",
        instance=name,
        mcp_url="http://127.0.0.1:1",
        gateway_url="http://127.0.0.1:1",
        settings=RunnerSettings(parallel=PARALLEL),
    )
    tasks.start_soon(Worker(parts).work)
    return engine


async def drained(folder: Path, url: str | None, count: int, say: Judged) -> None:
    """Fill, drain, and say what the record has."""
    house = await open_house(folder, url, SLOTS)
    db = house.db
    for number, size in enumerate(backlog(count)):
        await enqueue(house, f"flow-{number}", size, number * 60)
    open_ = sa.select(sa.func.count()).where(executions.c.ended_at.is_(None))
    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        engines = [worker(house, tasks, folder, name) for name in ("east", "west")]

        async def none_open() -> bool:
            await anyio.sleep(0.5)
            return bool((await db.read(open_))[0][0] == 0)

        await until(none_open, 3600, what="the queue to be empty")
        took = perf_counter() - began
        tasks.cancel_scope.cancel()
    say("executions_per_second", f"{count / took:.0f}", True)
    most = max(engine.most for engine in engines)
    say(f"most_of_{PARALLEL}_places_of_a_runner", most, most <= PARALLEL)
    rows = await db.write(lambda tx: tx.execute(sa.select(executions)).all())
    whose = sa.select(events.c.type, events.c.stream).where(events.c.type.like("execution.%"))
    judge(rows, await db.write(lambda tx: tx.execute(whose).all()), count, say)
    await db.close()


def judge(rows: Sequence[Row[Any]], told: Sequence[Row[Any]], count: int, say: Judged) -> None:
    good = sum(row.state == "SUCCEEDED" and row.epoch == 1 for row in rows)
    say(f"succeeded_of_{count}", good, good == count == len(rows))
    once = Counter((row.type, row.stream) for row in told)
    ended = [once["execution.ended", row.id] == once["execution.claimed", row.id] == 1 for row in rows]
    say("claimed_and_ended_exactly_once", sum(ended), all(ended))
    most = peak(rows)
    say(f"most_of_{SLOTS}_slots_at_once", most, most <= SLOTS)
    flows: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        flows[row.flow_name].append(row)
    over = [name for name, its in flows.items() if peak(its) > its[0].concurrency]
    say(f"flows_of_{FLOWS}_that_ran_more_than_they_may", len(over), not over)


def peak(rows: Sequence[Row[Any]]) -> int:
    """How many ran at the same time, at most, by the database's own clock."""
    steps = sorted([(row.claimed_at, 1) for row in rows] + [(row.ended_at, -1) for row in rows])
    most = running = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most
