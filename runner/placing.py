"""The start of a run: its session, its bootstrap secret and its job's name are committed, then the engine begins."""

import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import queue
from control.executions.states import Stored
from control.flows.direct import Direct
from control.flows.flow import Flow
from control.identity import sessions as runtime
from control.identity.charter import Charter
from control.tables import executions
from kit import tokens
from kit.db import Tx
from runner.agents import adapters
from runner.agents.script import Brief, Limits, assemble
from runner.engine import Job
from runner.parts import Parts

BYPASSED = "model.direct"
"""The type of the event that says so."""


def job_name(instance: str, execution_id: str) -> str:
    """Deterministic, so that a second start of the same execution meets the first."""
    return f"preloop-{instance}-{execution_id}".replace("_", "-")


async def place(parts: Parts, row: Row[Any], flow: Flow, handle: str) -> bool:
    """Start the agent of a claimed execution, or take over the one that was started; False when the claim is somebody
    else's by now. A worker that died over it left a job that never began, or none: then it is started anew, unless
    its secret was used, which only an agent does."""
    began = row.job is not None and await parts.engine.began(handle)
    if began:
        return True
    secret, hash_ = tokens.mint("plb")
    if row.job is None:
        direct = await parts.directs.chosen(flow)
        mine = await parts.db.write(lambda tx: _record(tx, parts, row, flow, handle, hash_, direct))
    elif mine := await parts.db.write(lambda tx: _renew(tx, row, hash_)):
        await parts.engine.remove(handle)
    else:
        return True  # it began, and is gone: whoever looks for it hears so
    if not mine:
        return False
    if row.job is not None:  # as it was decided then
        direct = parts.directs.kept(flow) if row.unmetered_at else None
    job = _job(parts, row, flow, handle, secret, direct)
    async with parts.starting:
        await parts.engine.prepare(job)
        await parts.engine.start(job)
    return True


def _record(
    tx: Tx, parts: Parts, row: Row[Any], flow: Flow, handle: str, bootstrap_hash: str, direct: Direct | None
) -> bool:
    mine = (executions.c.id == row.id) & (executions.c.epoch == row.epoch)
    mine &= (executions.c.state == Stored.RUNNING) & executions.c.job.is_(None)
    if not tx.changed(sa.update(executions).where(mine).values(engine=parts.engine_id, job=handle)):
        return False
    session_id = runtime.open_session(
        tx,
        row.account_id,
        kind="execution",
        principal=f"flow:{flow.name}",
        charter=_charter(flow, row, direct),
        alive_until=tx.now() + queue.LEASE + queue.UNADOPTED,
        execution_id=row.id,
        bootstrap_hash=bootstrap_hash,
    )
    tx.execute(sa.update(executions).where(executions.c.id == row.id).values(session_id=session_id))
    if flow.egress == "open":
        events.append(tx, row.account_id, row.id, "egress.unrestricted", session=session_id)
    if direct:
        tx.execute(sa.update(executions).where(executions.c.id == row.id).values(unmetered_at=tx.now()))
        told = {"alias": flow.agent.model, "wire": direct.wire, "model": direct.model, "host": direct.site}
        said = f"Runs past the gateway: key of [models.{flow.agent.model}.direct], spend is not metered."
        events.append(tx, row.account_id, row.id, BYPASSED, **told, gateway=flow.agent.gateway, message=said)
    return True


def _charter(flow: Flow, row: Row[Any], direct: Direct | None) -> Charter:
    """The flow's. Past the gateway nothing of the gateway, and its provider's host beside those that it names."""
    charter = replace(flow.charter(), budget_of=row.budget_of)
    if direct is None:
        return charter
    reach = charter.egress if charter.egress == "open" else (*charter.egress, direct.site)
    return replace(charter, models=(), egress=reach)


def _renew(tx: Tx, row: Row[Any], bootstrap_hash: str) -> bool:
    """Give the execution's session another secret; False where the first was used, or the claim is not ours."""
    mine = (executions.c.id == row.id) & (executions.c.epoch == row.epoch) & (executions.c.state == Stored.RUNNING)
    if tx.one(sa.select(executions.c.id).where(mine).with_for_update()) is None:
        return False
    return runtime.renew_bootstrap(tx, row.session_id, bootstrap_hash)


def _job(parts: Parts, row: Row[Any], flow: Flow, handle: str, secret: str, direct: Direct | None) -> Job:
    brief = Brief(
        execution_id=row.id,
        model=direct.model if direct else flow.agent.model,
        direct=direct,
        prompt=row.prompt,
        payload_json=json.dumps(json.loads(row.trigger_event)["payload"], ensure_ascii=False),
        mcp_url=f"{parts.mcp_url}/mcp/v1",
        gateway_url=parts.gateway_url,
        control_url=parts.mcp_url,
        init=flow.init,
        init_timeout_s=flow.limits.init_s(row.timeout_s),
        post_exec_sleep_s=flow.post_exec_sleep,
        egress=bool(flow.egress or direct),
        hands_over=not parts.engine.gives_files,
        git_hosts=tuple(sorted({repository.host for repository in flow.git})),
        image=flow.agent.image,
        command=flow.agent.command,
    )
    plan = adapters.plan(flow.agent.runtime, parts.engine.name, brief)
    given = flow.resources
    room = Limits(memory_bytes=given.memory, cpus=given.cpus, pids=given.pids)
    job = assemble(plan, brief, name=handle, instance=parts.instance, bootstrap_token=secret, limits=room)
    return replace(job, log_bytes=flow.limits.log_bytes)
