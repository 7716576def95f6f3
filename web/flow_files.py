"""Flows as files, through REST: read one or an older version, apply one, or see what applying would change.

JSON is the usual answer; whoever accepts YAML or TOML gets the file. A flow's ETag is its version.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.flows import catalog, schedule, schema, source
from control.flows.flow import Flow
from control.flows.review import account, review
from control.flows.source import Syntax, Written
from control.identity.principals import Person, Role
from control.tables import flow_versions
from control.tables import flows as stored
from kit import asgi
from kit.db import Database, Tx
from kit.errors import Fault, Invalid
from web import flow_shapes, inputs, paging, reading, shapes
from web.flow_shapes import MOST, Applied, FlowVersion
from web.openapi import Operation
from web.parts import Parts, parts

Check = Callable[[int], None]
"""Raises where a flow's version is not the one that is meant."""
FILES: dict[str, Syntax] = {"application/yaml": "yaml", "application/toml": "toml"}
NEXT = 3
"""Fire times of a schedule that are told."""
_TAG = r'(?:W/)?"[^"]*"'
_TAGS = re.compile(rf"\*|{_TAG}(?:\s*,\s*{_TAG})*")


def shape(row: Row[object], flow: Flow) -> shapes.Flow:
    """A flow in a list; `row` is of `catalog.versions`."""
    return shapes.Flow(
        name=flow.name,
        url=f"/flows/{flow.name}",
        description=flow.description,
        version=row.number,
        runtime=flow.agent.runtime,
        model=flow.agent.model,
        triggers=[trigger.type for trigger in flow.triggers],
        tools=reading.tools(flow),
        created_at=row.created_at,
    )


async def detail(request: Request, person: Person) -> shapes.FlowDetail:
    """The flow that a path names, in the version that the query asks for."""
    given, name = parts(request), request.path_params["name"]
    number = inputs.number(request, "version", 0, most=MOST) or None
    row, flow = await catalog.read(given.db, person.account_id, name, number)
    return shapes.FlowDetail(
        **shape(row, flow).model_dump(),
        newest_version=row.version,
        applied_at=row.applied_at,
        prompt=flow.prompt,
        gateway=flow.agent.gateway,
        egress=flow.egress,
        git=flow.git,
        hook_url=f"{given.settings.url}/hooks/flows/{flow.name}" if flow.starts_by("webhook") else None,
        schedules=_schedules(flow, given.clock.now()) if row.number == row.version else [],
        body=json.loads(row.body),
    )


def _schedules(flow: Flow, now: datetime) -> list[shapes.Schedule]:
    found = [trigger for trigger in flow.triggers if trigger.type == "schedule"]
    return [
        shapes.Schedule(cron=t.cron, zone=t.zone, missed=t.missed, next=schedule.following(t.cron, t.zone, now, NEXT))
        for t in found
    ]


async def get_flow(request: Request, person: Person) -> Response:
    found = await detail(request, person)
    headers = {"etag": _tag(found.version), "vary": "accept"}
    for accepted in request.headers.get("accept", "").split(","):
        media = accepted.partition(";")[0].strip().lower()
        if syntax := FILES.get(media):
            return Response(source.dump(found.body, syntax), headers=headers, media_type=media)
        if media in ("application/json", "*/*"):
            break
    return Response(found.model_dump_json(), headers=headers, media_type="application/json")


async def put_flow(request: Request, person: Person) -> Response:
    """Apply a file, or with `dry_run=true` only say what that would change. `If-Match: "3"` applies it onto version 3
    and no other, `If-None-Match: *` where there is no such flow yet (RFC 9110, 13.1)."""
    given, name = parts(request), request.path_params["name"]
    written, dry = await _written(request), inputs.flag(request, "dry_run")
    if written.flow.name != name:
        said = f"The file is of flow {written.flow.name!r}, the address of {name!r}."
        raise Invalid("flow_invalid", said, "Use the file's own name.")
    warnings = review(written, given.known, await account(given.db, person.account_id, name))
    created, told = await store(given, person, written, lambda now: _check(request, now), warnings=warnings, dry=dry)
    headers = None if dry else {"etag": _tag(told.version)}
    return Response(told.model_dump_json(), 201 if created else 200, headers, media_type="application/json")


async def store(
    given: Parts, person: Person, written: Written, check: Check, *, warnings: Sequence[str] = (), dry: bool = False
) -> tuple[bool, Applied]:
    """Was it new, and what changed? `check` refuses the version that is there, 0 for none; `dry` saves nothing."""
    name = written.flow.name

    def unit(tx: Tx) -> tuple[bool, Applied]:
        row = catalog.take(tx, person.account_id, name)
        before = row.version if row else 0
        check(before)
        now, changed = before, row is None or row.body != written.stored
        if dry:
            now += changed
        else:
            _, now, _ = catalog.apply(tx, person.account_id, written, sealer=given.sealer, by=person.email)
            if row is None:
                check(now - 1)  # somebody else may have made it first
        diff = source.diff(json.loads(row.body) if row else None, written.body, _was(row), f"{name} version {now}")
        told = Applied(name=name, version=now, changed=changed, dry_run=dry, diff=diff, warnings=list(warnings))
        return now == 1 and changed and not dry, told

    return await given.db.write(unit)


