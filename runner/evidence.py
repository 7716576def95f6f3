"""What the control plane knows of a run when its agent ends, as the value that `diagnosis.judge` decides over."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import logs, queue
from control.executions.diagnosis import AgentEnd, Seen, ToolEnd
from control.executions.model_faults import ModelEnd
from control.executions.states import Cause
from control.executions.toolcalls import Status
from control.flows.flow import Flow
from control.tables import events as recorded
from control.tables import executions, sessions, tool_calls
from kit import masking
from kit.bus import Bus
from kit.db import Database, Tx
from runner.agents import adapters
from runner.agents.events import Said
from runner.engine import KILL, Exit
from runner.watch import Phase

BRIEF_S = 0.3
"""After a bad end, or one of an agent whose model was not seen yet: the gateway commits what happened within 0.1 s, and
an agent may be faster."""
LONG_S = 2.0
"""For a model call that was begun and whose end is not in the record yet."""
RECENT = 20
_ENDED = ("model.answered", "model.failed", "model.refused")
_CALLED = ("model.requested", "model.answered", "model.failed")
TAIL = 40
WORDS = 2000


async def awaited(db: Database, bus: Bus, row: Row[Any], *, badly: bool) -> None:
    """Return when what the gateway knows of this run should be in the record, after two seconds at the latest."""
    brief_s, began = BRIEF_S if badly or not await _thought(db, row) else 0.0, anyio.current_time()
    with bus.watch(events.topic(row.id)) as watch, anyio.move_on_after(LONG_S):
        while (left_s := began + brief_s - anyio.current_time()) > 0 or await _open(db, row):
            await watch.changed(left_s if left_s > 0 else BRIEF_S)


async def _thought(db: Database, row: Row[Any]) -> bool:
    """Is it in the record that the agent called its model?"""
    its = (sessions.c.execution_id == row.id) & sessions.c.model_called_at.is_not(None)
    return bool(await db.read(sa.select(sessions.c.id).where(its)))


async def _open(db: Database, row: Row[Any]) -> bool:
    """Is a model call under way, as the record has it?"""
    its = (recorded.c.account_id == row.account_id) & (recorded.c.stream == row.id)
    kinds = sa.select(recorded.c.type, sa.func.count().label("number")).group_by(recorded.c.type)
    counts = {found.type: found.number for found in await db.read(kinds.where(its, recorded.c.type.in_(_CALLED)))}
    begun: int = counts.pop("model.requested", 0)
    ended: int = sum(counts.values())
    return begun > ended


def gather(tx: Tx, execution_id: str, flow: Flow, phase: Phase, exit_: Exit) -> Seen:
    """Row, session, tool and model calls of an execution, with what the engine and the markers said."""
    row = tx.execute(sa.select(executions).where(executions.c.id == execution_id)).one()
    session = tx.one(sa.select(sessions).where(sessions.c.id == row.session_id))
    mine = tool_calls.c.execution_id == execution_id
    calls = tx.execute(sa.select(tool_calls).where(mine).order_by(tool_calls.c.asked_at)).all()
    code = phase.code if phase.ended else exit_.code
    return Seen(
        exit_code=code,
        agent_started=phase.started,
        agent_ended=phase.ended,
        gone=exit_.gone and not phase.ended,
        oom_killed=exit_.oom_killed and code == KILL,  # some other process of it may have been, and it lived on
        stop_intent=Cause(row.stop_intent) if row.stop_intent else None,
        tools=_tools(tx, row, calls),
        models=_models(tx, row),
        waiting=[call.tool for call in calls if call.status == Status.WAITING],
        on_tool_error=flow.on_tool_error,
        speaks=adapters.read(flow.agent.runtime) is not None,
        final=_final(tx, row),
        needs_tools=bool(flow.tools),
        tools_listed=bool(session and session.tools_listed_at),
        metered=row.unmetered_at is None,
        # The mark is made a moment after the call, and is lost with a process that is killed in between.
        model_called=bool((session and session.model_called_at) or _told(tx, row, *_CALLED)),
        timeout_s=row.timeout_s,
        wall_s=row.wall_s,
        waited=(tx.now() - row.claimed_at).total_seconds() >= row.wall_s,
        tail=[masking.text(line) for line in logs.last(tx, row.account_id, row.id, TAIL, source=_whose(phase))],
    )


def finished(tx: Tx, row: Row[Any], final: Said) -> None:
    """Keep what a CLI said of its own end: who adopts the run does not read that line again."""
    if queue.held(tx, row.id, row.epoch):
        events.append(tx, row.account_id, row.id, events.FINISHED, ok=final.ok, message=final.text[:WORDS])


def _final(tx: Tx, row: Row[Any]) -> AgentEnd | None:
    told = [events.event_of(event).data for event in _told(tx, row, events.FINISHED)]
    return AgentEnd(ok=told[-1]["ok"], message=told[-1]["message"]) if told else None


def _whose(phase: Phase) -> str:
    """Whose last words explain the end."""
    return "agent" if phase.started else "setup"


def _tools(tx: Tx, row: Row[Any], calls: Sequence[Row[Any]]) -> list[ToolEnd]:
    """Calls that have a row, and those that were refused before they had one, in the order of asking."""
    found: list[tuple[datetime, ToolEnd]] = [
        (call.asked_at, ToolEnd(tool=call.name, status=call.status, error=call.error or "")) for call in calls
    ]
    for event in _told(tx, row, "tool.refused"):
        told = events.event_of(event).data
        found.append((event.at, ToolEnd(tool=told["tool"], status=told["code"], error=told["text"])))
    return [call for _, call in sorted(found, key=lambda one: one[0])]


def _models(tx: Tx, row: Row[Any]) -> list[ModelEnd]:
    """The last model calls of a run, in the order in which they ended."""
    return [_model(events.event_of(event)) for event in _told(tx, row, *_ENDED)]


def _told(tx: Tx, row: Row[Any], *types: str) -> list[Row[Any]]:
    its = (recorded.c.account_id == row.account_id) & (recorded.c.stream == row.id) & recorded.c.type.in_(types)
    newest = sa.select(recorded).where(its).order_by(recorded.c.seq.desc()).limit(RECENT)
    return list(reversed(tx.execute(newest).all()))


def _model(event: events.Event) -> ModelEnd:
    told = event.data
    words = {name: str(told.get(name) or "") for name in ("alias", "provider", "model", "error", "message", "reason")}
    return ModelEnd(
        answered=event.type == "model.answered",
        stage=str(told.get("stage") or ""),
        status=str(told.get("status") or ""),
        upstream_status=told.get("upstream_status"),
        **words,
    )
