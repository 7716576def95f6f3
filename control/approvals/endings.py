"""How a request ends without a verdict: the run is over, the yes was not used, nobody could be reached."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import requests
from control.approvals.directory import Directory
from control.approvals.policy import Ask
from control.executions import lifecycle, logs, toolcalls
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
from control.executions.toolcalls import Status
from control.executions.verdict import Verdict
from control.identity.charter import Gate
from control.identity.principals import Principal
from control.tables import approvals, tool_calls
from control.tables import events as recorded
from kit.db import Tx

GONE = "The run has ended; nothing is called for it any more."
UNUSED = "The approval was not used in time. Call the tool again: it will be asked for anew."
UNHEARD = "Nobody could be reached: no notice to any approver arrived."
HINT = "Look at [approvers], [groups] and [notify] in preloop.toml, and at the run's notice.failed events."
TAKE_UP = timedelta(seconds=10)
"""What a waiting caller gets to take up a yes that came at the last moment."""


def withdraw(tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
    """An ending: what was open for this execution is withdrawn, a yes that was not used lapses."""
    mine = approvals.c.execution_id == ended.id
    now = tx.now()
    gone = sa.update(approvals).where(mine, approvals.c.status == requests.Status.PENDING)
    for row in tx.execute(
        gone.values(status=requests.Status.WITHDRAWN.value, decided_at=now).returning(approvals)
    ).all():
        requests.count(tx, row, requests.Status.WITHDRAWN)
        requests.closed(tx, row, requests.Status.WITHDRAWN, at=now, by=None, reason=None)
    for row in tx.execute(sa.select(approvals).where(mine, approvals.c.status == requests.Status.APPROVED)).all():
        _lapse(tx, row)
    open_ = sa.select(tool_calls.c.id).where(
        tool_calls.c.execution_id == ended.id, tool_calls.c.status.in_([Status.READY, Status.WAITING])
    )
    for call_id in tx.execute(open_).scalars().all():
        toolcalls.close(tx, call_id, Status.WITHDRAWN, GONE)
    tx.wake(requests.TOPIC)


def recall(tx: Tx, call_id: str, reason: str) -> bool:
    """The caller takes back a call that was not sent yet, and the request for it; False when it is past that."""
    asked = tx.one(sa.select(approvals).where(approvals.c.call_id == call_id))
    row = requests.locked(tx, asked.account_id, asked.id) if asked is not None else None
    if not toolcalls.close(tx, call_id, Status.WITHDRAWN, reason):
        return False
    if row is not None:
        if requests.close(tx, row, requests.Status.WITHDRAWN, by=None, reason=reason) and row.execution_id:
            lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
        _lapse(tx, row)
    return True


def lapse(tx: Tx) -> int:
    """A yes that nobody used in its time is worth nothing any more, whoever's session it was; returns how many."""
    now = tx.now()
    unused = (approvals.c.status == requests.Status.APPROVED) & (approvals.c.expires_at <= now)
    unused &= approvals.c.decided_at <= now - TAKE_UP  # as `late` has it
    rows = tx.execute(sa.select(approvals).where(unused).limit(50)).all()
    for found in rows:
        lapsed(tx, requests.locked(tx, found.account_id, found.id))
    return len(rows)


def late(tx: Tx, row: Row[Any]) -> bool:
    """Is it too late to use this yes?"""
    return bool(row.expires_at <= tx.now() and row.decided_at <= tx.now() - TAKE_UP)


def lapsed(tx: Tx, row: Row[Any]) -> None:
    """A yes was not used in time, and its call is over. `row` is locked."""
    if _lapse(tx, row):
        toolcalls.close(tx, row.call_id, Status.EXPIRED, UNUSED)


def _lapse(tx: Tx, row: Row[Any]) -> bool:
    """An unused yes is worth nothing any more, and the record says so; False where there was none. A row that says yes
    where the record does not is left to `attest`. `row` is locked."""
    if row.status != requests.Status.APPROVED or not _was_approved(tx, row):
        return False
    unused = sa.update(approvals).where(approvals.c.id == row.id, approvals.c.status == requests.Status.APPROVED)
    if not tx.changed(unused.values(status=requests.Status.LAPSED.value)):
        return False
    requests.count(tx, row, requests.Status.LAPSED)
    events.append(tx, row.account_id, events.stream_of(row), "approval.lapsed", approval=row.id, call=row.call_id)
    tx.wake(requests.TOPIC)
    return True


