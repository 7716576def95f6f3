"""Escalation: a reminder at half the time, the next groups at three quarters. Each step is one conditional UPDATE."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import notices, requests
from control.approvals.directory import Directory
from control.executions import toolcalls
from control.identity.charter import Gate
from control.tables import approvals, votes
from kit import canonical
from kit.db import Tx

REMIND_AT = 0.5
ESCALATE_AT = 0.75
MOST = 500
"""Open requests looked at in one go, those that end first before the others."""


def climb(tx: Tx, directory: Directory) -> int:
    """Take every step that is due; returns how many."""
    untold = approvals.c.reminded_at.is_(None)
    unasked = approvals.c.escalate_to.is_not(None) | approvals.c.also.is_not(None)
    unasked &= approvals.c.escalated_at.is_(None) | approvals.c.escalated_early.is_not(None)
    waiting = sa.select(approvals).where(approvals.c.status == requests.Status.PENDING, untold | unasked)
    now, steps = tx.now(), 0
    for row in tx.execute(waiting.order_by(approvals.c.expires_at).limit(MOST)).all():
        passed = _passed(row, now)
        if passed >= REMIND_AT and row.reminded_at is None:
            steps += _remind(tx, requests.locked(tx, row.account_id, row.id), directory)
        if passed >= ESCALATE_AT and _further(row):
            steps += escalate(tx, requests.locked(tx, row.account_id, row.id), directory)
    return steps


def _passed(row: Row[Any], now: datetime) -> float:
    """Which part of the time to decide is over."""
    return float((now - row.asked_at) / (row.expires_at - row.asked_at))


def _remind(tx: Tx, row: Row[Any], directory: Directory) -> bool:
    """Tell those again who have not voted."""
    due = (approvals.c.id == row.id) & (approvals.c.status == requests.Status.PENDING)
    if not tx.changed(sa.update(approvals).where(due, approvals.c.reminded_at.is_(None)).values(reminded_at=tx.now())):
        return False
    voted = set(tx.execute(sa.select(votes.c.approver).where(votes.c.approval_id == row.id)).scalars())
    members = [member for member in requests.asked(directory, row) if member.id not in voted]
    names = [member.name for member in members]
    events.append(tx, row.account_id, events.stream_of(row), "approval.reminded", approval=row.id, asked=names)
    notices.queue(tx, row, toolcalls.row(tx, row.call_id), members, topic=notices.REMINDED)
    return True


def escalate(tx: Tx, row: Row[Any], directory: Directory, *, only: Collection[str] | None = None) -> bool:
    """Ask the next group of every gate too, or of the gates of `only` these groups; False when nobody new was. `row` is
    locked."""
    first, left = requests.asked(directory, row), _further(row)
    going = [gate for gate in left if only is None or gate.group in only]
    further = dict.fromkeys(member for gate in going for member in directory.members(gate.escalate or ""))
    members = [member for member in further if member not in first]
    if not going or not _go_on(tx, row, None if going == left else [gate.group for gate in going]):
        return False
    names, groups = [member.name for member in members], ", ".join(gate.escalate or "" for gate in going)
    data = {"approval": row.id, "group": groups, "asked": names}
    events.append(tx, row.account_id, events.stream_of(row), "approval.escalated", **data)
    notices.queue(tx, row, toolcalls.row(tx, row.call_id), members, topic=notices.ESCALATED)
    tx.wake(requests.TOPIC)
    return bool(members)


def _go_on(tx: Tx, row: Row[Any], early: list[str] | None) -> bool:
    """The step itself; `early` are the groups whose gates go on before the others."""
    if early is not None:
        early = [*canonical.parse(row.escalated_early or "[]"), *early]
    due = (approvals.c.id == row.id) & (approvals.c.status == requests.Status.PENDING)
    due &= approvals.c.escalated_at.is_(None) | approvals.c.escalated_early.is_not(None)
    values = {"escalated_at": tx.now(), "escalated_early": canonical.dumps(early) if early is not None else None}
    return tx.changed(sa.update(approvals).where(due).values(values))


def _further(row: Row[Any]) -> list[Gate]:
    """The gates whose next group is asked too when most of the time is over, and was not yet."""
    return [gate for gate in requests.gates(row) if gate.escalate and not requests.went_on(row, gate)]
