"""Executions: the list, one run with everything that happened in it, Cancel; each page beside its JSON twin."""

import json

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control import events
from control.executions import intake, lifecycle, logs
from control.executions.states import Shown
from control.identity.principals import Person, Role
from kit.errors import Invalid
from web import auth, charts, costs, inputs, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page

MOST = 200
TAIL = 500
"""Log lines a page is drawn with; live.js fetches what comes after them."""


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
        cursor=query.get("cursor", ""),
        limit=max(1, inputs.number(request, "limit", 50, most=MOST)),
    )


async def list_executions(request: Request, person: Person) -> shapes.Listed[shapes.Execution]:
    given = parts(request)
    return await reading.executions_listed(given.db, person.account_id, _wanted(request), given.clock.now())


async def get_execution(request: Request, person: Person) -> shapes.ExecutionDetail:
    given = parts(request)
    return await reading.execution(given.db, person.account_id, request.path_params["id"], given.clock.now())


async def list_logs(request: Request, person: Person) -> shapes.Listed[shapes.LogLine]:
    run = await get_execution(request, person)
    after = inputs.number(request, "after", 0)
    lines = await logs.read(parts(request).db, person.account_id, run.id, after=after)
    items = [shapes.LogLine(number=x.number, at=x.at, source=x.source, level=x.level, text=x.text) for x in lines]
    return shapes.Listed(items=items, next=str(items[-1].number) if items else None)


async def list_events(request: Request, person: Person) -> shapes.Listed[shapes.Event]:
    run = await get_execution(request, person)
    found = await events.read(parts(request).db, person.account_id, run.id, after=inputs.number(request, "after", 0))
    items = [shapes.Event(seq=e.seq, type=e.type, at=e.at, data=e.data, hash=e.hash) for e in found]
    return shapes.Listed(items=items, next=str(items[-1].seq) if items else None)


async def list_tool_calls(request: Request, person: Person) -> shapes.Listed[shapes.ToolCall]:
    run, given = await get_execution(request, person), parts(request)
    return shapes.Listed(items=await reading.tool_calls_of(given.db, person.account_id, run.id, given.clock.now()))


async def list_approvals_of(request: Request, person: Person) -> shapes.Listed[shapes.Approval]:
    run = await get_execution(request, person)
    return shapes.Listed(items=await reading.approvals_listed(parts(request).db, person.account_id, run.id))


async def list_model_calls(request: Request, person: Person) -> shapes.Listed[shapes.ModelCall]:
    run = await get_execution(request, person)
    return shapes.Listed(items=await costs.model_calls(parts(request).db, person.account_id, run.id))


async def cancel_execution(request: Request, person: Person) -> shapes.ExecutionDetail:
    """Only the intent is set here; whoever holds the run ends it."""
    id_, by = request.path_params["id"], person.email
    await parts(request).db.write(lambda tx: lifecycle.cancel(tx, person.account_id, id_, by=by))
    return await get_execution(request, person)


async def executions_page(request: Request, person: Person) -> Response:
    wanted = _wanted(request)
    listed = await list_executions(request, person)
    query = {k: v for k, v in request.query_params.items() if k in {"state", "flow", "trigger", "since"} and v}
    return page(request, "executions.html", person, listed=listed, wanted=wanted, query=query, states=list(Shown))


async def execution_page(request: Request, person: Person) -> Response:
    given = parts(request)
    run = await get_execution(request, person)
    calls = await reading.tool_calls_of(given.db, person.account_id, run.id, given.clock.now())
    live = request.query_params.get("part") is not None
    lines = [] if live else await logs.tail(given.db, person.account_id, run.id, TAIL)
    return page(
        request,
        "execution.html",
        person,
        run=run,
        calls=calls,
        failed=next((call for call in reversed(calls) if call.status in {"failed", "unknown"}), None),
        approvals=await reading.approvals_listed(given.db, person.account_id, run.id),
        approvers=given.desk.directory,
        models=await costs.model_calls(given.db, person.account_id, run.id),
        parts_=charts.split(queued=run.queued_ms, active=run.active_ms, waiting=run.waited_ms),
        lines=lines,
        may_cancel=person.may(Role.OPERATOR) and not run.final,
    )


async def rerun_execution(request: Request, person: Person) -> shapes.Started:
    """A new execution from the same event; the old one stays as it is."""
    given, id_ = parts(request), request.path_params["id"]
    started = await given.db.write(lambda tx: intake.rerun(tx, person.account_id, id_, by=person.email))
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return shapes.Started(execution_id=started.execution_id, url=url)


async def cancel_pressed(request: Request, person: Person) -> Response:
    await cancel_execution(request, person)
    return RedirectResponse(f"/executions/{request.path_params['id']}", 303)


async def raw_log(request: Request, person: Person) -> Response:
    """The whole log as text, to keep."""
    run, after, found = await get_execution(request, person), 0, []
    while lines := await logs.read(parts(request).db, person.account_id, run.id, after=after):
        found += [f"{line.at} {line.level.upper():7} {line.source:7} {line.text}\n" for line in lines]
        after = lines[-1].number
    named = {"content-disposition": f'attachment; filename="{json.dumps(run.id)[1:-1]}.log"'}
    return Response("".join(found), media_type="text/plain; charset=utf-8", headers=named)


routes = [
    Route("/executions", auth.shown(executions_page), methods=["GET"]),
    Route("/executions/{id}", auth.shown(execution_page), methods=["GET"]),
    Route("/executions/{id}/log.txt", auth.shown(raw_log), methods=["GET"]),
    Route("/executions/{id}/cancel", auth.shown(cancel_pressed, Role.OPERATOR), methods=["POST"]),
]
_RUN = "/executions/{id}"
_LIST = ("cursor", "limit")
operations = [
    Operation(
        method="GET",
        path="/executions",
        summary="Executions, newest first",
        run=list_executions,
        answers=shapes.Listed[shapes.Execution],
        query=("state", "flow", "trigger", "since", *_LIST),
    ),
    Operation(method="GET", path=_RUN, summary="One execution", run=get_execution, answers=shapes.ExecutionDetail),
    Operation(
        method="GET",
        path=_RUN + "/logs",
        summary="Log lines after a number",
        run=list_logs,
        answers=shapes.Listed[shapes.LogLine],
        query=("after",),
    ),
    Operation(
        method="GET",
        path=_RUN + "/events",
        summary="Hash-linked events after a number",
        run=list_events,
        answers=shapes.Listed[shapes.Event],
        query=("after",),
    ),
    Operation(
        method="GET",
        path=_RUN + "/tool-calls",
        summary="Tool calls in the order of asking",
        run=list_tool_calls,
        answers=shapes.Listed[shapes.ToolCall],
    ),
    Operation(
        method="GET",
        path=_RUN + "/approvals",
        summary="Approval requests of one execution",
        run=list_approvals_of,
        answers=shapes.Listed[shapes.Approval],
    ),
    Operation(
        method="GET",
        path=_RUN + "/model-calls",
        summary="Model calls with tokens and cost",
        run=list_model_calls,
        answers=shapes.Listed[shapes.ModelCall],
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
        answers=shapes.Started,
        role=Role.OPERATOR,
        status=202,
    ),
]
