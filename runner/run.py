"""One execution from claim to verdict: place, start, follow, judge, clean up. Adopting is the same without the start.

It drives an `Engine` and writes through the domain; it knows no agent CLI (`runner/agents`) and no engine's quirks.
Every write is fenced by the epoch of the claim.
"""

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from control.executions import lifecycle, logs, queue
from control.executions import results as left
from control.executions.diagnosis import KILLED, judge
from control.executions.states import FINAL, Cause, Stored
from control.executions.verdict import Verdict
from control.flows import catalog
from control.flows.flow import Flow
from control.identity import sessions
from control.tables import executions
from kit.clock import Clock, rfc3339
from kit.db import Tx
from kit.errors import Fault
from kit.observe import log
from runner import results, watch
from runner.agents import adapters
from runner.cleanup import clean
from runner.engine import KILL, Exit
from runner.evidence import awaited, finished, gather
from runner.follow import Follower
from runner.narration import Narrator
from runner.parts import Parts
from runner.placing import job_name, place

AFTER_END_S = 30.0
"""How long a container may live after its agent ended, beside the flow's own sleep."""
BROKE = "Something went wrong on our side while the agent was followed."
KILLED_S = 5.0
"""After an agent was killed: for the end of its container, by which the engine knows whether memory was short."""
READ_S = 3.0
"""For reading what a stopped agent said last, once its container has ended; and as long again for the raw log."""
UNREAD_S = 10.0
"""For reading what an agent said that ended by itself; what is unread then is read after the verdict."""
UNREAD = "The run was stopped: output after this point was not read."
DECLINED_S = 5.0
"""How long an agent may still talk after its run was ended by a person's no."""


