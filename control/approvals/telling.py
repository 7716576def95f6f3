"""What became of a request's notices: whom one reached, whom one still may, and when nobody of a group can be reached.

While nobody of a group was reached, a channel gets little time: a few quick attempts where nobody answers, part of the
time that is left where somebody says later. Once somebody knows, further channels are tried for minutes.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import outbox
from control.approvals import endings, ladder, notices, requests
from control.approvals.directory import Directory
from control.approvals.notices import Failure
from control.executions import logs
from control.executions.lifecycle import Lifecycle
from control.tables import approvals
from control.tables import outbox as queued
from kit.db import Tx

QUICK = 3
"""Attempts at an address where nobody answers, as long as nobody else was reached: about 3 seconds."""
PATIENCE = 0.25
"""The part of the time to decide that goes by with attempts, as long as nobody else was reached."""
TOLD: Mapping[str, str] = MappingProxyType(
    {
        notices.REQUESTED: "Approval request sent to",
        notices.REMINDED: "Reminder sent to",
        notices.ESCALATED: "Approval request sent to",
    }
)


def noted(tx: Tx, sent: Row[Any], failure: Failure | None, directory: Directory, lifecycle_: Lifecycle) -> None:
    """How one attempt of a notice went, for the record and the run's log. When none of a request's can reach a group
    that it needs, the next group is asked at once; without one that is the end."""
    known = (approvals.c.id == outbox.payload(sent)["approval_id"]) & (approvals.c.account_id == sent.account_id)
    found = tx.one(sa.select(approvals.c.id).where(known))
    row = requests.locked(tx, sent.account_id, found.id) if found else None
    if failure and row is not None:
        failure = replace(failure, final=_last(tx, sent, failure, row, directory))
    if row is not None:
        _tell(tx, sent, failure, row, directory)
    failed = notices.outcome(tx, sent, failure)
    if not failed or row is None or row.status != requests.Status.PENDING:
        return
    unheard = _unheard(tx, row, directory)
    if unheard and ladder.escalate(tx, row, directory, only=unheard):
        row = requests.locked(tx, sent.account_id, row.id)
    if _unheard(tx, row, directory):
        endings.unheard(tx, lifecycle_, row)


def in_vain(tx: Tx, row: Row[Any], directory: Directory) -> bool:
    """Is there a group that somebody tried to tell, and nobody of it was?"""
    reached, tried = set(), set()
    for notice in _notices(tx, row):
        if notice.attempts:
            tried.add(notice.target)
        if notice.status == "sent":
            reached.add(notice.target)
    return any(group & tried and not group & reached for group in _groups(row, directory))


def _last(tx: Tx, sent: Row[Any], failure: Failure, row: Row[Any], directory: Directory) -> bool:
    """Is there no further attempt after this one?"""
    if failure.final or sent.attempts >= outbox.ATTEMPTS:
        return True
    reached = {notice.target for notice in _notices(tx, row) if notice.status == "sent"}
    if all(group & reached for group in _groups(row, directory)):
        return False
    left: timedelta = row.expires_at - sent.created_at
    late = tx.now() + outbox.pause(sent.attempts) > sent.created_at + PATIENCE * left
    return late or (failure.absent and sent.attempts >= QUICK)


def _unheard(tx: Tx, row: Row[Any], directory: Directory) -> list[str]:
    """The groups of gates that nobody of was told, or may still be."""
    told = {notice.target for notice in _notices(tx, row) if notice.status != "failed"}
    heard = zip(requests.gates(row), _groups(row, directory), strict=True)
    return [gate.group for gate, group in heard if not group & told]


def _groups(row: Row[Any], directory: Directory) -> list[set[str]]:
    """The ids of those whose yes counts, gate by gate."""
    return [{member.id for member in requests.members(directory, row, gate)} for gate in requests.gates(row)]


def _notices(tx: Tx, row: Row[Any]) -> list[Row[Any]]:
    """Every notice of a request, whatever became of it."""
    its = (queued.c.account_id == row.account_id) & queued.c.payload.contains(f'"approval_id":"{row.id}"')
    return list(tx.execute(sa.select(queued).where(its)))


def _tell(tx: Tx, sent: Row[Any], failure: Failure | None, row: Row[Any], directory: Directory) -> None:
    """The log says who was told, once that is true, and each attempt that failed while somebody may decide."""
    approver = directory.approvers.get(sent.target)
    name = approver.name if approver else sent.target
    if failure and row.status == requests.Status.PENDING:
        then = "nothing further is tried" if failure.final else "trying again"
        what = f"Notice to {name} over {sent.channel} failed, attempt {sent.attempts}, {then}: {failure.reason[:500]}"
        logs.story(tx, row.account_id, row.execution_id, "warning", what)
    elif not failure and not any(other.status == "sent" and _same(other, sent) for other in _notices(tx, row)):
        logs.story(tx, row.account_id, row.execution_id, "info", f"{TOLD[sent.topic]}: {name}")


def _same(one: Row[Any], other: Row[Any]) -> bool:
    return bool(one.target == other.target and one.topic == other.topic)
