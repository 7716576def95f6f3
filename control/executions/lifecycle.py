"""Every change of an execution's state: one compare-and-set, its event, its wake-up, in one unit.

Intent and end: cancel, deadlines and budgets only set `stop_intent`; whoever holds the lease ends the execution, fenced
by its epoch. A declined approval ends it at once. `Endings` are units that `preloop/house` hands in (withdraw
approvals, revoke the session, …): they run in the ending transaction, and this file imports none of them.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import figures, states
from control.executions.states import Cause, Stored
from control.executions.verdict import Verdict
from control.tables import events as recorded
from control.tables import executions
from kit.clock import rfc3339
from kit.db import Tx
from kit.errors import Conflict, Missing

Ending = Callable[[Tx, Row[Any], Cause | None], None]
"""A unit that runs with the end of an execution: (tx, the row as it ended, why)."""

LISTED = "`preloop executions list` shows the latest."
WORK = "executions"
"""Woken when there is something else to show in a list."""
QUEUE = "queue"
"""Woken when there may be something to claim: one came, or a slot is free."""


class Lifecycle:
    """Moves executions; made once per process with the endings of the house."""

    def __init__(self, endings: Sequence[Ending] = ()) -> None:
        self._endings = endings

    def started(self, tx: Tx, execution_id: str, epoch: int) -> bool:
        """The agent phase began."""
        row = _held(execution_id, epoch) & executions.c.agent_started_at.is_(None)
        hit = tx.execute(
            sa.update(executions).where(row).values(agent_started_at=tx.now()).returning(executions)
        ).first()
        if hit:
            events.append(tx, hit.account_id, execution_id, "agent.started")
            tx.wake(WORK)
        return hit is not None

    def agent_ended(self, tx: Tx, execution_id: str, epoch: int, code: int | None) -> bool:
        """The agent phase ended with an exit code; what is shown of it, not yet a verdict."""
        row = _held(execution_id, epoch) & executions.c.agent_ended_at.is_(None)
        changed = sa.update(executions).where(row).values(agent_ended_at=tx.now(), exit_code=code)
        hit = tx.execute(changed.returning(executions.c.account_id)).first()
        if hit:
            events.append(tx, hit.account_id, execution_id, "agent.ended", exit_code=code)
        return hit is not None

    def overtaken(self, tx: Tx, execution_id: str, epoch: int, ended_at: datetime) -> bool:
        """Take a time limit's wish to stop back when the agent had ended before it was wished."""
        late = _held(execution_id, epoch) & (executions.c.stop_intent == Cause.TIMEOUT.value)
        wishes = (recorded.c.stream == execution_id) & (recorded.c.type == "stop.intended")
        wished = sa.select(sa.func.max(recorded.c.at)).where(wishes, recorded.c.account_id == executions.c.account_id)
        at = tx.execute(sa.select(wished.correlate(executions).scalar_subquery()).where(late)).scalar()
        if at is None or at <= ended_at:
            return False
        taken = sa.update(executions).where(late).values(stop_intent=None).returning(executions.c.account_id)
        events.append(tx, tx.execute(taken).scalar_one(), execution_id, "stop.overtaken", ended_at=rfc3339(ended_at))
        return True

    def judge(
        self, tx: Tx, execution_id: str, verdict: Verdict, *, epoch: int | None = None, exit_code: int | None = None
    ) -> bool:
        """End an execution with a verdict, as `end` does, and keep in its record what that is about."""
        told = {"message": verdict.message, "hint": verdict.hint}
        if not self.end(tx, execution_id, verdict.cause, epoch=epoch, exit_code=exit_code, **told):
            return False
        about = {"stage": verdict.stage, "tool": verdict.tool, "model": verdict.model, "provider": verdict.provider}
        if verdict.cause and any(about.values()):
            account_id = tx.execute(
                sa.select(executions.c.account_id).where(executions.c.id == execution_id)
            ).scalar_one()
            events.append(tx, account_id, execution_id, events.DIAGNOSED, cause=verdict.cause.value, **about)
        return True

    def end(
        self,
        tx: Tx,
        execution_id: str,
        cause: Cause | None,
        *,
        message: str = "",
        hint: str = "",
        epoch: int | None = None,
        exit_code: int | None = None,
    ) -> bool:
        """End an execution, once. `epoch` fences a worker that lost its lease; without it the state alone decides."""
        target, now = states.verdict(cause), tx.now()
        still = [executions.c.epoch == epoch] if epoch is not None else []
        if target is Stored.SUCCEEDED:
            still += [executions.c.open_approvals == 0, executions.c.stop_intent.is_(None)]
        values: dict[str, Any] = {"ended_at": now, "message": message, "hint": hint, "lease_until": None}
        values["cause"] = cause.value if cause else None
        if exit_code is not None:
            values["exit_code"] = exit_code
        ended = _move(tx, execution_id, target, *still, **values)
        if ended is None:
            if epoch is not None:
                figures.refused(tx, "verdict")
            return False
        if ended.open_approvals:
            _leave(tx, ended, now, open_approvals=0)
        if ended.keeps:
            due = now + timedelta(days=min(json.loads(ended.keeps).values()))
            tx.execute(sa.update(executions).where(executions.c.id == execution_id).values(due_at=due))
        for ending in self._endings:
            ending(tx, ended, cause)
        data = {"state": target.value, "cause": values["cause"], "message": message, "hint": hint}
        events.append(tx, ended.account_id, execution_id, "execution.ended", **data)
        figures.ended(tx, ended)
        tx.wake(WORK)
        tx.wake(QUEUE)
        tx.wake(stop_topic(execution_id))
        return True


