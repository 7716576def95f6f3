"""What both approval pages show of one request: its sentence, its arguments beside those of the call before, the run
around it, and how far the people who were asked have come. It reads only.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from control.approvals import confirming, policy, requests
from control.approvals.directory import Approver, Directory
from control.identity import charter as charters
from control.identity.charter import Gate
from control.tables import approvals, executions, sessions, tool_calls
from control.tables import grants as standing
from kit import canonical
from kit.db import Database
from ledger import money, reports
from web import approval_shapes, arguments, costs, grants, reading
from web.parts import Parts

CHIPS = 12
"""Calls of the run that are named; how many there were is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call of the run before this one."""

    tool: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The last call of the same tool that a person can compare with: of this run, else of the flow's last request."""

    args: Any
    at: datetime
    status: str
    here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Which call of the run this is, and what the run used so far. None is unknown, or no limit."""

    number: int
    steps: list[Step]
    cost: costs.Cost
    model_calls: int
    tokens: int
    left_usd: str | None


async def facts(
    given: Parts, account_id: str, asked: approval_shapes.ApprovalDetail, me: Approver | None, clear: int | None = None
) -> dict[str, object]:
    """For somebody who may be an approver; `clear` is the number of a masked argument that is shown this once."""
    now, args, db = given.clock.now(), asked.whole_arguments or {}, given.db
    run = await reading.execution(db, account_id, asked.execution_id, now) if asked.execution_id else None
    before = None if asked.content_deleted_at else await _before(db, account_id, asked)
    kind, phrase = confirming.phrase(asked.tool, args)
    return {
        "asked": asked,
        "sentence": arguments.sentence(asked.summary, args),
        "risk": _risk(asked),
        "rows": arguments.rows(args, before.args if before else None, clear=clear),
        "gone": arguments.gone(args, before.args) if before else [],
        "before": before,
        "editable": arguments.editable(args),
        "changes": arguments.differences(args, asked.whole_approved) if asked.whole_approved else [],
        "rule_digest": confirming.rule_digest(asked.rule),
        "typed": {"kind": kind, "phrase": phrase} if asked.confirm == "typed" else None,
        "run": run,
        "progress": await _progress(db, account_id, asked),
        "open": asked.status == requests.Status.PENDING and asked.expires_at > now,
        "grants": await grants.listed(db, account_id, now, standing.c.approval_id == asked.id),
        **_people(given, asked, me),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One group that must agree: its people with what they said, and how many did."""

    group: str
    quorum: int
    people: list[tuple[str, str | None]]
    agreed: int


def people(directory: Directory, asked: approval_shapes.ApprovalDetail) -> list[Approver]:
    """Everybody who may decide, nobody twice."""
    return list(dict.fromkeys(one for gate in asked.gates for one in _members(directory, asked, gate)))


def _members(directory: Directory, asked: approval_shapes.ApprovalDetail, gate: Gate) -> tuple[Approver, ...]:
    return directory.asked(gate.group, gate.escalate if gate.group in asked.went_on else None)


def _groups(directory: Directory, asked: approval_shapes.ApprovalDetail) -> list[Asked]:
    said = {vote.approver: vote.verdict for vote in asked.votes}
    found = []
    for gate in asked.gates:
        members = _members(directory, asked, gate)
        agreed = sum(said.get(member.id) == "approved" for member in members)
        names = [(member.name, said.get(member.id)) for member in members]
        found.append(Asked(group=gate.group, quorum=gate.quorum, people=names, agreed=agreed))
    return found


def _people(given: Parts, asked: approval_shapes.ApprovalDetail, me: Approver | None) -> dict[str, object]:
    directory = given.desk.directory
    decider = directory.approvers.get(asked.decided_by or "")
    alone = asked.quorum == 1 and len(asked.gates) == 1
    mine = bool(me and asked.four_eyes and requests.is_requester(me, asked.started_by))
    plain = asked.confirm != "typed" and not asked.sign_in
    return {
        "groups": _groups(directory, asked),
        "decider": decider.name if decider else asked.decided_by,
        "approver": me.name if me else "",
        "may_decide": me in people(directory, asked),
        "voted": bool(me and me.id in {vote.approver for vote in asked.votes}),
        "mine": mine,
        "nameless": bool(me and not me.email),
        "alone": alone and not mine,
        "lasting": alone and not mine and plain and me in directory.members(asked.gates[0].group),
    }


def _risk(asked: approval_shapes.ApprovalDetail) -> str:
    """`high` where the flow wants more than a press; `unclear` where the rule itself could not be decided."""
    if asked.confirm == "typed" or asked.sign_in:
        return "high"
    return "unclear" if policy.is_undecided(asked.rule) else "normal"


async def _before(db: Database, account_id: str, asked: approval_shapes.ApprovalDetail) -> Before | None:
    call = tool_calls.c
    same = (call.account_id == account_id) & (call.server == asked.server) & (call.tool == asked.tool)
    same &= call.deleted_at.is_(None)
    columns = (call.args, call.approved_args, call.asked_at, call.status)
    here = sa.select(*columns).where(same, call.session_id == asked.session_id, call.id < asked.call_id)
    rows = await db.read(here.order_by(call.id.desc()).limit(1))
    mine = bool(rows)
    if not rows and asked.flow:
        last = sa.select(*columns).join(approvals, approvals.c.call_id == call.id)
        last = last.join(executions, executions.c.id == approvals.c.execution_id).where(same)
        last = last.where(executions.c.flow_name == asked.flow, approvals.c.id < asked.id)
        rows = await db.read(last.order_by(approvals.c.id.desc()).limit(1))
    if not rows:
        return None
    row = rows[0]
    return Before(args=canonical.parse(row.approved_args or row.args), at=row.asked_at, status=row.status, here=mine)


async def _progress(db: Database, account_id: str, asked: approval_shapes.ApprovalDetail) -> Progress:
    call = tool_calls.c
    mine = (call.account_id == account_id) & (call.session_id == asked.session_id)
    earlier = sa.select(call.tool, call.status).where(mine, call.id < asked.call_id)
    steps = await db.read(earlier.order_by(call.id.desc()).limit(CHIPS))
    if asked.execution_id:
        spend = await reports.of_execution(db, account_id, asked.execution_id)
    else:
        spend = await reports.of_session(db, account_id, asked.session_id)
    charter = await db.read(sa.select(sessions.c.charter).where(sessions.c.id == asked.session_id))
    budget = charters.loads(charter[0].charter).budget_nano
    return Progress(
        number=await reading.count(db, tool_calls, mine, call.id <= asked.call_id),
        steps=[Step(tool=row.tool, status=row.status) for row in reversed(steps)],
        cost=costs.of(spend),
        model_calls=spend.calls,
        tokens=spend.total_input + spend.total_output,
        left_usd=None if budget is None else money.usd(max(0, budget - spend.cost_nano)),
    )
