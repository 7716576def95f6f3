"""After the verdict: what the engine still holds of a run is kept, then forgotten."""

import math
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions import lifecycle, logs, storage
from control.executions.states import FINAL
from control.flows import catalog
from control.flows.flow import Flow
from control.tables import executions
from kit.db import Tx
from runner import results, watch
from runner.agents import adapters
from runner.follow import Follower
from runner.narration import Narrator
from runner.parts import Parts

RAW_LIMIT = 64 << 20


async def clean(parts: Parts, row: Row[Any], handle: str, *, whole: bool = False, read_s: float = math.inf) -> None:
    """Keep the whole output as a file, then let the engine forget the job. May run twice. Lines that nobody stored,
    because a worker died after the end, are stored now; `whole`: there are none. `read_s` is how long the output may be
    read for that file, which then has as much of it."""
    await parts.engine.stop(handle, grace_s=0)
    size = 0
    if row.logs_deleted_at is None:
        flow = await parts.db.write(lambda tx: catalog.version(tx, row.flow_id, row.flow_version))
        size = await _keep_raw(parts, row, handle, min(RAW_LIMIT, flow.limits.log_bytes), read_s)
        if not whole:
            await _store_rest(parts, row, handle, flow)
    await results.keep(parts, row, handle)
    await parts.engine.remove(handle)
    await results.forget_handed(parts, row.id)

    def cleaned(tx: Tx) -> None:
        final = (executions.c.id == row.id) & executions.c.state.in_(FINAL) & executions.c.cleaned_at.is_(None)
        if tx.changed(sa.update(executions).where(final).values(cleaned_at=tx.now())):
            logs.weigh(tx, row.account_id, row.id, size)
        tx.wake(lifecycle.stop_topic(row.id))

    await parts.db.write(cleaned)


async def _keep_raw(parts: Parts, row: Row[Any], handle: str, most: int, read_s: float) -> int:
    """The output as it came, up to so many bytes, into a file, while the plan has room; its size."""
    if await parts.db.write(lambda tx: storage.full(tx, row.account_id)) is not None:
        return 0
    raw = bytearray()
    with anyio.move_on_after(read_s):
        async for line in parts.output(handle, after=""):
            raw += f"{line.at} {line.text}\n".encode()
            if len(raw) > most:
                break
    return await parts.blobs.put(logs.file_of(row.id), bytes(raw[:most])) if raw else 0


async def _store_rest(parts: Parts, row: Row[Any], handle: str, flow: Flow) -> None:
    after = await parts.db.write(lambda tx: logs.cursor(tx, row.id))
    begun = sa.select(executions.c.agent_started_at).where(executions.c.id == row.id)  # `row` may be from before it
    phase = watch.Phase(started=(await parts.db.read(begun))[0].agent_started_at is not None)
    told = Narrator(adapters.read(flow.agent.runtime), phase, parts.redactor)
    with Follower(parts.db, row, most=flow.limits.log_bytes) as follower:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.write)
            async for line in parts.output(handle, after=after):
                for entry in told.tell(line):
                    await follower.put(entry)
            for entry in told.rest():
                await follower.put(entry)
            follower.close()
