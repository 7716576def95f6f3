"""The questions about approval requests: rows in, shapes out, as in `reading`."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.approvals import requests
from control.approvals.directory import Directory
from control.executions import toolcalls
from control.identity.charter import Gate
from control.tables import approvals, executions, sessions, tool_calls, votes
from kit.db import Database
from kit.errors import Missing
from kit.masking import masked
from web import approval_shapes, paging, reading, shapes
from web.paging import Page


async def listed(
    db: Database, account_id: str, page: Page, *, execution_id: str | None = None, pending: bool = False
) -> shapes.Listed[approval_shapes.Approval]:
    """Of one execution in order; or all of the account, newest first; or the open ones, oldest first."""
    asked = of_account(account_id)
    if execution_id is not None:
        asked = asked.where(approvals.c.execution_id == execution_id)
    if pending:
        asked = asked.where(approvals.c.status == requests.Status.PENDING)
    oldest_first = pending or execution_id is not None
    rows, further = await paging.read(db, asked, page, approvals.c.id, newest_first=not oldest_first)
    return shapes.Listed(items=[shaped(row) for row in rows], next=further)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A gate that is not passed yet: who of its people has not said yes, and how many of them must."""

    group: str
    people: list[str]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open request of a run, and what it still waits for."""

    asked: approval_shapes.Approval
    lacking: list[Lacking]


async def waiting(db: Database, directory: Directory, account_id: str, execution_id: str) -> list[Waiting]:
    """The open requests of a run, in order."""
    open_ = (approvals.c.execution_id == execution_id) & (approvals.c.status == requests.Status.PENDING)
    rows = await db.read(of_account(account_id).where(open_).order_by(approvals.c.id))
    its = votes.c.approval_id.in_([row.id for row in rows]) & (votes.c.verdict == "approved")
    said = await db.read(sa.select(votes.c.approval_id, votes.c.approver).where(its)) if rows else []
    found = []
    for row in rows:
        yes = {vote.approver for vote in said if vote.approval_id == row.id}
        gates = [_lacking(directory, row, gate, yes) for gate in requests.lacking(directory, row, yes)]
        found.append(Waiting(asked=shaped(row), lacking=gates))
    return found


def _lacking(directory: Directory, row: Row[Any], gate: Gate, yes: set[str]) -> Lacking:
    people = requests.members(directory, row, gate)
    silent = [one.name for one in people if one.id not in yes]
    agreed = len(people) - len(silent)
    return Lacking(group=gate.group, people=silent, more=max(1, gate.quorum - agreed))


async def detail(db: Database, account_id: str, approval_id: str) -> approval_shapes.ApprovalDetail:
    rows = await db.read(of_account(account_id).where(approvals.c.id == approval_id))
    if not rows:
        raise Missing(
            "approval_unknown",
            f"There is no approval {approval_id[:60]}.",
            "`preloop approvals list --all` and /approvals have them.",
        )
    row = rows[0]
    said = await db.read(sa.select(votes).where(votes.c.approval_id == approval_id).order_by(votes.c.at))
    receipt = toolcalls.receipt((await toolcalls.look(db, row.call_id))._asdict())
    return approval_shapes.ApprovalDetail(
        **shaped(row).model_dump(),
        arguments=masked(reading.opened(row.args)),
        whole_arguments=reading.opened(row.args),
        approved_arguments=masked(reading.opened(row.approved_args)),
        whole_approved=reading.opened(row.approved_args),
        content_deleted_at=row.content_deleted_at,
        started_by=row.started_by,
        four_eyes=row.four_eyes,
        gates=list(requests.gates(row)),
        escalate_to=row.escalate_to,
        escalated_at=row.escalated_at,
        went_on=[gate.group for gate in requests.gates(row) if requests.went_on(row, gate)],
        receipt=approval_shapes.Receipt(**receipt) if receipt else None,
        confirm=row.confirm,
        sign_in=row.sign_in,
        summary=row.summary,
        digest=row.digest,
        definition_digest=row.definition_digest,
        justification=row.justification,
        call_status=row.call_status,
        result=masked(reading.opened(row.result)),
        error=masked(row.error),
        votes=[approval_shapes.Vote(**reading.same(vote, approval_shapes.Vote, without=set())) for vote in said],
    )


def of_account(account_id: str) -> sa.Select[Any]:
    call = tool_calls.c
    columns = (call.server, call.tool, call.args, call.digest, call.justification, call.result, call.error)
    more = (
        call.approved_args,
        call.definition_digest,
        call.status.label("call_status"),
        call.deleted_at.label("content_deleted_at"),
        approvals.c.requester.label("started_by"),
    )
    return (
        sa.select(approvals, *columns, *more, sessions.c.principal, executions.c.flow_name)
        .join(tool_calls, tool_calls.c.id == approvals.c.call_id)
        .join(sessions, sessions.c.id == approvals.c.session_id)
        .outerjoin(executions, executions.c.id == approvals.c.execution_id)
        .where(approvals.c.account_id == account_id)
    )


def shaped(row: Row[Any]) -> approval_shapes.Approval:
    return approval_shapes.Approval(
        **reading.same(row, approval_shapes.Approval, without={"url", "flow", "requester"}),
        url=f"/approvals/{row.id}",
        flow=row.flow_name,
        requester=row.principal,
    )
