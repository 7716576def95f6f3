"""The page of one execution, put together from what it did: what it says first, its picture of time, its tables."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control import events
from control.approvals import requests
from control.executions import intake, logs, results
from control.executions.states import Shown
from control.identity.principals import Person, Role
from control.tables import approvals, tool_calls
from control.tables import events as recorded
from kit.errors import Missing, Unavailable
from ledger.tables import entries
from web import approval_reading, artifacts, auth, charts, costs, log, reading, shapes
from web.approval_shapes import Approval
from web.attempts import Open, without_entry
from web.openapi import Operation
from web.paging import Page
from web.parts import parts
from web.render import page
from web.waterfall import Span, Waterfall, waterfall

T = TypeVar("T", shapes.ToolCall, shapes.ModelCall)
FIRST = Page(limit=100)
"""Of each list: a page of more is a megabyte, and is fetched again whenever something happens."""
TAIL = 500
"""Log lines a page is drawn with; log.js fetches what comes after them."""
TRACE = 20
"""The last ones of a run that failed, beside its error."""
SAID = 20_000
"""Characters of a result that stand on top of the page."""


async def execution_page(request: Request, person: Person) -> Response:
    given = parts(request)
    db, account_id, now = given.db, person.account_id, given.clock.now()
    whole = await reading.unveiled(db, account_id, request.path_params["id"], now)
    run = reading.veiled(whole)
    live = request.query_params.get("part") is not None
    lines, away = await _lines(request, person, run.id, TRACE if live else TAIL)
    return page(
        request,
        "execution.html",
        person,
        run=run,
        **await _lists(request, run, account_id, now),
        approvers=given.desk.directory,
        parts_=charts.split(queued=run.queued_ms, active=run.active_ms, waiting=run.waited_ms),
        log=None if live else log.drawn(lines),
        away=away,
        first_error=None if live or away else await logs.first_error(db, account_id, run.id),
        trace=lines[-TRACE:] if run.state in {Shown.FAILED, Shown.TIMEOUT} else [],
        said=await _said(request, person, run),
        prompt=reading.prompt(whole),
        left=await artifacts.shown(request, person),
        may_cancel=person.may(Role.OPERATOR) and not run.final,
        may_rerun=person.may(Role.OPERATOR) and run.final and run.payload_deleted_at is None,
    )


# its lists ------------------------------------------------------------------------------------------------------------


async def _lists(request: Request, run: shapes.ExecutionDetail, account_id: str, now: datetime) -> dict[str, Any]:
    """Its tool calls, requests and model calls, and its picture; of a long run the first of them, whatever the page
    speaks of, and the tool call of `?call=`."""
    db, directory = parts(request).db, parts(request).desk.directory
    calls = await reading.tool_calls_listed(db, account_id, run.id, now, FIRST)
    asked = await approval_reading.listed(db, account_id, FIRST, execution_id=run.id)
    models = await costs.model_calls(db, account_id, run.id, FIRST)
    failed, broken = await _blamed(request, run, account_id)
    unmade, going = await without_entry(db, account_id, run.id)
    wanted = request.query_params.get("call")
    sought = await reading.tool_call(db, account_id, run.id, now, wanted) if wanted else None
    shown, shown_models = _with(calls.items, failed, sought), _with(models.items, broken)
    counts = await _counts(request, account_id, run.id)
    return {
        "calls": shown,
        "approvals": asked.items,
        "models": shown_models,
        "waiting": [] if run.final else await approval_reading.waiting(db, directory, account_id, run.id),
        "failed": failed,
        "broken": broken,
        "unmade": unmade,
        "counts": counts,
        "first": {"tool-calls": len(calls.items), "approvals": len(asked.items), "model-calls": len(models.items)},
        "undrawn": max(0, sum(counts.values()) - len(shown) - len(asked.items) - len(shown_models)),
        "drawn": _drawn(run, shown, asked.items, shown_models, [] if run.final else going, now),
    }


async def _blamed(
    request: Request, run: shapes.ExecutionDetail, account_id: str
) -> tuple[shapes.ToolCall | None, shapes.ModelCall | None]:
    """The tool call and the attempt at a model that a run failed with, wherever they stand in their lists."""
    given = parts(request)
    tool, model = (run.failure.tool, run.failure.model) if run.failure else (None, None)
    failed = broken = None
    if run.state == Shown.FAILED:
        failed = await reading.failed_call(given.db, account_id, run.id, given.clock.now(), tool)
    if model:
        broken = await costs.broken_call(given.db, account_id, run.id)
    return failed, broken


async def _counts(request: Request, account_id: str, run_id: str) -> dict[str, int]:
    """How long the lists are of which the page shows the beginning."""
    db = parts(request).db
    lists = {"tool-calls": tool_calls, "approvals": approvals, "model-calls": entries}
    its = {name: (table.c.account_id == account_id, table.c.execution_id == run_id) for name, table in lists.items()}
    return {name: await reading.count(db, table, *its[name]) for name, table in lists.items()}


def _with(shown: Sequence[T], *more: T | None) -> list[T]:
    """And what the page speaks of or is opened for, where that comes later."""
    found = list(shown)
    for one in more:
        if one is not None and all(other.id != one.id for other in found):
            found.append(one)
    return sorted(found, key=lambda one: one.id)


async def _lines(request: Request, person: Person, execution_id: str, count: int) -> tuple[list[logs.Line], str]:
    """The last lines, and why they can't be read now: the rest of the page can."""
    given = parts(request)
    try:
        return await logs.tail(given.db, person.account_id, execution_id, count, blobs=given.blobs), ""
    except (Missing, Unavailable) as fault:
        return [], fault.message


