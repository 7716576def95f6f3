"""Calls of all executions and enrolled agents, newest first: what the dashboard's numbers are made of. Of one execution
they are on its own page."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.executions import toolcalls
from control.identity.principals import Person
from control.tables import executions, tool_calls
from kit import ids
from kit.errors import Invalid
from kit.masking import masked
from ledger import money
from ledger.book import Status
from ledger.tables import entries
from web import auth, inputs, paging, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page

DAY = timedelta(days=1)
QUERY = ("since", "status", *paging.QUERY)
TOOL_STATES, MODEL_STATES = (sorted(status.value for status in words) for words in (toolcalls.Status, Status))


class ToolCallLine(BaseModel):
    """Without its arguments, which its execution has."""

    id: str
    execution_id: str | None
    session_id: str
    flow: str | None
    server: str
    tool: str
    status: str
    error: str | None
    asked_at: datetime
    settled_at: datetime | None


class ModelCallLine(BaseModel):
    """One attempt at a model; `attempt` 0 is a call's first."""

    id: str
    execution_id: str | None
    session_id: str
    flow: str | None
    at: datetime
    alias: str
    provider: str
    model: str
    status: str
    attempt: int
    error: str | None
    cost_usd: str | None
    duration_ms: int | None


async def list_tool_calls(request: Request, person: Person) -> shapes.Listed[ToolCallLine]:
    """Since a day ago, or `?since=`; `?status=failed` narrows it."""
    its, since, status = tool_calls.c, _since(request), _status(request, TOOL_STATES)
    names = ToolCallLine.model_fields.keys() - {"flow"}
    asked = sa.select(*(its[name] for name in names), executions.c.flow_name.label("flow"))
    asked = asked.outerjoin(executions, executions.c.id == its.execution_id)
    asked = asked.where(its.account_id == person.account_id, its.id > ids.earliest("tcl", since), its.asked_at > since)
    asked = asked.where(its.status == status) if status else asked
    rows, further = await paging.read(parts(request).db, asked, paging.wanted(request), its.id, newest_first=True)
    return shapes.Listed(
        items=[ToolCallLine(**{**row._mapping, "error": masked(row.error)}) for row in rows], next=further
    )


async def list_model_calls(request: Request, person: Person) -> shapes.Listed[ModelCallLine]:
    """The same of models, each attempt for itself; what was billed anew later is in its execution."""
    its, since, status = entries.c, _since(request), _status(request, MODEL_STATES)
    asked = sa.select(entries).where(its.account_id == person.account_id, its.at > since, its.corrects.is_(None))
    asked = asked.where(its.day >= since.astimezone(UTC).date().isoformat())
    asked = asked.where(its.status == status) if status else asked
    rows, further = await paging.read(parts(request).db, asked, paging.wanted(request), its.id, newest_first=True)
    same = ModelCallLine.model_fields.keys() - {"error", "cost_usd", "duration_ms"}
    items = [
        ModelCallLine(
            **{name: getattr(row, name) for name in same},
            error=row.error_class,
            cost_usd=None if row.cost_nano is None else money.usd(row.cost_nano),
            duration_ms=row.total_ms,
        )
        for row in rows
    ]
    return shapes.Listed(items=items, next=further)


def _since(request: Request) -> datetime:
    now = parts(request).clock.now()
    return inputs.since(request, now) or now - DAY


def _status(request: Request, words: list[str]) -> str:
    wanted = request.query_params.get("status", "")
    if wanted and wanted not in words:
        raise Invalid("query_invalid", f"status={wanted[:40]!r} is not known.", f"It is one of {', '.join(words)}.")
    return wanted


async def tool_calls_page(request: Request, person: Person) -> Response:
    return _listed(request, person, "tool", await list_tool_calls(request, person), TOOL_STATES)


async def model_calls_page(request: Request, person: Person) -> Response:
    return _listed(request, person, "model", await list_model_calls(request, person), MODEL_STATES)


def _listed(request: Request, person: Person, kind: str, listed: BaseModel, states: list[str]) -> Response:
    query = {name: value for name, value in request.query_params.items() if name in ("since", "status") and value}
    return page(request, "calls.html", person, kind=kind, listed=listed, states=states, query=query)


routes = [
    Route("/tool-calls", auth.shown(tool_calls_page), methods=["GET"]),
    Route("/model-calls", auth.shown(model_calls_page), methods=["GET"]),
]
operations = [
    Operation(
        method="GET",
        path="/tool-calls",
        summary="Tool calls of everybody, newest first; of the last day",
        run=list_tool_calls,
        answers=shapes.Listed[ToolCallLine],
        query=QUERY,
    ),
    Operation(
        method="GET",
        path="/model-calls",
        summary="Attempts at models of everybody, newest first; of the last day",
        run=list_model_calls,
        answers=shapes.Listed[ModelCallLine],
        query=QUERY,
    ),
]
