"""One execution from claim to verdict: place, start, follow, judge, clean up. Adopting is the same without the start.

It drives an `Engine` and writes through the domain; it knows no agent CLI (`runner/agents`) and no engine's quirks.
Every write is fenced by the epoch of the claim.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import lifecycle, logs, queue, storage
from control.executions.diagnosis import judge
from control.executions.lifecycle import Lifecycle
from control.executions.states import FINAL, Cause, Stored
from control.executions.verdict import Verdict
from control.flows import catalog
from control.flows.flow import Flow
from control.identity import sessions as runtime
from control.tables import executions
from kit import tokens
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Fault
from kit.observe import log
from runner import watch
from runner.agents import adapters
from runner.agents.script import Brief, Limits, assemble
from runner.engine import Engine, Exit, Job
from runner.evidence import awaited, gather, note
from runner.follow import Follower
from runner.settings import RunnerSettings

AFTER_END_S = 30.0
"""How long a container may live after its agent ended, beside the flow's own sleep."""
DECLINED_S = 5.0
"""How long an agent may still talk after its run was ended by a person's no."""
RAW_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs are made with; one per worker."""

    db: Database
    bus: Bus
    blobs: Blobs
    lifecycle: Lifecycle
    engine: Engine
    engine_id: str
    instance: str
    mcp_url: str
    """The containers' listener of role `mcp` as an agent reaches it, without a path."""
    gateway_url: str
    """The same of role `gateway`."""
    settings: RunnerSettings


def job_name(instance: str, execution_id: str) -> str:
    """Deterministic, so that a second start of the same execution meets the first."""
    return f"preloop-{instance}-{execution_id}".replace("_", "-")