async def _said(request: Request, person: Person, run: shapes.ExecutionDetail) -> dict[str, str]:
    """The agent's own last word, and the result it wrote, of a run that is over."""
    given = parts(request)
    if not run.final:
        return {"word": "", "result": ""}
    mine = (recorded.c.account_id == person.account_id) & (recorded.c.stream == run.id)
    asked = sa.select(recorded).where(mine, recorded.c.type == events.FINISHED)
    found = await given.db.read(asked.order_by(recorded.c.seq.desc()).limit(1))
    word = str(events.event_of(found[0]).data.get("message") or "") if found else ""
    written = await _result(request, person, run) if run.state == Shown.SUCCEEDED else ""
    return {"word": word, "result": written}


async def _result(request: Request, person: Person, run: shapes.ExecutionDetail) -> str:
    given = parts(request)
    try:
        row = await results.one(given.db, person.account_id, run.id, results.RESULT)
    except Missing:
        return ""
    try:
        content = await given.blobs.get(results.file_of(run.id, row.sha256)) if row.size <= SAID else None
    except Unavailable:  # the list of what is left says so
        content = None
    return (content or b"").decode(errors="replace")


# its picture ----------------------------------------------------------------------------------------------------------


def _drawn(
    run: shapes.ExecutionDetail,
    calls: Sequence[shapes.ToolCall],
    asked: Sequence[Approval],
    models: Sequence[shapes.ModelCall],
    going: Sequence[Open],
    now: datetime,
) -> Waterfall | None:
    """None for a run that never started."""
    if run.started_at is None:
        return None
    setup = Span(
        kind="setup",
        label="Set-up",
        href="#logs",
        begin=run.started_at,
        end=run.agent_started_at or run.ended_at,
        bad=run.cause == "setup_failed",
    )
    spans = [setup, *map(_tool, [call for call in calls if call.status != "waiting"])]
    spans += [_wait(one, run) for one in asked]
    spans += [_model(one) for one in models if one.corrects is None]
    known = {one.id for one in models}
    spans += [
        Span(kind="model", label=f"Model {one.alias}", href="#models", begin=one.at, end=None)
        for one in going
        if one.id not in known
    ]
    within = [_within(span, run.started_at, run.ended_at) for span in spans]
    return waterfall(within, run.started_at, run.ended_at or now)


def _within(span: Span, begin: datetime, end: datetime | None) -> Span:
    """What was left open by a run that is over ended with it."""
    its: dict[str, Any] = {name: getattr(span, name) for name in ("kind", "label", "href", "bad")}
    begun, over = max(begin, span.begin), min(span.end or end, end) if end else span.end
    return Span(**its, begin=begun, end=None if over is None else max(begun, over))


def _tool(call: shapes.ToolCall) -> Span:
    bad = call.status in {"failed", "denied", "declined", "expired", "unknown"}
    begin = call.asked_at + timedelta(milliseconds=call.waited_ms)
    return Span(kind="tool", label=call.tool, href=f"#{call.id}", begin=begin, end=call.settled_at, bad=bad)


def _wait(asked: Approval, run: shapes.ExecutionDetail) -> Span:
    ended = asked.decided_at or (None if asked.status == requests.Status.PENDING else asked.expires_at)
    return Span(
        kind="approval",
        label=f"Approval of {asked.tool}",
        href=f"#row-{asked.id}",
        begin=asked.asked_at,
        end=ended or run.ended_at,
        bad=asked.status in {"declined", "expired"},
    )


def _model(call: shapes.ModelCall) -> Span:
    end, bad = call.at + timedelta(milliseconds=call.duration_ms or 0), call.status == "failed"
    return Span(kind="model", label=f"Model {call.alias}", href=f"#{call.id}", begin=call.at, end=end, bad=bad)


# what is pressed on it ------------------------------------------------------------------------------------------------


async def rerun_pressed(request: Request, person: Person) -> Response:
    """On to the new execution, from the same event."""
    id_, by = request.path_params["id"], person.email
    started = await parts(request).db.write(lambda tx: intake.rerun(tx, person.account_id, id_, by=by))
    return RedirectResponse(f"/executions/{started.execution_id}", 303)


routes = [
    Route("/executions/{id}", auth.shown(execution_page), methods=["GET"]),
    Route("/executions/{id}/rerun", auth.shown(rerun_pressed, Role.OPERATOR), methods=["POST"]),
]
operations: list[Operation] = []
