"""Flows: the list, one flow with its last ten runs, Test Run; applying a flow file through REST."""

import json

from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.executions import intake
from control.flows import catalog, source
from control.flows.flow import Flow, loads
from control.identity.principals import Person, Role
from control.tables import flows as stored
from kit import canonical
from kit.db import Tx
from kit.errors import Conflict, Fault, Invalid
from web import auth, charts, inputs, paging, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page

TEN = 10
EXAMPLE = "examples/flows/process-payment.yaml"


def _shape(row: Row[object], flow: Flow) -> shapes.Flow:
    return shapes.Flow(
        name=flow.name,
        url=f"/flows/{flow.name}",
        description=flow.description,
        version=row.version,
        runtime=flow.agent.runtime,
        model=flow.agent.model,
        triggers=[trigger.type for trigger in flow.triggers],
        tools=reading.tools(flow),
        created_at=row.created_at,
    )


async def list_flows(request: Request, person: Person) -> shapes.Listed[shapes.Flow]:
    """By name."""
    asked = catalog.newest(person.account_id)
    rows, further = await paging.read(parts(request).db, asked, paging.wanted(request), stored.c.name)
    return shapes.Listed(items=[_shape(row, loads(row.body)) for row in rows], next=further)


async def get_flow(request: Request, person: Person) -> shapes.FlowDetail:
    row, flow = await catalog.read(parts(request).db, person.account_id, request.path_params["name"])
    hook = f"{parts(request).settings.url}/hooks/flows/{flow.name}" if flow.starts_by("webhook") else None
    more = {"prompt": flow.prompt, "hook_url": hook, "body": json.loads(row.body)}
    return shapes.FlowDetail(**_shape(row, flow).model_dump(), **more)


async def put_flow(request: Request, person: Person) -> shapes.Applied:
    """Apply a flow file, YAML or JSON; `If-Match: "3"` applies it only onto version 3."""
    given, name = parts(request), request.path_params["name"]
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise Invalid("flow_invalid", "The flow file is not UTF-8.", "Save it as UTF-8.") from error
    written = source.read(text)
    given.known.check(written)
    flow = written.flow
    if flow.name != name:
        raise Invalid(
            "flow_invalid", f"The file is of flow {flow.name!r}, the address of {name!r}.", "Use the file's own name."
        )
    expected = request.headers.get("if-match", "").strip().strip('"')

    def apply(tx: Tx) -> tuple[str, int, bool]:
        if expected and (now := str(catalog.find(tx, person.account_id, name)[0].version)) != expected:
            raise Conflict("flow_changed", f"The flow is at version {now}, not {expected}.", "Read it again.")
        return catalog.apply(tx, person.account_id, written, sealer=given.sealer, by=person.email)

    applied = await given.db.write(apply)
    return shapes.Applied(name=applied[0], version=applied[1], changed=applied[2])


async def start_test_run(request: Request, person: Person) -> shapes.Started:
    """The Test Run. With `Idempotency-Key` the same request again gives the same execution."""
    asked = await inputs.body(request, shapes.TestRun)
    return await _start(request, person, asked.payload, inputs.once(request, person.user_id))


async def _start(request: Request, person: Person, payload: object, delivery_id: str | None) -> shapes.Started:
    given, name = parts(request), request.path_params["name"]
    started = await given.db.write(
        lambda tx: intake.start(
            tx, person.account_id, name, payload, trigger="manual", by=person.email, delivery_id=delivery_id
        )
    )
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return shapes.Started(execution_id=started.execution_id, url=url, repeated=started.repeated)


async def list_runs(request: Request, person: Person) -> shapes.Listed[shapes.Execution]:
    """Of one flow, newest first."""
    given = parts(request)
    wanted = reading.Wanted(
        flow=request.path_params["name"],
        page=paging.wanted(request, TEN),
    )
    return await reading.executions_listed(given.db, person.account_id, wanted, given.clock.now())


async def flows_page(request: Request, person: Person) -> Response:
    listed = await list_flows(request, person)
    return page(request, "flows.html", person, listed=listed, example=EXAMPLE)


async def flow_page(request: Request, person: Person) -> Response:
    return await _flow_page(request, person, payload="{}", fault=None)


async def _flow_page(request: Request, person: Person, *, payload: str, fault: Fault | None) -> Response:
    runs = (await list_runs(request, person)).items[:TEN]
    oldest_first = list(reversed(runs))
    bars = charts.bars([run.duration_ms for run in oldest_first])
    return page(
        request,
        "flow.html",
        person,
        status=fault.status if fault else 200,
        flow=await get_flow(request, person),
        runs=runs,
        bars=list(zip(bars, oldest_first, strict=True)),
        payload=payload,
        fault=fault,
        may_run=person.may(Role.OPERATOR),
    )


async def run_pressed(request: Request, person: Person) -> Response:
    """The Test Run form; what was typed stays on the page when it is wrong."""
    fields = await inputs.form(request)
    text = fields.get("payload", "")
    try:
        started = await _start(request, person, canonical.parse(text or "{}"), None)
    except Fault as fault:
        return await _flow_page(request, person, payload=text, fault=fault)
    return RedirectResponse(f"/executions/{started.execution_id}", 303)


routes = [
    Route("/flows", auth.shown(flows_page), methods=["GET"]),
    Route("/flows/{name}", auth.shown(flow_page), methods=["GET"]),
    Route("/flows/{name}/executions", auth.shown(run_pressed, Role.OPERATOR), methods=["POST"]),
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
    Operation(method="GET", path="/flows/{name}", summary="One flow", run=get_flow, answers=shapes.FlowDetail),
    Operation(
        method="PUT",
        path="/flows/{name}",
        summary="Apply a flow file",
        run=put_flow,
        takes="application/yaml",
        answers=shapes.Applied,
        role=Role.OPERATOR,
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
        method="POST",
        path="/flows/{name}/executions",
        summary="Test Run: start an execution",
        run=start_test_run,
        takes=shapes.TestRun,
        answers=shapes.Started,
        role=Role.OPERATOR,
        status=202,
    ),
]
