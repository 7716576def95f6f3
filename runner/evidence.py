"""What the control plane knows of a run when its agent ends, as the value that `diagnosis.judge` decides over."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions.diagnosis import Seen, ToolEnd
from control.executions.states import Cause
from control.executions.toolcalls import Status
from control.flows.flow import Flow
from control.tables import executions, sessions, tool_calls
from kit.db import Tx
from runner.engine import Exit
from runner.watch import Phase


def gather(tx: Tx, execution_id: str, flow: Flow, phase: Phase, exit_: Exit) -> Seen:
    """Row, session and tool calls of an execution, with what the engine and the markers said."""
    row = tx.execute(sa.select(executions).where(executions.c.id == execution_id)).one()
    session = tx.one(sa.select(sessions).where(sessions.c.id == row.session_id))
    mine = tool_calls.c.execution_id == execution_id
    calls = tx.execute(sa.select(tool_calls).where(mine).order_by(tool_calls.c.asked_at)).all()
    return Seen(
        exit_code=phase.code if phase.ended else exit_.code,
        agent_started=phase.started,
        agent_ended=phase.ended,
        gone=exit_.gone and not phase.ended,
        oom_killed=exit_.oom_killed and not phase.ended,
        stop_intent=Cause(row.stop_intent) if row.stop_intent else None,
        tools=[ToolEnd(tool=call.tool, status=call.status, error=call.error or "") for call in calls],
        waiting=[call.tool for call in calls if call.status == Status.WAITING],
        on_tool_error=flow.on_tool_error,
        needs_tools=bool(flow.tools),
        tools_listed=bool(session and session.tools_listed_at),
        model_called=bool(session and session.model_called_at),
        timeout_s=_limit_s(row, tx.now()),
    )


def _limit_s(row: Row[Any], now: datetime) -> int:
    """The limit that an execution out of time has reached: of all its time, else of its active time."""
    wall: bool = (now - row.claimed_at).total_seconds() >= row.wall_s
    return int(row.wall_s if wall else row.timeout_s)
