"""Executions: the list, what happened in one as JSON and as files to keep, Cancel. The page of one is in `run`."""

import json
from typing import get_args

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control import events
from control.executions import intake, lifecycle, logs
from control.executions.states import Shown
from control.flows.triggers import Trigger
from control.identity.principals import Person, Role
from control.tables import flows
from kit.errors import Invalid, Missing
from web import approval_reading, approval_shapes, artifacts, auth, costs, inputs, log, paging, reading, shapes
from web.format import STATES, look, stamp
from web.openapi import Operation
from web.parts import parts
from web.render import page


def _wanted(request: Request) -> reading.Wanted:
    query = request.query_params
    state = query.get("state", "").upper()
    if state and state not in Shown.__members__:
        raise Invalid("query_invalid", f"{state[:40]!r} is no state.", f"There are {', '.join(Shown.__members__)}.")
    return reading.Wanted(
        state=state,
        flow=query.get("flow", ""),
        trigger=query.get("trigger", ""),
        since=inputs.since(request, parts(request).clock.now()),
        page=paging.wanted(request),
    )


async def list_executions(request: Request, person: Person) -> shapes.Listed[shapes.Execution]:
    given = parts(request)
    return await reading.executions_listed(given.db, person.account_id, _wanted(request), given.clock.now())


async def get_execution(request: Request, person: Person) -> shapes.ExecutionDetail:
    given = parts(request)
    return await reading.execution(given.db, person.account_id, request.path_params["id"], given.clock.now())


async def list_logs(request: Request, person: Person) -> shapes.Listed[shapes.LogLine]:
    run, (after, limit) = await get_execution(request, person), _from(request)
    given = parts(request)
    found = await logs.read(given.db, person.account_id, run.id, after=after, enough=limit, blobs=given.blobs)
    lines = found[:limit]
    items = [shapes.LogLine.model_validate(log.told(line)) for line in lines]
    return shapes.Listed(items=items, next=str(items[-1].number) if items else None)


async def list_events(request: Request, person: Person) -> shapes.Listed[shapes.Event]:
    run, (after, limit) = await get_execution(request, person), _from(request)
    found = (await events.read(parts(request).db, person.account_id, run.id, after=after))[:limit]
    items = [shapes.Event(seq=e.seq, type=e.type, at=e.at, data=e.data, hash=e.hash) for e in found]
    return shapes.Listed(items=items, next=str(items[-1].seq) if items else None)


def _from(request: Request) -> tuple[int, int | None]:
    """The number after which a record is read on, which is its cursor and has the name `after` too; and how much."""
    cursor = request.query_params.get("cursor", "")
    if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 12):
        raise paging.refused(cursor)
    after = inputs.number(request, "cursor" if cursor else "after", 0)
    return after, inputs.number(request, "limit", 0) or None


async def list_tool_calls(request: Request, person: Person) -> shapes.Listed[shapes.ToolCall]:
    run, given = await get_execution(request, person), parts(request)
    page = paging.wanted(request)
    return await reading.tool_calls_listed(given.db, person.account_id, run.id, given.clock.now(), page)


async def list_approvals_of(request: Request, person: Person) -> shapes.Listed[approval_shapes.Approval]:
    run = await get_execution(request, person)
    db, page = parts(request).db, paging.wanted(request)
    return await approval_reading.listed(db, person.account_id, page, execution_id=run.id)


async def list_model_calls(request: Request, person: Person) -> shapes.Listed[shapes.ModelCall]:
    run = await get_execution(request, person)
    return await costs.model_calls(parts(request).db, person.account_id, run.id, paging.wanted(request))


async def cancel_execution(request: Request, person: Person) -> shapes.ExecutionDetail:
    """Only the intent is set here; whoever holds the run ends it."""
    id_, by = request.path_params["id"], person.email
    await parts(request).db.write(lambda tx: lifecycle.cancel(tx, person.account_id, id_, by=by))
    return await get_execution(request, person)


async def executions_page(request: Request, person: Person) -> Response:
    given, wanted = parts(request), _wanted(request)
    names = sa.select(flows.c.name).where(flows.c.account_id == person.account_id)
    query = {k: v for k, v in request.query_params.items() if k in {"state", "flow", "trigger", "since"} and v}
    return page(
        request,
        "executions.html",
        person,
        listed=await list_executions(request, person),
        wanted=wanted,
        query=query,
        states=[("", "All"), *((state.value, look(STATES, state.value).label) for state in Shown)],
        triggers=[("", "All"), *((kind, kind) for kind in get_args(Trigger.model_fields["type"].annotation))],
        flows=[row.name for row in await given.db.read(names.order_by(flows.c.name))],
    )


