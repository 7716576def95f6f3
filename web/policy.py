"""Rules, tried out: which one decides about a call, and what a changed flow file would have said about past calls."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.routing import Route

from control.approvals import changes as changed
from control.approvals import replay, rules
from control.approvals.policy import is_undecided
from control.approvals.replay import Past, Ruling
from control.executions.toolcalls import Status
from control.flows import catalog, source
from control.flows.review import account, review
from control.flows.source import Syntax
from control.identity.principals import Person
from control.tables import approvals, tool_calls
from kit import canonical
from kit.db import Database
from kit.masking import masked
from web import inputs
from web.openapi import Operation
from web.parts import parts

PAGE = 500
"""What one read returns at most; a replay reads several."""


class Question(inputs.Body):
    """A call that nobody makes. `execution` is what the run spent and called so far: `spend_usd`, `model_calls`,
    `tool_calls`."""

    flow: str
    server: str
    tool: str
    args: dict[str, Any] = Field(default_factory=dict)
    execution: dict[str, Any] = Field(default_factory=dict)


class RuleEntry(BaseModel):
    number: int
    server: str
    tool: str
    deny: str | None
    deny_says: str | None
    group: str | None
    when: str | None
    when_says: str | None
    values: dict[str, Any]


class Explanation(BaseModel):
    """`verdict` is allow, ask or deny; `entries` are those of the flow that speak of this tool, by number."""

    verdict: str
    rule: str
    group: str | None
    quorum: int | None
    timeout_s: int | None
    four_eyes: bool
    escalate: str | None
    entries: list[RuleEntry]


class FlowFile(inputs.Body):
    """A flow file that is not saved, and how many of the newest calls it is tried on."""

    source: str = Field(max_length=1_000_000)
    syntax: Syntax = "yaml"
    limit: int = Field(default=1000, ge=1, le=10_000)


class Ruled(BaseModel):
    verdict: str
    rule: str
    group: str | None
    quorum: int | None


class ChangedVerdict(BaseModel):
    call_id: str
    execution_id: str | None
    server: str
    tool: str
    arguments: Any
    asked_at: datetime
    before: Ruled
    after: Ruled


class Replayed(BaseModel):
    """`undecided` counts calls that a rule could not decide, for want of what was not looked at back then."""

    flow: str
    calls: int
    undecided: int
    changes: list[ChangedVerdict]


async def explain_policy(request: Request, person: Person) -> Explanation:
    given, asked = parts(request), await inputs.body(request, Question)
    canonical.check(asked.args)
    _, flow = await catalog.read(given.db, person.account_id, asked.flow)
    so_far = {"id": "", "spend_usd": 0.0, "model_calls": 0, "tool_calls": 0}
    facts = {
        "args": asked.args,
        "flow": asked.flow,
        "execution": so_far | asked.execution,
        "principal": {"name": f"flow:{asked.flow}", "session": ""},
        "now": given.clock.now(),
    }
    found = replay.explain(flow.charter().tools, asked.server, asked.tool, facts, rules.evaluate)
    gate = found.gate
    return Explanation(
        **_ruled(found.ruling).model_dump(),
        timeout_s=gate.timeout_s if gate else None,
        four_eyes=bool(gate and gate.four_eyes),
        escalate=gate.escalate if gate else None,
        entries=[RuleEntry.model_validate(entry, from_attributes=True) for entry in found.entries],
    )


async def replay_policy(request: Request, person: Person) -> Replayed:
    given, asked = parts(request), await inputs.body(request, FlowFile)
    written = source.read(asked.source, asked.syntax)
    review(written, given.known, await account(given.db, person.account_id, written.flow.name))
    flow = written.flow
    rows = {row.id: row for row in await _calls(given.db, person.account_id, flow.name, asked.limit)}
    past = [_past(row) for row in rows.values()]
    found = replay.replay(flow.charter().tools, past, rules.evaluate)
    return Replayed(
        flow=flow.name,
        calls=len(past),
        undecided=sum(is_undecided(change.now.rule) for change in found),
        changes=[_changed(rows[change.past.id], change) for change in found],
    )


def _changed(row: Row[Any], change: replay.Change) -> ChangedVerdict:
    return ChangedVerdict(
        call_id=row.id,
        execution_id=row.execution_id,
        server=row.server,
        tool=row.tool,
        arguments=masked(dict(change.past.facts["args"])),
        asked_at=row.asked_at,
        before=_ruled(change.past.ruling),
        after=_ruled(change.now),
    )


def _ruled(ruling: Ruling) -> Ruled:
    return Ruled.model_validate(ruling, from_attributes=True)


async def _calls(db: Database, account_id: str, flow: str, most: int) -> list[Row[Any]]:
    """The newest calls whose rules were this flow's, with whom they asked."""
    whom = sa.func.max(approvals.c.approver_group).label("asked_group")
    also = sa.func.max(approvals.c.also).label("asked_also")
    asked = sa.select(tool_calls, whom, also, sa.func.max(approvals.c.quorum).label("asked_quorum"))
    asked = asked.outerjoin(approvals, approvals.c.call_id == tool_calls.c.id).group_by(tool_calls.c.id)
    mine = (tool_calls.c.account_id == account_id) & tool_calls.c.context.contains(f'"flow": "{flow}"')
    found: list[Row[Any]] = []
    while len(found) < most:
        older = tool_calls.c.id < found[-1].id if found else sa.true()
        rows = await db.read(
            asked.where(mine, older).order_by(tool_calls.c.id.desc()).limit(min(PAGE, most - len(found)))
        )
        found += [row for row in rows if changed.facts(row).get("flow") == flow]
        if len(rows) < PAGE:
            return found
    return found


def _past(row: Row[Any]) -> Past:
    """What the rules said of a call then. Where nobody was asked because the record had the answer already, a decline
    or a yes that stands, they said to ask; whom is not kept then."""
    verdict = "allow"
    if row.asked_group or row.grant_id or row.status == Status.DECLINED:
        verdict = "ask"
    elif row.status == Status.DENIED:  # also requests beyond the bounds: those were to be asked
        verdict = "deny" if row.rule.startswith(("deny:", "no entry")) else "ask"
    also = [gate["group"] for gate in canonical.parse(row.asked_also or "[]")]
    group = ", ".join([row.asked_group, *also]) if row.asked_group else None
    ruling = Ruling(verdict=verdict, rule=row.rule, group=group, quorum=row.asked_quorum)
    return Past(id=row.id, server=row.server, tool=row.tool, facts=changed.facts(row), ruling=ruling)


operations = [
    Operation(
        method="POST",
        path="/policy/explain",
        summary="Which rule of a flow decides about a call, and why; nothing is called",
        run=explain_policy,
        takes=Question,
        answers=Explanation,
        refuses=(404,),
    ),
    Operation(
        method="POST",
        path="/policy/replay",
        summary="What a flow file would have said about past calls; nothing is saved",
        run=replay_policy,
        takes=FlowFile,
        answers=Replayed,
    ),
]
routes: list[Route] = []
