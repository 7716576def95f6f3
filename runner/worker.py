"""Adopt, claim, run: the loop of a runner. Without an engine nothing is claimed, and `attend` says why.

A database that does not answer ends no worker: what runs goes on, and it looks again.

A stop on purpose gives the leases back; the agents go on and the next worker adopts them. After a crash the next one of
this instance need not wait for the lease either: the data folder's lock says that the one before is dead.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup, TaskStatus
from sqlalchemy.engine import Row

from control.executions import lifecycle, queue, runners
from control.executions.states import FINAL
from control.tables import executions
from kit.db import READ_LIMIT, Database, Tx
from kit.errors import Fault
from kit.ids import new_id
from kit.metrics import Gauge
from kit.observe import log
from runner.cleanup import clean
from runner.parts import Parts
from runner.run import Run

REAP_S = 60.0
DRIVEN = Gauge("preloop_runner_executions", "Executions that this runner drives.")
PLACES = Gauge("preloop_runner_places", "How many it may drive at once.")
POLL_S = 1.0
"""The safety net under the wake-ups."""


class Worker:
    """One runner of one process."""

    def __init__(self, parts: Parts, poll_s: float = POLL_S) -> None:
        self._parts = parts
        self._poll_s = poll_s
        self.owner = f"{parts.instance}:{new_id('wrk')}"
        self.adopted = anyio.Event()
        """Set when everything that could be adopted at the start was."""
        self._running: set[tuple[str, int]] = set()
        """Execution and epoch: it may have lost one and hold its next."""
        self._work = parts.bus.watch(lifecycle.QUEUE)

    async def work(self) -> None:
        """Until cancelled."""
        parts = self._parts
        await parts.db.write(lambda tx: queue.release(tx, f"{parts.instance}:%"))
        await parts.db.write(lambda tx: runners.leave(tx, f"{parts.instance}:%"))
        try:
            async with anyio.create_task_group() as tasks:
                room = parts.settings.parallel
                PLACES.put(room)
                await tasks.start(partial(attend, parts.db, self.owner, engine=parts.engine_id, parallel=room))
                tasks.start_soon(self._reap)
                tasks.start_soon(self._overhear)
                await self._take_forever(tasks)
        finally:
            self._work.close()
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await parts.db.write(lambda tx: queue.release(tx, self.owner))

    async def _take_forever(self, tasks: TaskGroup) -> None:
        looked = -math.inf
        while True:
            try:
                if anyio.current_time() >= looked + self._poll_s:
                    await self._take_all(tasks, self._adopt)
                    looked = anyio.current_time()
                    self.adopted.set()
                await self._take_all(tasks, self._claim)
            except Exception:
                looked = anyio.current_time()
                log.exception("executions can't be taken now")
            await self._work.changed(looked + self._poll_s - anyio.current_time())

    async def _take_all(self, tasks: TaskGroup, next_: Callable[[], Awaitable[Row[Any] | None]]) -> None:
        while row := await next_():
            self._running.add((row.id, row.epoch))
            tasks.start_soon(self._drive, row)

    async def _adopt(self) -> Row[Any] | None:
        """What was lost, which no wake-up tells; beyond `parallel` too: its agent runs here already."""
        driven = [id_ for id_, _ in self._running]
        return await self._parts.db.write(lambda tx: queue.adopt(tx, self.owner, [self._parts.engine_id], driven))

    async def _claim(self) -> Row[Any] | None:
        if len(self._running) >= self._parts.settings.parallel:
            return None
        return await self._parts.db.write(lambda tx: queue.claim(tx, self.owner))

    async def _drive(self, row: Row[Any]) -> None:
        try:
            with DRIVEN.held():
                await Run(self._parts, row, self.owner).drive()
        except Exception:
            log.exception("a run broke", execution=row.id)
        finally:
            self._running.discard((row.id, row.epoch))
            self._work.poke()  # its place is free now, which may be long after its end

    async def _overhear(self) -> None:
        """Wake the runs whose end somebody wished in another process: the bus is of this one alone."""
        while True:
            await anyio.sleep(self._poll_s)
            try:
                for id_ in await unwanted(self._parts.db, [id_ for id_, _ in self._running]):
                    self._parts.bus.publish(lifecycle.stop_topic(id_))
            except Exception:
                log.exception("it can't be seen now whose end is wished")

    async def _reap(self) -> None:
        """Remove what executions that are final left on the engine, because their worker died before it could."""
        while True:
            try:
                for row in await uncleaned(self._parts.db, self._parts.engine_id):
                    if (row.id, row.epoch) not in self._running:
                        await self._inherit(row)
            except Exception:
                log.exception("what is left of executions can't be seen now")
            await anyio.sleep(REAP_S)

    async def _inherit(self, row: Row[Any]) -> None:
        taken = await self._parts.db.write(lambda tx: queue.inherit(tx, row.id, row.epoch))
        if taken is not None:
            try:
                await clean(self._parts, taken, taken.job)
            except Fault as fault:
                log.warning("could not clean up", execution=row.id, error=fault.message)


async def attend(
    db: Database,
    owner: str,
    *,
    engine: str = "",
    parallel: int = 0,
    problem: str | None = None,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Let everybody know that a worker lives, until cancelled; or, with a `problem`, why here is none. Started when
    that was said once."""

    def announce(tx: Tx) -> None:
        runners.announce(tx, owner, engine=engine, parallel=parallel, problem=problem)

    try:
        await db.write(announce)
        task_status.started()
        while True:
            await anyio.sleep(runners.RENEWED_S)
            try:
                await db.write(announce)
            except Exception:
                log.exception("others can't be told that this worker lives")
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            await db.write(lambda tx: runners.leave(tx, owner))


async def unwanted(db: Database, ids: Sequence[str]) -> list[str]:
    """Those of these executions that are to stop, or have ended already."""
    over = executions.c.stop_intent.is_not(None) | executions.c.state.in_(FINAL)
    found: list[str] = []
    for start in range(0, len(ids), READ_LIMIT):
        mine = executions.c.id.in_(ids[start : start + READ_LIMIT])
        found += [row.id for row in await db.read(sa.select(executions.c.id).where(mine, over))]
    return found


async def uncleaned(db: Database, engine_id: str) -> list[Row[Any]]:
    """Executions of this engine that are final and whose job was not removed."""
    left = executions.c.cleaned_at.is_(None) & executions.c.job.is_not(None) & executions.c.state.in_(FINAL)
    return list(await db.read(sa.select(executions).where(left, executions.c.engine == engine_id)))
