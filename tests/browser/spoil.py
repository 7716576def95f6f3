"""One text in every field of a scene that an agent, a sender, an upstream or a provider writes, whatever it is."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control import events
from control.tables import approvals, executions, flow_versions, sessions, tool_calls
from kit import canonical
from kit.db import Tx
from ledger.tables import entries
from tests.browser.scene import Scene, write_log
from tests.control.house import ACCOUNT
from tests.web.world import World

WRITTEN: Sequence[tuple[sa.Table, Sequence[str]]] = (
    (executions, ("message", "hint", "engine", "trigger_type")),
    (tool_calls, ("server", "tool", "name", "justification", "rule", "error")),
    (approvals, ("approver_group", "rule", "reason")),
    (entries, ("alias", "provider", "model", "error_class")),
    (sessions, ("principal",)),
)


async def spoil(world: World, scene: Scene, text: str) -> None:
    """Each run has a call that failed, a request and a model call, and a line of log; `text` is in all of them."""
    await world.house.db.write(lambda tx: _rows(tx, text))
    failed, done = scene.runs["FAILED"], scene.runs["SUCCEEDED"]
    about = {"cause": "tool_failed", "stage": text, "tool": text, "model": text, "provider": text}
    [attempt] = await world.house.db.read(sa.select(entries.c.id).where(entries.c.execution_id == done))
    refused = {"alias": text, "stage": text, "error": text, "message": text}
    call = {"attempt": attempt.id, "number": 0, "stage": text, "upstream_status": 500, "message": text}
    said: dict[str, list[tuple[str, dict[str, Any]]]] = {
        failed: [(events.DIAGNOSED, about), (events.FINISHED, {"ok": False, "message": text})],
        done: [(events.FINISHED, {"ok": True, "message": text}), ("model.failed", call), ("model.refused", refused)],
    }
    for run, happened in said.items():
        await world.house.db.write(lambda tx, run=run, its=happened: events.append_many(tx, ACCOUNT, run, its))  # type: ignore[misc]
    for run in scene.runs.values():
        await write_log(world, run, (("agent", "error", text),))


def _rows(tx: Tx, text: str) -> None:
    for table, names in WRITTEN:
        room = {name: getattr(table.c[name].type, "length", None) for name in names}
        tx.execute(sa.update(table).values({name: text[:length] for name, length in room.items()}))
    of_calls = canonical.dumps({text: [text]})
    tx.execute(sa.update(tool_calls).values(args=of_calls, approved_args=of_calls, result=of_calls))
    unresolved = canonical.dumps([{"name": text, "hint": text}])
    event = canonical.dumps({"type": text, "event": text, "action": text, "payload": {text: text}})
    tx.execute(sa.update(executions).values(trigger_event=event, prompt=text, unresolved=unresolved))
    for row in tx.execute(sa.select(flow_versions)).all():
        flow = json.loads(row.body)
        flow["agent"]["model"] = text
        flow["tools"][0]["tool"] = text
        mine = sa.update(flow_versions).where(flow_versions.c.flow_id == row.flow_id)
        tx.execute(mine.values(body=canonical.dumps(flow)))
