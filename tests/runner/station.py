"""A runner over a real domain and an engine in memory: agents that a test plays line by line."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from bench.memory_engine import MemoryEngine, Running
from control.executions import logs, queue
from control.tables import executions
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database
from preloop.database import open_database
from runner.parts import Parts
from runner.placing import job_name
from runner.run import Run
from runner.settings import RunnerSettings
from runner.worker import Worker
from tests.control.house import ACCOUNT, House
from tests.databases import laid
from tests.waiting import until

FLOW = """
version: 1
name: process-payment
agent: {runtime: scripted, model: default}
triggers: [{type: manual}]
prompt: Pay.
tools: [{server: payments, tool: pay, approval: {group: finance}}]
limits: {concurrency: 10, timeout: 30m, wall: 24h}
"""
EXPIRED = queue.LEASE + timedelta(seconds=1)


@dataclass(kw_only=True)
class Station:
    """What several workers of one machine share."""

    house: House
    engine: MemoryEngine
    parts: Parts
    tasks: TaskGroup

    @property
    def db(self) -> Database:
        return self.house.db

    def worker(self, **more: Any) -> Worker:
        """One that works from now on; it looks again by itself in an hour."""
        made = Worker(self.parts, poll_s=3600, **more)
        self.tasks.start_soon(made.work)
        return made

    async def held(self, owner: str) -> Row[Any]:
        """The next execution, claimed by a worker that doesn't drive it yet."""
        row = await self.db.write(lambda tx: queue.claim(tx, owner))
        assert row
        return row

    def drive(self, row: Row[Any], owner: str) -> anyio.Event:
        """Let a worker drive what it holds; set when it let go."""
        over = anyio.Event()

        async def driven() -> None:
            await Run(self.parts, row, owner).drive()
            over.set()

        self.tasks.start_soon(driven)
        return over

    async def agent(self, execution_id: str) -> Running:
        """The agent of an execution, once it was started and its start is known."""
        name = job_name(self.parts.instance, execution_id)
        await self.row_when(execution_id, lambda row: row.agent_started_at is not None, "the agent's start")
        return self.engine.jobs[name]

    async def adopted(self, execution_id: str, owner: str) -> Row[Any]:
        """As if its worker had been frozen past its lease: another one holds it now."""
        mine = executions.c.id == execution_id
        past = (
            sa.update(executions)
            .where(mine)
            .values(lease_until=sa.bindparam("past", type_=executions.c.lease_until.type))
        )
        row = await self.house.row(execution_id)
        await self.db.write(lambda tx: tx.execute(past, {"past": row.lease_until - EXPIRED}))
        taken = await self.db.write(lambda tx: queue.adopt(tx, owner, [self.parts.engine_id]))
        assert taken
        return taken

    async def row_when(self, execution_id: str, so: Callable[[Row[Any]], bool], what: str) -> Row[Any]:
        async def look() -> Row[Any] | None:
            row = await self.house.row(execution_id)
            return row if so(row) else None

        found: Row[Any] | None = await until(look, 30, what=what)
        assert found is not None
        return found

    async def ended(self, execution_id: str) -> Row[Any]:
        return await self.row_when(execution_id, lambda row: row.ended_at is not None, "the end")

    async def running(self, execution_id: str) -> Row[Any]:
        return await self.row_when(execution_id, lambda row: row.state == "RUNNING", "the claim")

    async def said(self, execution_id: str) -> list[str]:
        """The agent's own lines that are stored."""
        lines = await logs.read(self.db, ACCOUNT, execution_id)
        return [line.text for line in lines if line.source != "preloop"]

    async def stored(self, execution_id: str, text: str) -> None:
        async def look() -> bool:
            return text in await self.said(execution_id)

        await until(look, 30, what=f"{text!r} to be stored")

    def asked(self, execution_id: str) -> list[str]:
        """What the engine was asked for one execution's job, in order."""
        name = job_name(self.parts.instance, execution_id)
        return [what for what, job in self.engine.asked if job == name]


@asynccontextmanager
async def open_station(folder: Path, *, parallel: int = 20, flow: str = FLOW) -> AsyncIterator[Station]:
    bus = Bus()
    db = await open_database(folder, laid(folder / "preloop.db"), bus)
    try:
        house = await House.build(db, bus, folder, flow)
        async with anyio.create_task_group() as tasks:
            yield open_station_over(house, folder, tasks, parallel=parallel)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await db.close()


def open_station_over(house: House, folder: Path, tasks: TaskGroup, *, parallel: int = 20) -> Station:
    """A station of a domain that stands already."""
    engine = MemoryEngine(tasks)
    parts = Parts(
        db=house.db,
        bus=house.bus,
        blobs=Blobs(folder / "blobs"),
        lifecycle=house.lifecycle,
        engine=engine,
        engine_id="memory:here",
        instance="here",
        mcp_url="http://127.0.0.1:1",
        gateway_url="http://127.0.0.1:1",
        settings=RunnerSettings(parallel=parallel),
    )
    return Station(house=house, engine=engine, parts=parts, tasks=tasks)