class Run:
    """One claimed or adopted execution in the hands of one worker."""

    def __init__(self, parts: Parts, row: Row[Any], owner: str) -> None:
        self._parts = parts
        self._row = row
        self._ended_at = ""
        self._owner = owner
        self._handle = row.job or job_name(parts.instance, row.id)
        self._phase = watch.Phase(started=row.agent_started_at is not None)
        self._placed = anyio.Event()
        self._agent_over = anyio.Event()
        self._job_over = anyio.Event()
        self._container_over = anyio.Event()
        self._reading = anyio.CancelScope()
        self._exit = Exit(gone=True)
        self._stopping = False
        self._judged = False
        self._lost = False

    async def drive(self) -> None:
        """To the end of the execution and its container, or until somebody else holds the lease."""
        flow = await self._parts.db.write(lambda tx: catalog.version(tx, self._row.flow_id, self._row.flow_version))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hold, tasks)
                if await place(self._parts, self._row, flow, self._handle):
                    self._placed.set()
                    tasks.start_soon(self._read, flow)
                    tasks.start_soon(self._await, flow)
                    await self._agent_over.wait()
                    if not await self._judge(flow):
                        tasks.cancel_scope.cancel()
                    with anyio.move_on_after(flow.post_exec_sleep + AFTER_END_S):
                        await self._job_over.wait()
                tasks.cancel_scope.cancel()
            if self._placed.is_set() and not self._lost:
                limit_s = READ_S if self._reading.cancel_called else math.inf
                await clean(self._parts, self._row, self._handle, whole=self._job_over.is_set(), read_s=limit_s)
        except* Fault as faults:
            await self._failed(faults)
        except* (sa.exc.SQLAlchemyError, OSError):
            raise  # the database was away: whoever adopts it goes on
        except* Exception as bugs:
            await self._failed(bugs)

    async def _failed(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        fault = error if isinstance(error, Fault) else Fault("internal_error", BROKE, "Its log says more. Run it again")
        if error is not fault:  # it ends all the same: whoever adopted it would break as we did
            log.error("a run broke", execution=self._row.id, exc_info=error)
        log.warning("run failed", execution=self._row.id, code=fault.code, error=fault.message)
        cause = Cause.INTERNAL_ERROR if self._phase.started else Cause.SETUP_FAILED
        await self._end(Verdict(cause=cause, message=fault.message, hint=fault.hint))

    # follow -------------------------------------------------------------------------------------------------------

    async def _read(self, flow: Flow) -> None:
        """Store the output until the job has ended; the agent's own end is told by its marker or by the exit."""
        after = await self._parts.db.write(lambda tx: logs.cursor(tx, self._row.id))
        told = Narrator(adapters.read(flow.agent.runtime), self._phase, self._parts.redactor)
        with Follower(self._parts.db, self._row, most=flow.limits.log_bytes) as follower:
            await self._follow(follower, told, after)
        await self._container_over.wait()
        self._agent_over.set()
        self._job_over.set()

    async def _await(self, flow: Flow) -> None:
        """The container's end, which the engine tells however much of its output is unread. Then its token opens
        nothing, no time limit ends it, and the verdict waits only for what it can't be given without."""
        self._exit = await self._parts.engine.wait(self._handle)
        self._container_over.set()
        with anyio.move_on_after(UNREAD_S):
            await self._job_over.wait()
        if self._agent_over.is_set():
            return
        await self._parts.db.write(self._note_end)
        if self._phase.started and adapters.read(flow.agent.runtime) is None:
            self._agent_over.set()

    def _note_end(self, tx: Tx) -> None:
        self._parts.lifecycle.agent_ended(tx, self._row.id, self._row.epoch, self._exit.code)
        if (row := queue.holding(tx, self._row.id, self._row.epoch)) and row.session_id:
            sessions.revoke(tx, row.session_id)

    async def _follow(self, follower: Follower, told: Narrator, after: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.write)
            at = rfc3339(Clock().now())
            with self._reading:
                async for line in self._parts.output(self._handle, after=after):
                    at, after = line.at, line.cursor
                    for entry in told.tell(line):
                        await follower.put(entry)
                    await self._heard(told)
            for entry in told.rest():
                await follower.put(entry)
            await self._heard(told)
            if self._reading.cancelled_caught:
                await follower.put(([(at, "preloop", "warning", UNREAD)], after))
            follower.close()

    async def _heard(self, told: Narrator) -> None:
        """What the output says of the agent's life, written down before anybody judges by it."""
        before, self._phase = self._phase, told.phase
        if self._phase.started and not before.started:
            await self._agent_started()
        if told.final is not None:
            final, told.final = told.final, None
            await self._parts.db.write(lambda tx: finished(tx, self._row, final))
        if self._phase.ended:
            self._ended_at = self._ended_at or told.at
            self._agent_over.set()

    async def _agent_started(self) -> None:
        await self._parts.db.write(lambda tx: self._parts.lifecycle.started(tx, self._row.id, self._row.epoch))

    # hold ---------------------------------------------------------------------------------------------------------

    async def _hold(self, tasks: TaskGroup) -> None:
        """Renew the lease until the verdict and look for a wish to stop; leave everything as it is when the lease is
        somebody else's."""
        with self._parts.bus.watch(lifecycle.stop_topic(self._row.id)) as stop:
            while not self._judged:
                row = await self._parts.db.write(
                    lambda tx: queue.heartbeat(tx, self._row.id, self._owner, self._row.epoch)
                )
                if row is None and await self._taken():
                    tasks.cancel_scope.cancel()
                    return
                if not self._stopping and (row is None or self._unwanted(row)):
                    self._stopping = True
                    tasks.start_soon(self._stop, row is not None)
                if row is None:
                    return
                await stop.changed(queue.HEARTBEAT_S)

    def _unwanted(self, row: Row[Any]) -> bool:
        """Is it to be stopped? Not for its time when it has ended: its output is read to the end then."""
        ended = self._container_over.is_set()
        return row.stop_intent is not None and not (ended and Cause(row.stop_intent) is Cause.TIMEOUT)

    async def _taken(self) -> bool:
        """Does somebody else hold it now, or what is left of it? Then the agent is theirs: it is not stopped, nor
        cleaned up after."""
        asked = sa.select(executions.c.state, executions.c.epoch).where(executions.c.id == self._row.id)
        [row] = await self._parts.db.read(asked)
        self._lost = Stored(row.state) not in FINAL or row.epoch != self._row.epoch
        return self._lost

    async def _stop(self, at_once: bool) -> None:
        """And read no more of it a moment after its container's end, however much there is."""
        await self._placed.wait()  # what is being started can't be stopped
        if not at_once:
            with anyio.move_on_after(DECLINED_S):
                await self._job_over.wait()
        await self._parts.engine.stop(self._handle, grace_s=self._parts.settings.stop_grace_s)
        with anyio.move_on_after(READ_S):
            await self._job_over.wait()
        if not self._job_over.is_set():
            self._reading.cancel()

    # end ----------------------------------------------------------------------------------------------------------

    async def _judge(self, flow: Flow) -> bool:
        """The verdict, if it is still ours to give; False when somebody else holds the lease."""
        code = self._phase.code if self._phase.ended else self._exit.code
        if code == KILL:
            with anyio.move_on_after(KILLED_S):
                await self._container_over.wait()
        await awaited(self._parts.db, self._parts.bus, self._row, badly=code != 0)
        asked = flow.result_schema if code == 0 else {}
        wrong, result = await results.checked(self._parts, self._row.id, self._handle, asked)

        def unit(tx: Tx) -> bool:
            self._parts.lifecycle.agent_ended(tx, self._row.id, self._row.epoch, code)
            if (at := self._ended_at or self._exit.at) and code not in KILLED:
                self._parts.lifecycle.overtaken(tx, self._row.id, self._row.epoch, datetime.fromisoformat(at))
            seen = replace(gather(tx, self._row.id, flow, self._phase, self._exit), result=wrong)
            if ended := self._write_end(tx, judge(seen), code):
                left.add(tx, self._row, result)
            return ended

        mine = await self._parts.db.write(unit) or not await self._taken()
        self._judged = True
        return mine

    async def _end(self, verdict: Verdict) -> None:
        await self._parts.db.write(lambda tx: self._write_end(tx, verdict, None))

    def _write_end(self, tx: Tx, verdict: Verdict, code: int | None) -> bool:
        return self._parts.lifecycle.judge(tx, self._row.id, verdict, epoch=self._row.epoch, exit_code=code)
