"""A flow's prompt with an event in it, before anything runs: a past event, or one that somebody made up."""

import json
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.routing import Route

from control.executions.lifecycle import LISTED
from control.flows import catalog, template
from control.flows.review import samples
from control.identity.principals import Person
from control.tables import executions
from kit import canonical
from kit.db import Database
from kit.errors import Fault, Invalid, Missing
from web import inputs, shapes
from web.flow_shapes import MOST, RenderAsked, Rendered
from web.openapi import Operation
from web.parts import parts


async def render_past(request: Request, person: Person) -> Rendered:
    """With the event of the execution in the query, else the flow's newest."""
    asked = RenderAsked(
        execution=request.query_params.get("execution"), version=inputs.number(request, "version", 0, most=MOST) or None
    )
    return await _rendered(request, person, asked)


async def render_given(request: Request, person: Person) -> Rendered:
    return await _rendered(request, person, await inputs.body(request, RenderAsked))


async def _rendered(request: Request, person: Person, asked: RenderAsked) -> Rendered:
    db, name = parts(request).db, request.path_params["name"]
    row, flow = await catalog.read(db, person.account_id, name, asked.version)
    if "payload" in asked.model_fields_set:
        if asked.execution is not None:
            raise Invalid("body_invalid", "There is a payload and an execution.", "Give one of them.")
        canonical.check(asked.payload)
        event: Any = {"type": "manual", "payload": asked.payload}
    elif asked.execution is not None:
        event = await event_of(db, person.account_id, asked.execution)
    else:
        event = next(iter(await samples(db, person.account_id, name, 1)), None)
        if event is None:
            raise Invalid("event_missing", f"The flow {name!r} has no event yet.", "Give a payload to render it with.")
    found = template.render(flow.prompt, {"trigger_event": event})
    return Rendered(
        flow=name,
        version=row.number,
        execution_id=asked.execution,
        trigger_event=event,
        prompt=found.text,
        unresolved=[shapes.Unresolved.model_validate(one, from_attributes=True) for one in found.unresolved],
        refused=bool(found.unresolved) and flow.on_undefined == "fail",
    )


async def preview(request: Request, person: Person, text: str) -> Rendered | Fault:
    """What a Test Run of the flow's newest version would be told with a payload somebody types, or what is wrong."""
    try:
        payload = canonical.parse(text.strip() or "{}")
        return await _rendered(request, person, RenderAsked(payload=payload))
    except Invalid as fault:
        return fault


async def event_of(db: Database, account_id: str, execution_id: str) -> Any:  # noqa: ANN401 - a JSON value
    """What started an execution."""
    mine = (executions.c.account_id == account_id) & (executions.c.id == execution_id)
    rows = await db.read(sa.select(executions.c.trigger_event, executions.c.payload_deleted_at).where(mine))
    if not rows:
        raise Missing("execution_unknown", f"There is no execution {execution_id[:60]}.", LISTED)
    if rows[0].payload_deleted_at:
        raise Missing("event_deleted", f"The event of {execution_id} is not kept any more.", "Take a newer one.")
    return json.loads(rows[0].trigger_event)


_PATH = "/flows/{name}/render"
routes: list[Route] = []
operations = [
    Operation(
        method="GET",
        path=_PATH,
        summary="The prompt with a past event in it; nothing runs",
        run=render_past,
        answers=Rendered,
        query=("execution", "version"),
    ),
    Operation(
        method="POST",
        path=_PATH,
        summary="The prompt with a payload in it; nothing runs",
        run=render_given,
        takes=RenderAsked,
        answers=Rendered,
    ),
]
