"""Calls that wait for people while their agent does not listen any more: a run that nobody can finish is ended.

Doors say every half minute which calls somebody listens for. A run is unattended when for `GONE` nobody listened for
any of its calls, and it made none and asked no model. Agents whose plane was away come back within two minutes (their
relay holds on for so long), or not at all.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from control.executions import lifecycle
from control.executions.states import Cause, Stored
from control.executions.toolcalls import Status
from control.tables import events as recorded
from control.tables import executions, tool_calls
from kit.db import Tx

GONE = timedelta(minutes=3)
_ENDED_AT_ONCE = 50


def attend(tx: Tx, call_ids: Sequence[str]) -> None:
    """Somebody listens for these calls now."""
    waiting = tool_calls.c.id.in_(call_ids) & (tool_calls.c.status == Status.WAITING)
    tx.execute(sa.update(tool_calls).where(waiting).values(attended_at=tx.now()))


def end(tx: Tx, *, since: datetime) -> int:
    """Ask for the end of runs that wait unattended; how many. `since` is when the process that asks began
    to say which are attended: before it has done so for long enough it knows nothing."""
    now = tx.now()
    if now < since + GONE:
        return 0
    last = sa.func.max(sa.func.coalesce(tool_calls.c.attended_at, tool_calls.c.asked_at))
    its = (recorded.c.account_id == executions.c.account_id) & (recorded.c.stream == executions.c.id)
    thinks = sa.exists().where(its, recorded.c.type == "model.requested", recorded.c.at > now - GONE)
    runs = (
        (executions.c.state == Stored.RUNNING) & executions.c.stop_intent.is_(None) & (executions.c.open_approvals > 0)
    )
    found = (
        sa.select(executions.c.account_id, executions.c.id)
        .join(tool_calls, tool_calls.c.execution_id == executions.c.id)
        .where(runs, ~thinks)
        .group_by(executions.c.account_id, executions.c.id)
        .having(last < now - GONE)
        .limit(_ENDED_AT_ONCE)
    )
    return sum(
        lifecycle.intend(tx, row.account_id, row.id, Cause.STREAM_CUT, by="watchdog") for row in tx.execute(found).all()
    )
