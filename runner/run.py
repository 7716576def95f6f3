"""One execution from claim to verdict: place, start, follow, judge, clean up. Adopting is the same without the start.

It drives an `Engine` and writes through the domain; it knows no agent CLI (`runner/agents`) and no engine's quirks.
Every write is fenced by the epoch of the claim.
"""

import json
from dataclasses import dataclass
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import logs, queue
from control.executions.diagnosis import Verdict
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
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
from runner.follow import Follower
from runner.settings import RunnerSettings

AFTER_END_S = 30.0
"""How long a container may live after its agent ended, beside the flow's own sleep."""


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
    plane_url: str
    """The containers' listener as a container reaches it."""
    settings: RunnerSettings


class Run:
    """One claimed or adopted execution in the hands of one worker."""

    def __init__(self, parts: Parts, row: Row[Any], owner: str) -> None:
        self._parts = parts
        self._row = row
        self._owner = owner
        self._phase = watch.Phase()
        self._ended = anyio.Event()
        self._exit = Exit(gone=True)
        self._handle = f"preloop-{parts.instance}-{row.id}".replace("_", "-")

    async def drive(self) -> None:
        """To the end of the execution and its container, or until somebody else holds the lease."""
        flow = await self._parts.db.write(lambda tx: catalog.version(tx, self._row.flow_id, self._row.flow_version))
        try:
            if self._row.job is None:
                await self._place(flow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_lease, tasks.cancel_scope)
                await self._follow(flow)
                tasks.cancel_scope.cancel()
        except Fault as fault:
            log.warning("run failed", execution=self._row.id, code=fault.code, error=fault.message)
            await self._end(Verdict(cause=Cause.SETUP_FAILED, message=fault.message, hint=fault.hint))
            await self._clean()

    # start --------------------------------------------------------------------------------------------------------

    async def _place(self, flow: Flow) -> None:
        """Session, bootstrap secret and the job's name are committed before anything is created."""
        secret, hash_ = tokens.mint("plb")
        placed = await self._parts.db.write(lambda tx: self._record_place(tx, flow, hash_))
        if not placed:
            return
        job = self._job(flow, secret)
        await self._parts.engine.prepare(job)
        await self._parts.engine.start(job)

    def _record_place(self, tx: Tx, flow: Flow, bootstrap_hash: str) -> bool:
        mine = (executions.c.id == self._row.id) & (executions.c.epoch == self._row.epoch)
        mine &= (executions.c.state == "RUNNING") & executions.c.job.is_(None)
        place = {"engine": self._parts.engine_id, "job": self._handle}
        if not tx.changed(sa.update(executions).where(mine).values(place)):
            return False
        session_id = runtime.open_session(
            tx,
            self._row.account_id,
            kind="execution",
            principal=f"flow:{flow.name}",
            charter=flow.charter(),
            alive_until=tx.now() + queue.LEASE + queue.UNADOPTED,
            execution_id=self._row.id,
            bootstrap_hash=bootstrap_hash,
        )
        tx.execute(sa.update(executions).where(executions.c.id == self._row.id).values(session_id=session_id))
        return True

    def _job(self, flow: Flow, secret: str) -> Job:
        url = self._parts.plane_url
        brief = Brief(
            execution_id=self._row.id,
            model=flow.agent.model,
            prompt=self._row.prompt,
            payload_json=json.dumps(json.loads(self._row.trigger_event)["payload"], ensure_ascii=False),
            mcp_url=f"{url}/mcp/v1",
            gateway_url=url,
            control_url=url,
            init=flow.init,
            post_exec_sleep_s=flow.post_exec_sleep,
        )
        plan = adapters.plan(flow.agent.runtime, self._parts.engine.name, brief)
        room = Limits(memory_bytes=flow.resources.memory, cpus=flow.resources.cpus, pids=flow.resources.pids)
        return assemble(
            plan, brief, name=self._handle, instance=self._parts.instance, bootstrap_token=secret, limits=room
        )

    # follow -------------------------------------------------------------------------------------------------------

    async def _follow(self, flow: Flow) -> None:
        """Read the output while the job runs; judge at its end marker or its exit, whichever comes first."""
        follower = Follower(self._parts.db, self._row, on_line=self._on_line)
        after = await self._parts.db.write(lambda tx: logs.cursor(tx, self._row.id))
        if self._row.agent_started_at is not None:
            self._phase = watch.Phase(started=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._judge_at_marker, flow)
            with anyio.CancelScope() as reading:
                tasks.start_soon(self._wait, flow, reading)
                await follower.read(self._parts.engine.logs(self._handle, after=after))
            await follower.flush()
            if not self._ended.is_set():
                self._exit = await self._parts.engine.wait(self._handle)
            tasks.cancel_scope.cancel()
        await self._finish(flow)
        await self._keep_raw()
        await self._clean()

    async def _on_line(self, text: str) -> tuple[str, str] | None:
        """(source, level) of a line to store; None for a marker."""
        before = self._phase
        self._phase, marker = watch.read(before, text)
        if marker and self._phase.started and not before.started:
            await self._parts.db.write(lambda tx: self._parts.lifecycle.started(tx, self._row.id, self._row.epoch))
        if marker and self._phase.ended:
            self._ended.set()
        return None if marker else (before.source, watch.level(text))