def claimed(
    tx: Tx, execution_id: str, *, owner: str, at: datetime, until: datetime, most_s: int | None = None
) -> Row[Any] | None:
    """PENDING to RUNNING with a lease and the next epoch; None when somebody was faster or wants its end. Its timeout
    is `most_s` at most."""
    lease: dict[str, Any] = {"lease_owner": owner, "lease_until": until, "epoch": executions.c.epoch + 1}
    if most_s is not None:
        lease["timeout_s"] = sa.case((executions.c.timeout_s > most_s, most_s), else_=executions.c.timeout_s)
    wanted = executions.c.stop_intent.is_(None)
    row = _move(tx, execution_id, Stored.RUNNING, wanted, claimed_at=at, **lease)
    if row:
        events.append(
            tx, row.account_id, row.id, "execution.claimed", owner=owner, epoch=row.epoch, timeout_s=row.timeout_s
        )
        figures.claimed(tx, row, at)
        tx.wake(WORK)
    return row


def _move(
    tx: Tx, execution_id: str, target: Stored, *still: sa.ColumnElement[bool], **values: object
) -> Row[Any] | None:
    """The one compare-and-set of a state: from wherever the table allows it, if `still` holds; the row as it became."""
    sources = [source.value for source in Stored if states.may_move(source, target)]
    mine = (executions.c.id == execution_id) & executions.c.state.in_(sources)
    moved = sa.update(executions).where(mine, *still).values(state=target.value, **values)
    return tx.execute(moved.returning(executions)).first()


def _leave(tx: Tx, row: Row[Any], now: datetime, **values: object) -> int:
    """The wait for people is over; how long all of them took, in ms."""
    waited = int(row.waited_ms + (now - (row.waiting_since or now)).total_seconds() * 1000)
    left = sa.update(executions).where(executions.c.id == row.id).values(waited_ms=waited, waiting_since=None, **values)
    tx.execute(left)
    return waited


def stop_topic(execution_id: str) -> str:
    """Woken when an execution is to stop or has ended: its worker looks at the row then."""
    return f"stop:{execution_id}"


def intend(tx: Tx, account_id: str, execution_id: str, cause: Cause, *, by: str) -> bool:
    """Ask for the end of an execution; the first intent stays. Whoever holds the lease ends it."""
    mine = (executions.c.id == execution_id) & (executions.c.account_id == account_id)
    open_ = mine & executions.c.state.in_([Stored.PENDING, Stored.RUNNING]) & executions.c.stop_intent.is_(None)
    if not tx.changed(sa.update(executions).where(open_).values(stop_intent=cause.value)):
        return False
    events.append(tx, account_id, execution_id, "stop.intended", cause=cause.value, by=by)
    tx.wake(WORK)
    tx.wake(stop_topic(execution_id))
    return True


def cancel(tx: Tx, account_id: str, execution_id: str, *, by: str) -> None:
    """A person's wish to end it; a final execution is a Conflict."""
    if intend(tx, account_id, execution_id, Cause.CANCELLED, by=by):
        return
    mine = (executions.c.id == execution_id) & (executions.c.account_id == account_id)
    row = tx.one(sa.select(executions.c.state).where(mine))
    if row is None:
        raise Missing("execution_unknown", f"There is no execution {execution_id}.", LISTED)
    if Stored(row.state) in states.FINAL:
        raise Conflict("execution_final", f"The execution is {row.state} already.", "Run it again instead.")


def waiting(tx: Tx, execution_id: str, account_id: str, *, opened: bool) -> bool:
    """An approval of a RUNNING execution opened or closed; entering and leaving the wait append events.

    False when the execution is not running any more: nothing may be asked for it then.
    """
    step = 1 if opened else -1
    running = (executions.c.id == execution_id) & (executions.c.state == Stored.RUNNING)
    running &= executions.c.stop_intent.is_(None) if opened else executions.c.open_approvals > 0
    change = sa.update(executions).where(running).values(open_approvals=executions.c.open_approvals + step)
    row = tx.execute(change.returning(executions)).first()
    if row is None:
        return False
    if opened and row.open_approvals == 1:
        tx.execute(sa.update(executions).where(executions.c.id == execution_id).values(waiting_since=tx.now()))
        events.append(tx, account_id, execution_id, "wait.entered")
    elif not opened and row.open_approvals == 0:
        waited = _leave(tx, row, tx.now())
        events.append(tx, account_id, execution_id, "wait.left", waited_ms=waited)
    tx.wake(WORK)
    return True


def _held(execution_id: str, epoch: int) -> sa.ColumnElement[bool]:
    mine = (executions.c.id == execution_id) & (executions.c.epoch == epoch)
    return mine & (executions.c.state == Stored.RUNNING)
