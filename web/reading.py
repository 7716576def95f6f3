"""The questions behind pages and REST: rows in, shapes out. It never writes; every question names its account."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Row

from control import events
from control.executions import pending, states
from control.executions.states import Shown, Stored
from control.executions.waiting import Waiting
from control.flows import flow as flows
from control.flows import template
from control.tables import approvals, executions, flow_versions, tool_calls
from control.tables import events as recorded
from kit import masking
from kit.db import Database
from kit.errors import Invalid, Missing
from kit.ids import earliest
from kit.masking import MASK, is_name, masked
from web import costs, paging, shapes
from web.paging import Page

YEAR_0 = 1970
"""Before it, ids have no times."""
SKEW = timedelta(minutes=5)
"""By how much an id's time, which is its process's, may be before the row's, which is the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which executions a list shows; everything of it is in the page's address."""

    state: str = ""
    flow: str = ""
    trigger: str = ""
    since: datetime | None = None
    page: Page = field(default_factory=Page)


async def executions_listed(
    db: Database, account_id: str, wanted: Wanted, now: datetime
) -> shapes.Listed[shapes.Execution]:
    """Newest first."""
    asked = sa.select(executions).where(executions.c.account_id == account_id, *_filters(wanted))
    rows, further = await paging.read(db, asked, wanted.page, executions.c.id, newest_first=True)
    items = [shapes.Execution(**told) for told in await _executions(db, account_id, rows, now)]
    return shapes.Listed(items=items, next=further)


async def failures(db: Database, account_id: str, most: int, now: datetime) -> list[shapes.Execution]:
    """Those that ended badly last, whenever they were made; by an index of each state's own."""
    each, ended = [], (executions.c.ended_at.desc(), executions.c.id.desc())
    for state in (Stored.FAILED, Stored.TIMEOUT):
        bad = (executions.c.state == state) & executions.c.cause.is_not(None)  # as their index has it
        its = sa.select(executions.c.id).where(executions.c.account_id == account_id, bad)
        each.append(its.order_by(*ended).limit(most).subquery().select())
    asked = sa.select(executions).where(executions.c.id.in_(sa.union_all(*each)))
    rows = await db.read(asked.order_by(*ended).limit(most))
    return [shapes.Execution(**told) for told in await _executions(db, account_id, rows, now)]