async def rerun_execution(request: Request, person: Person) -> shapes.Started:
    """A new execution from the same event; the old one stays as it is. `Idempotency-Key` as for the Test Run."""
    given, id_ = parts(request), request.path_params["id"]
    by, once = person.email, inputs.once(request, person.user_id)
    started = await given.db.write(lambda tx: intake.rerun(tx, person.account_id, id_, by=by, delivery_id=once))
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return shapes.Started(execution_id=started.execution_id, url=url, repeated=started.repeated)


async def cancel_pressed(request: Request, person: Person) -> Response:
    await cancel_execution(request, person)
    return RedirectResponse(f"/executions/{request.path_params['id']}", 303)


async def whole_log(request: Request, person: Person) -> Response:
    """The log as it is shown, to keep."""
    run, after, found = await _with_log(request, person), 0, []
    given = parts(request)
    while lines := await logs.read(given.db, person.account_id, run.id, after=after, blobs=given.blobs):
        found += [f"{line.at} {line.level.upper():7} {line.source:7} {line.text}\n" for line in lines]
        after = lines[-1].number
    named = {"content-disposition": f'attachment; filename="{json.dumps(run.id)[1:-1]}.log"'}
    return Response("".join(found), media_type="text/plain; charset=utf-8", headers=named)


async def raw_output(request: Request, person: Person) -> Response:
    """What the container printed, as it came: a CLI's events are JSON there."""
    run = await _with_log(request, person)
    found = await parts(request).blobs.open(logs.file_of(run.id))
    if found is None:
        hint = "It is kept when the container is gone, by the runner that held it, while the plan has room."
        raise Missing("output_not_kept", f"The raw output of {run.id} is not here.", hint)
    return artifacts.download(found, f"{run.id}.txt")


async def _with_log(request: Request, person: Person) -> shapes.ExecutionDetail:
    run = await get_execution(request, person)
    if run.logs_deleted_at:
        raise Missing("log_deleted", f"The log of {run.id} was deleted by retention on {stamp(run.logs_deleted_at)}.")
    return run


routes = [
    Route("/executions", auth.shown(executions_page), methods=["GET"]),
    Route("/executions/{id}/log.txt", auth.shown(whole_log), methods=["GET"]),
    Route("/executions/{id}/output.txt", auth.shown(raw_output), methods=["GET"]),
    Route("/executions/{id}/cancel", auth.shown(cancel_pressed, Role.OPERATOR), methods=["POST"]),
]
_RUN = "/executions/{id}"
_RECORD = ("after", *paging.QUERY)
operations = [
    Operation(
        method="GET",
        path="/executions",
        summary="Executions, newest first",
        run=list_executions,
        answers=shapes.Listed[shapes.Execution],
        query=("state", "flow", "trigger", "since", *paging.QUERY),
    ),
    Operation(method="GET", path=_RUN, summary="One execution", run=get_execution, answers=shapes.ExecutionDetail),
    Operation(
        method="GET",
        path=_RUN + "/logs",
        summary="Log lines after a number",
        run=list_logs,
        answers=shapes.Listed[shapes.LogLine],
        query=_RECORD,
    ),
    Operation(
        method="GET",
        path=_RUN + "/events",
        summary="Hash-linked events after a number",
        run=list_events,
        answers=shapes.Listed[shapes.Event],
        query=_RECORD,
    ),
    Operation(
        method="GET",
        path=_RUN + "/tool-calls",
        summary="Tool calls in the order of asking",
        run=list_tool_calls,
        answers=shapes.Listed[shapes.ToolCall],
        query=paging.QUERY,
    ),
    Operation(
        method="GET",
        path=_RUN + "/approvals",
        summary="Approval requests of one execution",
        run=list_approvals_of,
        answers=shapes.Listed[approval_shapes.Approval],
        query=paging.QUERY,
    ),
    Operation(
        method="GET",
        path=_RUN + "/model-calls",
        summary="Model calls with tokens and cost",
        run=list_model_calls,
        answers=shapes.Listed[shapes.ModelCall],
        query=paging.QUERY,
    ),
    Operation(
        method="POST",
        path=_RUN + "/cancel",
        summary="Ask for the end of an execution",
        run=cancel_execution,
        answers=shapes.ExecutionDetail,
        role=Role.OPERATOR,
        status=202,
    ),
    Operation(
        method="POST",
        path=_RUN + "/rerun",
        summary="Run again with the same event",
        run=rerun_execution,
        headers=("Idempotency-Key",),
        answers=shapes.Started,
        role=Role.OPERATOR,
        status=202,
    ),
]