def _was_approved(tx: Tx, row: Row[Any]) -> bool:
    """Is a yes the last that its events say of a request, and its call not sent?"""
    its = (recorded.c.account_id == row.account_id) & (recorded.c.stream == events.stream_of(row))
    its &= recorded.c.type.in_(("approval.closed", "approval.lapsed", "tool.sent"))
    its &= sa.or_(*(recorded.c.body.contains(id_, autoescape=True) for id_ in (row.id, row.call_id)))
    last = tx.execute(sa.select(recorded).where(its).order_by(recorded.c.seq.desc()).limit(1)).first()
    return last is not None and events.event_of(last).data.get("status") == requests.Status.APPROVED


def nobody(tx: Tx, principal: Principal, ask: Ask, directory: Directory) -> str | None:
    """Why one of its gates can never be passed."""
    return next((why for gate in (ask.gate, *ask.also) if (why := _nobody(tx, principal, gate, directory))), None)


def _nobody(tx: Tx, principal: Principal, gate: Gate, directory: Directory) -> str | None:
    """Too few people in its group, or under four eyes only the requester."""
    members = directory.members(gate.group)
    if not members:
        return f"Nobody could be reached: group '{gate.group}' has no members."
    if len(members) < gate.quorum:
        return f"Nobody could be reached: {gate.quorum} of group '{gate.group}' must agree, which has {len(members)}."
    if gate.four_eyes:
        email = requests.requester(tx, principal)
        if all(requests.is_requester(member, email) for member in members):
            nameless = ", or people without an email who may be" if any(not member.email for member in members) else ""
            return f"Nobody could be reached: only the run's requester{nameless} is in group '{gate.group}'."
    return None


def unreachable(tx: Tx, lifecycle_: Lifecycle, account_id: str, execution_id: str | None, tool: str, why: str) -> None:
    """An error on the execution at once, never a silent wait."""
    logs.story(tx, account_id, execution_id, "error", why)
    if execution_id is not None:
        message = f"Tool '{tool}' needs approval. {why}"
        cause = Cause.APPROVER_UNREACHABLE
        lifecycle_.judge(
            tx, execution_id, Verdict(cause=cause, message=message, hint=HINT, stage="approval", tool=tool)
        )


def unheard(tx: Tx, lifecycle_: Lifecycle, row: Row[Any]) -> None:
    """Every notice of a request failed for good: it is withdrawn, its call answered, its run ended. `row` is locked."""
    if not requests.close(tx, row, requests.Status.WITHDRAWN, by=None, reason=UNHEARD):
        return
    call = toolcalls.row(tx, row.call_id)
    toolcalls.close(tx, call.id, Status.WITHDRAWN, f"Tool '{call.name}' was not called: {UNHEARD}")
    if row.execution_id:
        lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
    unreachable(tx, lifecycle_, row.account_id, row.execution_id, call.name, UNHEARD)


def void(tx: Tx, account_id: str, server: str, tool: str, reason: str) -> int:
    """The tool is not what people were asked about: its open requests and unused yeses are worth nothing, its calls
    that were not sent are answered so. Returns how many requests."""
    open_ = approvals.c.status.in_([requests.Status.PENDING, requests.Status.APPROVED])
    its = (tool_calls.c.server == server) & (tool_calls.c.tool == tool) & (tool_calls.c.account_id == account_id)
    asked = sa.select(approvals.c.id).join(tool_calls, tool_calls.c.id == approvals.c.call_id).where(its, open_)
    ids = tx.execute(asked).scalars().all()
    for row in [requests.locked(tx, account_id, id_) for id_ in ids]:
        spoil(tx, row, reason)
    unsent = sa.select(tool_calls.c.id).where(its, tool_calls.c.status.in_([Status.READY, Status.WAITING]))
    for call_id in tx.execute(unsent).scalars().all():
        toolcalls.close(tx, call_id, Status.WITHDRAWN, reason)
    tx.wake(requests.TOPIC)
    return len(ids)


def spoil(tx: Tx, row: Row[Any], reason: str) -> None:
    """One request, or the unused yes to it, is worth nothing any more, nor is its call. `row` is locked."""
    open_ = (approvals.c.id == row.id) & approvals.c.status.in_([requests.Status.PENDING, requests.Status.APPROVED])
    now = tx.now()
    values = {"status": requests.Status.VOID.value, "decided_at": now, "reason": reason}
    if not tx.changed(sa.update(approvals).where(open_).values(values)):
        return
    requests.count(tx, row, requests.Status.VOID)
    requests.closed(tx, row, requests.Status.VOID, at=now, by=None, reason=reason)
    if row.execution_id and row.status == requests.Status.PENDING:
        lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
    logs.story(tx, row.account_id, row.execution_id, "warning", reason)
    toolcalls.close(tx, row.call_id, Status.WITHDRAWN, reason)
    tx.wake(requests.TOPIC)