class Run:
    """One claimed or adopted execution in the hands of one worker."""

    def __init__(self, parts: Parts, row: Row[Any], owner: str) -> None:
        self._parts = parts
        self._row = row
        self._owner = owner
        self._handle = row.job or job_name(parts.instance, row.id)
        self._phase = watch.Phase(started=row.agent_started_at is not None)
        self._agent_over = anyio.Event()
        self._job_over = anyio.Event()
        self._exit = Exit(gone=True)
        self._written = self._phase
        self._judged = False
        self._lost = False

    async def drive(self) -> None:
        """To the end of the execution and its container, or until somebody else holds the lease."""
        flow = await self._parts.db.write(lambda tx: catalog.version(tx, self._row.flow_id, self._row.flow_version))
        try:
            if self._row.job is None and not await self._place(flow):
                return
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hold, tasks.cancel_scope)
                tasks.start_soon(self._read, flow)
                await self._agent_over.wait()
                if not await self._judge(flow):
                    tasks.cancel_scope.cancel()
                with anyio.move_on_after(flow.post_exec_sleep + AFTER_END_S):
                    await self._job_over.wait()
                tasks.cancel_scope.cancel()
            if not self._lost:
                await clean(self._parts, self._row, self._handle, whole=self._job_over.is_set())
        except* Fault as faults:
            await self._failed(faults)

    async def _failed(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        fault = error if isinstance(error, Fault) else Fault("internal_error", str(error))
        log.warning("run failed", execution=self._row.id, code=fault.code, error=fault.message)
        cause = Cause.INTERNAL_ERROR if self._phase.started else Cause.SETUP_FAILED
        await self._end(Verdict(cause=cause, message=fault.message, hint=fault.hint))

    # start --------------------------------------------------------------------------------------------------------

    async def _place(self, flow: Flow) -> bool:
        """Session, bootstrap secret and the job's name are committed before anything is created."""
        secret, hash_ = tokens.mint("plb")
        if not await self._parts.db.write(lambda tx: self._record_place(tx, flow, hash_)):
            return False
        job = self._job(flow, secret)
        await self._parts.engine.prepare(job)
        await self._parts.engine.start(job)
        return True

    def _record_place(self, tx: Tx, flow: Flow, bootstrap_hash: str) -> bool:
        mine = (executions.c.id == self._row.id) & (executions.c.epoch == self._row.epoch)
        mine &= (executions.c.state == Stored.RUNNING) & executions.c.job.is_(None)
        place = {"engine": self._parts.engine_id, "job": self._handle}
        if not tx.changed(sa.update(executions).where(mine).values(place)):
            return False
        session_id = runtime.open_session(
            tx,
            self._row.account_id,
            kind="execution",
            principal=f"flow:{flow.name}",
            charter=replace(flow.charter(), budget_of=self._row.budget_of),
            alive_until=tx.now() + queue.LEASE + queue.UNADOPTED,
            execution_id=self._row.id,
            bootstrap_hash=bootstrap_hash,
        )
        tx.execute(sa.update(executions).where(executions.c.id == self._row.id).values(session_id=session_id))
        return True

    def _job(self, flow: Flow, secret: str) -> Job:
        brief = Brief(
            execution_id=self._row.id,
            model=flow.agent.model,
            prompt=self._row.prompt,
            payload_json=json.dumps(json.loads(self._row.trigger_event)["payload"], ensure_ascii=False),
            mcp_url=f"{self._parts.mcp_url}/mcp/v1",
            gateway_url=self._parts.gateway_url,
            control_url=self._parts.mcp_url,
            init=flow.init,
            post_exec_sleep_s=flow.post_exec_sleep,
        )
        plan = adapters.plan(flow.agent.runtime, self._parts.engine.name, brief)
        given = flow.resources
        room = Limits(memory_bytes=given.memory, cpus=given.cpus, pids=given.pids)
        instance = self._parts.instance
        return assemble(plan, brief, name=self._handle, instance=instance, bootstrap_token=secret, limits=room)

    # follow -------------------------------------------------------------------------------------------------------

    async def _read(self, flow: Flow) -> None:
        """Store the output until the job has ended; the agent's own end is told by its marker or by the exit."""
        after = await self._parts.db.write(lambda tx: logs.cursor(tx, self._row.id))
        with Follower(self._parts.db, self._row, self._sort, most=flow.limits.log_bytes) as follower:
            await self._follow(follower, after)
        self._exit = await self._parts.engine.wait(self._handle)
        self._agent_over.set()
        self._job_over.set()

    async def _follow(self, follower: Follower, after: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.write)
            async for line in self._parts.engine.logs(self._handle, after=after):
                before = self._phase
                self._phase, _ = watch.read(before, line.text)
                if self._phase.started and not before.started:
                    await self._agent_started()
                await follower.put(line)
                if self._phase.ended:
                    self._agent_over.set()
            follower.close()

    async def _agent_started(self) -> None:
        await self._parts.db.write(lambda tx: self._parts.lifecycle.started(tx, self._row.id, self._row.epoch))

    def _sort(self, text: str) -> tuple[str, str] | None:
        """Source and level of a line as the writer meets it; the writer keeps a phase of its own."""
        self._written, marker = watch.read(self._written, text)
        return None if marker else (self._written.source, watch.level(text))

    # hold ---------------------------------------------------------------------------------------------------------

    async def _hold(self, scope: anyio.CancelScope) -> None:
        """Renew the lease and look for a wish to stop; leave everything as it is when the lease is somebody else's."""
        with self._parts.bus.watch(lifecycle.stop_topic(self._row.id)) as stop:
            while not self._judged:
                row = await self._parts.db.write(
                    lambda tx: queue.heartbeat(tx, self._row.id, self._owner, self._row.epoch)
                )
                if row is None and await self._taken():
                    scope.cancel()
                    return
                if row is None or row.stop_intent:
                    await self._stop(at_once=row is not None)
                    return
                await stop.changed(queue.HEARTBEAT_S)

    async def _taken(self) -> bool:
        """Does somebody else hold the lease now? Then the agent is theirs: it is not stopped, nor cleaned up after."""
        rows = await self._parts.db.read(sa.select(executions.c.state).where(executions.c.id == self._row.id))
        self._lost = Stored(rows[0].state) not in FINAL
        return self._lost

    async def _stop(self, *, at_once: bool) -> None:
        if not at_once:
            with anyio.move_on_after(DECLINED_S):
                await self._job_over.wait()
        await self._parts.engine.stop(self._handle, grace_s=self._parts.settings.stop_grace_s)

    # end ----------------------------------------------------------------------------------------------------------

    async def _judge(self, flow: Flow) -> bool:
        """The verdict, if it is still ours to give; False when somebody else holds the lease."""
        code = self._phase.code if self._phase.ended else self._exit.code
        await awaited(self._parts.db, self._parts.bus, self._row, badly=code != 0)

        def unit(tx: Tx) -> bool:
            self._parts.lifecycle.agent_ended(tx, self._row.id, self._row.epoch, code)
            seen = gather(tx, self._row.id, flow, self._phase, self._exit)
            return self._write_end(tx, judge(seen), code)

        mine = await self._parts.db.write(unit) or not await self._taken()
        self._judged = True
        return mine

    async def _end(self, verdict: Verdict) -> None:
        await self._parts.db.write(lambda tx: self._write_end(tx, verdict, None))

    def _write_end(self, tx: Tx, verdict: Verdict, code: int | None) -> bool:
        told = {"message": verdict.message, "hint": verdict.hint}
        row = self._row
        ended = self._parts.lifecycle.end(tx, row.id, verdict.cause, epoch=row.epoch, exit_code=code, **told)
        if ended:
            note(tx, row, verdict)
        return ended


async def clean(parts: Parts, row: Row[Any], handle: str, *, whole: bool = False) -> None:
    """Keep the whole output as a file, then let the engine forget the job. May run twice. Lines that nobody stored,
    because a worker died after the end, are stored now; `whole`: there are none."""
    await parts.engine.stop(handle, grace_s=0)
    size = 0
    if row.logs_deleted_at is None:
        flow = await parts.db.write(lambda tx: catalog.version(tx, row.flow_id, row.flow_version))
        size = await _keep_raw(parts, row, handle, min(RAW_LIMIT, flow.limits.log_bytes))
        if not whole:
            await _store_rest(parts, row, handle, flow)
    await parts.engine.remove(handle)

    def cleaned(tx: Tx) -> None:
        final = (executions.c.id == row.id) & executions.c.state.in_(FINAL) & executions.c.cleaned_at.is_(None)
        if tx.changed(sa.update(executions).where(final).values(cleaned_at=tx.now())):
            logs.weigh(tx, row.account_id, row.id, size)
        tx.wake(lifecycle.stop_topic(row.id))

    await parts.db.write(cleaned)


async def _keep_raw(parts: Parts, row: Row[Any], handle: str, most: int) -> int:
    """The output as it came, up to so many bytes, into a file, while the plan has room; its size."""
    if await parts.db.write(lambda tx: storage.full(tx, row.account_id)) is not None:
        return 0
    raw = bytearray()
    async for line in parts.engine.logs(handle, after=""):
        raw += f"{line.at} {line.text}\n".encode()
        if len(raw) > most:
            break
    return await parts.blobs.put(logs.file_of(row.id), bytes(raw[:most])) if raw else 0


async def _store_rest(parts: Parts, row: Row[Any], handle: str, flow: Flow) -> None:
    after = await parts.db.write(lambda tx: logs.cursor(tx, row.id))
    phase = watch.Phase(started=row.agent_started_at is not None)

    def sort(text: str) -> tuple[str, str] | None:
        nonlocal phase
        phase, marker = watch.read(phase, text)
        return None if marker else (phase.source, watch.level(text))

    with Follower(parts.db, row, sort, most=flow.limits.log_bytes) as follower:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.write)
            async for line in parts.engine.logs(handle, after=after):
                await follower.put(line)
            follower.close()
