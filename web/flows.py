"""Flows: the list, one flow with its last ten runs, Test Run. Their files are next door in `flow_files`, and what edits
them on a page in `flow_edit`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.executions import health, intake
from control.flows import catalog
from control.flows.flow import loads
from control.identity import repeats
from control.identity.principals import Person, Role
from control.tables import executions
from control.tables import flows as stored
from kit import canonical, traces
from kit.db import Tx
from kit.errors import Fault
from web import auth, costs, fares, flow_edit, inputs, paging, reading, rendering, shapes
from web.fares import TEN
from web.flow_files import changes, detail, latest, shape
from web.flow_shapes import FlowHealth
from web.openapi import Operation
from web.parts import parts
from web.render import page

EXAMPLE = "examples/flows/process-payment.yaml"


async def list_flows(request: Request, person: Person) -> shapes.Listed[shapes.Flow]:
    """By name."""
    rows, further = await _flows(request, person)
    return shapes.Listed(items=[shape(row, loads(row.body)) for row in rows], next=further)


async def _flows(request: Request, person: Person) -> tuple[Sequence[Row[Any]], str | None]:
    asked = catalog.newest(person.account_id)
    return await paging.read(parts(request).db, asked, paging.wanted(request), stored.c.name)


async def start_test_run(request: Request, person: Person) -> shapes.Started:
    """The Test Run. With `Idempotency-Key` the same request again gives the same execution; the same key
    with another payload is refused."""
    asked = await inputs.body(request, shapes.TestRun)
    return await _start(request, person, asked.payload, inputs.once(request, person.user_id))


async def _start(request: Request, person: Person, payload: object, delivery_id: str | None) -> shapes.Started:
    given, name = parts(request), request.path_params["name"]
    theirs = traces.traceparent(request.headers.get("traceparent"))

    def unit(tx: Tx) -> intake.Started:
        told = intake.start(
            tx,
            person.account_id,
            name,
            payload,
            trigger="manual",
            by=person.email,
            delivery_id=delivery_id,
            traceparent=theirs,
        )
        if told.repeated:
            _check_same(tx, told.execution_id, payload)
        return told

    started = await given.db.write(unit)
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return shapes.Started(execution_id=started.execution_id, url=url, repeated=started.repeated)


def _check_same(tx: Tx, execution_id: str, payload: object) -> None:
    """Conflict where the key made an execution of another payload, as far as that is still kept."""
    its = (executions.c.id == execution_id) & executions.c.payload_deleted_at.is_(None)
    event = tx.execute(sa.select(executions.c.trigger_event).where(its)).scalar()
    if event is not None and event != canonical.dumps({"type": "manual", "payload": payload}):
        raise repeats.used()


async def list_runs(request: Request, person: Person) -> shapes.Listed[shapes.Execution]:
    """Of one flow, newest first."""
    given = parts(request)
    wanted = reading.Wanted(
        flow=request.path_params["name"],
        page=paging.wanted(request, TEN),
    )
    return await reading.executions_listed(given.db, person.account_id, wanted, given.clock.now())


async def get_health(request: Request, person: Person) -> FlowHealth:
    """How a flow fares."""
    given, name = parts(request), request.path_params["name"]
    await catalog.read(given.db, person.account_id, name)
    now = given.clock.now()
    wanted = reading.Wanted(flow=name, page=paging.Page(limit=TEN))
    runs = await reading.executions_listed(given.db, person.account_id, wanted, now)
    found = await health.of_flow(given.db, person.account_id, name, now)
    cost = await costs.per_run(given.db, person.account_id, name, now - timedelta(days=health.DAYS))
    figures = {"success_rate": found.success_rate, "cost": cost, **asdict(found)}
    return FlowHealth(recent=runs.items, days=health.DAYS, **figures)


async def flows_page(request: Request, person: Person) -> Response:
    given = parts(request)
    rows, further = await _flows(request, person)
    told = await fares.of_flows(given.db, [row.id for row in rows], given.clock.now())
    listed = [(shape(row, loads(row.body)), told[row.id]) for row in rows]
    return page(request, "flows.html", person, listed=listed, next=further, example=EXAMPLE)


async def flow_page(request: Request, person: Person) -> Response:
    """`?execution=…` begins a Test Run with the payload of that one."""
    past, fault = request.query_params.get("execution"), None
    payload = "{}"
    try:
        if past:
            event = await rendering.event_of(parts(request).db, person.account_id, past)
            payload = json.dumps(event.get("payload"), indent=2, ensure_ascii=False)
    except Fault as gone:
        fault = gone
    return await _flow_page(request, person, payload=payload, fault=fault)


async def _flow_page(request: Request, person: Person, *, payload: str, fault: Fault | None = None) -> Response:
    how = await get_health(request, person)
    runs = [fares.Run.of(run) for run in how.recent]
    return page(
        request,
        "flow.html",
        person,
        status=fault.status if fault else 200,
        flow=await detail(request, person),
        fares=how,
        bars=fares.drawn(runs),
        changes=await changes(request, person),
        versions=await latest(request, person, TEN),
        payload=payload,
        past=request.query_params.get("execution", ""),
        preview=await rendering.preview(request, person, payload),
        fault=fault,
        may_run=person.may(Role.OPERATOR),
    )


async def previewed(request: Request, person: Person) -> Response:
    """The prompt with the typed payload in it; `?part=preview` is that alone, for the script that asks."""
    payload = (await inputs.form(request)).get("payload", "")
    if request.query_params.get("part"):
        preview = await rendering.preview(request, person, payload)
        return page(request, "flow.html", person, preview=preview)
    return await _flow_page(request, person, payload=payload)


async def run_pressed(request: Request, person: Person) -> Response:
    """The Test Run form; what was typed stays on the page when it is wrong."""
    fields = await inputs.form(request)
    text = fields.get("payload", "")
    try:
        started = await _start(request, person, canonical.parse(text.strip() or "{}"), None)
    except Fault as fault:
        return await _flow_page(request, person, payload=text, fault=fault)
    return RedirectResponse(f"/executions/{started.execution_id}", 303)


routes = [
    Route("/flows", auth.shown(flows_page), methods=["GET"]),
    Route("/flows/{name}", auth.shown(flow_page), methods=["GET"]),
    Route("/flows/{name}/preview", auth.shown(previewed), methods=["POST"]),
    Route("/flows/{name}/executions", auth.shown(run_pressed, Role.OPERATOR), methods=["POST"]),
    *flow_edit.routes,
]
operations = [
    Operation(
        method="GET",
        path="/flows",
        summary="Flows, by name",
        run=list_flows,
        answers=shapes.Listed[shapes.Flow],
        query=paging.QUERY,
    ),
    Operation(
        method="GET",
        path="/flows/{name}/executions",
        summary="Executions of a flow, newest first",
        run=list_runs,
        answers=shapes.Listed[shapes.Execution],
        query=paging.QUERY,
    ),
    Operation(
        method="GET",
        path="/flows/{name}/health",
        summary="How a flow fares: its last ten, success rate and durations",
        run=get_health,
        answers=FlowHealth,
    ),
    Operation(
        method="POST",
        path="/flows/{name}/executions",
        summary="Test Run: start an execution",
        run=start_test_run,
        takes=shapes.TestRun,
        answers=shapes.Started,
        role=Role.OPERATOR,
        status=202,
        headers=("Idempotency-Key",),
    ),
]