def _filters(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found = []
    if wanted.state:
        stored = Stored.RUNNING if wanted.state == Shown.WAITING_FOR_APPROVAL else wanted.state
        found.append(executions.c.state == stored)
        if stored == Stored.RUNNING:
            waits = executions.c.open_approvals > 0
            found.append(waits if wanted.state == Shown.WAITING_FOR_APPROVAL else ~waits)
        elif stored != Stored.PENDING:
            found.append(executions.c.ended_at.is_not(None))  # so it is looked up among those that are over
    if wanted.flow:
        found.append(executions.c.flow_name == wanted.flow)
    if wanted.trigger:
        found.append(executions.c.trigger_type == wanted.trigger)
    if wanted.since:
        if wanted.since.year > YEAR_0:
            found.append(executions.c.id >= earliest("exe", wanted.since - SKEW))  # ids sort as the list does
        found.append(executions.c.created_at >= wanted.since)
    return found


async def execution(db: Database, account_id: str, execution_id: str, now: datetime) -> shapes.ExecutionDetail:
    """With secrets masked, as everybody sees it."""
    return veiled(await unveiled(db, account_id, execution_id, now))


def veiled(run: shapes.ExecutionDetail) -> shapes.ExecutionDetail:
    shown = {"trigger_event": masked(run.trigger_event), "prompt": "".join(part.text for part in prompt(run))}
    return run.model_copy(update=shown)


def prompt(run: shapes.ExecutionDetail) -> list[template.Part]:
    """The rendered prompt of one that is not veiled in pieces, their secrets masked by the names of their slots and by
    their look; in one piece where its template does not lead to it any more."""
    try:
        pieces = list(template.parts(run.template, {"trigger_event": run.trigger_event}))
    except Invalid:
        pieces = []
    if "".join(piece.text for piece in pieces) != run.prompt:
        pieces = [template.Part(text=run.prompt)]
    return [replace(piece, text=_veiled(piece)) for piece in pieces]


def _veiled(piece: template.Part) -> str:
    named = piece.slot is not None and not piece.missing and any(is_name(str(key)) for key in piece.slot.path)
    return MASK if named else masking.text(piece.text)


async def unveiled(db: Database, account_id: str, execution_id: str, now: datetime) -> shapes.ExecutionDetail:
    version = (flow_versions.c.flow_id == executions.c.flow_id) & (flow_versions.c.version == executions.c.flow_version)
    mine = (executions.c.account_id == account_id) & (executions.c.id == execution_id)
    rows = await db.read(sa.select(executions, flow_versions.c.body).outerjoin(flow_versions, version).where(mine))
    if not rows:
        raise Missing(
            "execution_unknown",
            f"There is no execution {execution_id[:60]}.",
            "`preloop executions list` and /executions have them.",
        )
    row, flow = rows[0], flows.loads(rows[0].body) if rows[0].body else None
    [told] = await _executions(db, account_id, [row], now)
    return shapes.ExecutionDetail(
        **told,
        failure=await _failure(db, row),
        runtime=flow.agent.runtime if flow else "",
        model=flow.agent.model if flow else "",
        engine=row.engine,
        tools=tools(flow) if flow else [],
        gateway=flow.agent.gateway if flow else True,
        egress=flow.egress if flow else (),
        git=flow.git if flow else (),
        trigger_event=json.loads(row.trigger_event),
        template=flow.prompt if flow else "",
        prompt=row.prompt,
        unresolved=json.loads(row.unresolved),
        **{name: getattr(row, name) for name in shapes.Forgotten.model_fields},
    )


async def _failure(db: Database, row: Row[Any]) -> shapes.Failure | None:
    """What the record says of a bad end beside its cause; an end that a person or the clock made says nothing."""
    if row.cause is None:
        return None
    its = (recorded.c.account_id == row.account_id) & (recorded.c.stream == row.id)
    found = await db.read(sa.select(recorded).where(its, recorded.c.type == events.DIAGNOSED))
    if not found:
        return None
    data = events.event_of(found[0]).data
    return shapes.Failure(**{name: data.get(name) for name in shapes.Failure.model_fields})


def tools(flow: flows.Flow) -> list[shapes.Tool]:
    return [
        shapes.Tool(
            server=tool.server,
            tool=tool.tool,
            approval_group=tool.approval.group if tool.approval else None,
            approval_when=tool.approval.when if tool.approval else None,
            justification=tool.justification,
            deny=tool.deny,
        )
        for tool in flow.tools
    ]


async def _executions(db: Database, account_id: str, rows: Sequence[Row[Any]], now: datetime) -> list[dict[str, Any]]:
    paid = await costs.of_executions(db, account_id, [row.id for row in rows])
    waits = await pending.reasons(db, account_id, rows, now)
    return [_execution(row, now, paid.get(row.id, costs.NOTHING), waits.get(row.id)) for row in rows]


def _execution(row: Row[Any], now: datetime, cost: costs.Cost, why: Waiting | None) -> dict[str, Any]:
    end = row.ended_at or now
    waiting = _ms(end - row.waiting_since) if row.waiting_since else 0
    begun = row.claimed_at or end
    wall = _ms(end - begun)
    waited = min(row.waited_ms + waiting, wall)
    derived = {"url", "flow", "state", "waiting_for", "started_at", "duration_ms", "queued_ms", "active_ms", "cost_usd"}
    derived |= {"waited_ms", "unpriced_calls", "input_tokens", "output_tokens", "metered", "message"}
    return same(row, shapes.Execution, without=derived) | {
        "message": masked(row.message),
        "url": f"/executions/{row.id}",
        "flow": row.flow_name,
        "state": states.shown(row.state, row.open_approvals),
        "waiting_for": asdict(why) if why else None,
        "started_at": row.claimed_at,
        "duration_ms": wall if row.claimed_at else None,
        "queued_ms": _ms(begun - row.created_at),
        "active_ms": wall - waited,
        "waited_ms": waited,
        "cost_usd": None if row.unmetered_at else cost.usd,
        "unpriced_calls": cost.unpriced,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "metered": row.unmetered_at is None,
    }


def _ms(span: timedelta) -> int:
    return max(0, int(span.total_seconds() * 1000))


async def tool_calls_listed(
    db: Database, account_id: str, execution_id: str, now: datetime, page: Page
) -> shapes.Listed[shapes.ToolCall]:
    """In the order of asking, each with its latest approval."""
    rows, further = await paging.read(db, _calls(account_id, execution_id), page, tool_calls.c.id)
    return shapes.Listed(items=await _tool_calls(db, rows, now), next=further)


async def tool_call(
    db: Database, account_id: str, execution_id: str, now: datetime, call_id: str
) -> shapes.ToolCall | None:
    rows = await db.read(_calls(account_id, execution_id).where(tool_calls.c.id == call_id))
    return next(iter(await _tool_calls(db, rows, now)), None)


async def failed_call(
    db: Database, account_id: str, execution_id: str, now: datetime, name: str | None
) -> shapes.ToolCall | None:
    """What a run failed with: the last bad call of the tool that its verdict names, else the last that failed."""
    bad = ("failed", "unknown", "declined", "expired") if name else ("failed", "unknown")
    asked = _calls(account_id, execution_id).where(tool_calls.c.status.in_(bad))
    if name:
        asked = asked.where(tool_calls.c.name == name)
    rows = await db.read(asked.order_by(tool_calls.c.id.desc()).limit(1))
    return next(iter(await _tool_calls(db, rows, now)), None)


def _calls(account_id: str, execution_id: str) -> sa.Select[Any]:
    latest = sa.select(tool_calls, sa.func.max(approvals.c.id).label("approval_id"))
    joined = latest.outerjoin(approvals, approvals.c.call_id == tool_calls.c.id).group_by(tool_calls.c.id)
    return joined.where(tool_calls.c.account_id == account_id, tool_calls.c.execution_id == execution_id)


async def _tool_calls(db: Database, rows: Sequence[Row[Any]], now: datetime) -> list[shapes.ToolCall]:
    theirs = approvals.c.id.in_([row.approval_id for row in rows])
    asks = await db.read(sa.select(approvals.c.id, approvals.c.asked_at, approvals.c.decided_at).where(theirs))
    waits = {ask.id: _ms((ask.decided_at or now) - ask.asked_at) for ask in asks}
    return [_tool_call(row, waits.get(row.approval_id, 0), now) for row in rows]


def _tool_call(row: Row[Any], waited_ms: int, now: datetime) -> shapes.ToolCall:
    return shapes.ToolCall(
        **same(row, shapes.ToolCall, without=_CONTENT | {"content_deleted_at", "waited_ms", "duration_ms"}),
        error=masked(row.error),
        arguments=masked(opened(row.args)),
        approved_arguments=masked(opened(row.approved_args)),
        result=masked(opened(row.result)),
        content_deleted_at=row.deleted_at,
        waited_ms=waited_ms,
        duration_ms=max(0, _ms((row.settled_at or now) - row.asked_at) - waited_ms),
    )


_CONTENT = {"arguments", "approved_arguments", "result", "error"}


def opened(text: str | None) -> Any:  # noqa: ANN401 - a JSON value
    """None where there is nothing, or nothing any more."""
    return json.loads(text) if text else None


def same(row: Row[Any], shape: type[BaseModel], *, without: set[str]) -> dict[str, Any]:
    """The columns that a shape takes as they are."""
    return {name: getattr(row, name) for name in shape.model_fields.keys() - without}


async def count(db: Database, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    rows = await db.read(sa.select(sa.func.count()).select_from(table).where(*conditions))
    return int(rows[0][0])