async def _written(request: Request) -> Written:
    """The file in the body; what isn't called TOML is YAML."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise Invalid("flow_invalid", "The flow file is not UTF-8.", "Save it as UTF-8.") from error
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return source.read(text, FILES.get(media, "yaml"))


def _check(request: Request, now: int) -> None:
    """412 where the flow is not what the sender thinks; `now` is its version, 0 for none."""
    match, none_match = (_tags(request, name) for name in ("if-match", "if-none-match"))
    if match is not None and (not now or not {"*", _tag(now)} & match):
        is_now = f"at version {now}" if now else "not there"
        raise _unmet("flow_changed", f"The flow is {is_now}, and If-Match asks for {', '.join(sorted(match))}.")
    if none_match is not None and now and {"*", _tag(now), f"W/{_tag(now)}"} & none_match:
        raise _unmet("flow_exists", f"The flow is there already, at version {now}.")


def _unmet(code: str, message: str) -> Fault:
    return asgi.refusal(412, code, message, "Read it again: the ETag of a flow is its version.")


def _tags(request: Request, header: str) -> set[str] | None:
    if header not in request.headers:
        return None
    text = ", ".join(request.headers.getlist(header)).strip()
    if not _TAGS.fullmatch(text):
        raise Invalid("header_invalid", f"{header}: {text[:40]!r} is no list of entity tags.", 'Write "3", or *.')
    return set(re.findall(rf"\*|{_TAG}", text))


def _tag(version: int) -> str:
    return f'"{version}"'


def _was(row: Row[object] | None) -> str:
    return f"{row.name} version {row.version}" if row else "nothing"


async def list_versions(request: Request, person: Person) -> shapes.Listed[FlowVersion]:
    """Newest first."""
    db, name = parts(request).db, request.path_params["name"]
    await catalog.read(db, person.account_id, name)
    return await _versions(db, person.account_id, name, paging.wanted(request))


async def _versions(db: Database, account_id: str, name: str, page: paging.Page) -> shapes.Listed[FlowVersion]:
    if page.cursor and not (page.cursor.isascii() and page.cursor.isdecimal() and len(page.cursor) < 10):
        raise paging.refused(page.cursor)
    asked = catalog.versions(account_id).where(stored.c.name == name)
    if page.cursor:
        asked = asked.where(flow_versions.c.version < int(page.cursor))
    rows = await db.read(asked.order_by(flow_versions.c.version.desc()).limit(page.limit + 1))
    items = [
        FlowVersion(version=row.number, applied_at=row.applied_at, url=f"/flows/{name}?version={row.number}")
        for row in rows[: page.limit]
    ]
    return shapes.Listed(items=items, next=str(items[-1].version) if len(rows) > page.limit else None)


async def latest(request: Request, person: Person, most: int) -> shapes.Listed[FlowVersion]:
    """The newest versions, for the flow's page."""
    db, name = parts(request).db, request.path_params["name"]
    return await _versions(db, person.account_id, name, paging.Page(limit=most))


async def changes(request: Request, person: Person) -> str:
    """What the version that the query asks for, or the newest, changed: '' for the first."""
    db, name = parts(request).db, request.path_params["name"]
    row, _ = await catalog.read(db, person.account_id, name, inputs.number(request, "version", 0, most=MOST) or None)
    if row.number < 2:
        return ""
    before, _ = await catalog.read(db, person.account_id, name, row.number - 1)
    was, now = (f"{name} version {number}" for number in (before.number, row.number))
    return source.diff(json.loads(before.body), json.loads(row.body), was, now)


async def flow_schema(request: Request) -> Response:
    """For editors, which have no token."""
    return JSONResponse(
        schema.described(f"{parts(request).settings.url}{SCHEMA}"), media_type="application/schema+json"
    )


SCHEMA = "/api/flow.schema.json"
routes = [Route(SCHEMA, flow_schema, methods=["GET"])]
operations = [
    Operation(
        method="GET",
        path="/flows/{name}",
        summary="One flow, or its file",
        run=get_flow,
        answers=shapes.FlowDetail,
        files=tuple(FILES),
        query=("version",),
    ),
    Operation(
        method="PUT",
        path="/flows/{name}",
        summary="Apply a flow file, or say what that would change",
        run=put_flow,
        takes=tuple(FILES),
        answers=flow_shapes.Applied,
        role=Role.OPERATOR,
        creates=True,
        query=("dry_run",),
        headers=("If-Match", "If-None-Match"),
    ),
    Operation(
        method="GET",
        path="/flows/{name}/versions",
        summary="Versions of a flow, newest first",
        run=list_versions,
        answers=shapes.Listed[FlowVersion],
        query=paging.QUERY,
    ),
]
