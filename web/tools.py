"""Tools and their definitions: which are served, which wait for an admin, and what changed."""

import json
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals import pins
from control.approvals.pins import Status
from control.identity.principals import Person, Role
from kit.errors import Fault, Missing
from web import auth, inputs
from web.openapi import Operation
from web.parts import parts
from web.render import page
from web.shapes import Listed


class PinnedTool(BaseModel):
    """A tool as its server describes it now. `seen`: nothing of it was accepted yet; `quarantined`: it took the place
    of what was. Neither is served."""

    server: str
    tool: str
    url: str
    status: str
    digest: str
    accepted_digest: str | None
    reason: str | None
    seen_at: datetime
    decided_at: datetime | None
    decided_by: str | None


class PinnedToolDetail(PinnedTool):
    definition: Any
    accepted_definition: Any
    diff: str
    """From the accepted definition to what is said now; empty where either is missing."""


class Acceptance(BaseModel):
    """`digest` is of the definition that was looked at."""

    server: str
    tool: str
    digest: str


async def list_tools(request: Request, person: Person) -> Listed[PinnedTool]:
    return Listed(items=[PinnedTool(**_fields(rows)) for rows in await _all(request, person)])


async def get_tool(request: Request, person: Person) -> PinnedToolDetail:
    server, tool = request.path_params["server"], request.path_params["tool"]
    rows = next(
        (rows for rows in await _all(request, person) if (rows[0].server, rows[0].tool) == (server, tool)), None
    )
    if rows is None:
        raise Missing(
            "tool_unknown", f"No tool '{tool[:60]}' of a server '{server[:60]}' was ever seen.", "See /tools."
        )
    now, accepted = _now(rows), _accepted(rows)
    before = accepted.raw if accepted and accepted.digest != now.digest else None
    return PinnedToolDetail(
        **_fields(rows),
        definition=json.loads(now.raw),
        accepted_definition=json.loads(accepted.raw) if accepted else None,
        diff=pins.diff(before, now.raw),
    )


async def accept_tool(request: Request, person: Person) -> Listed[PinnedTool]:
    """Serve a definition from now on; what was accepted before of the tool is served no more."""
    await _accept(request, person, await inputs.body(request, Acceptance))
    return await list_tools(request, person)


async def _accept(request: Request, person: Person, asked: Acceptance) -> None:
    by = person.email or person.name
    await parts(request).db.write(
        lambda tx: pins.accept(tx, person.account_id, asked.server, asked.tool, digest=asked.digest, by=by)
    )


async def _all(request: Request, person: Person) -> list[list[Row[Any]]]:
    """The rows of each tool, by server and tool."""
    rows = await pins.current(parts(request).db, person.account_id)
    return [list(its) for _, its in groupby(rows, key=lambda row: (row.server, row.tool))]


def _now(rows: list[Row[Any]]) -> Row[Any]:
    """What the server says now: what waits for an admin, else what is accepted."""
    return next((row for row in rows if row.status != Status.ACCEPTED), rows[0])


def _accepted(rows: list[Row[Any]]) -> Row[Any] | None:
    return next((row for row in rows if row.status == Status.ACCEPTED), None)


def _fields(rows: list[Row[Any]]) -> dict[str, Any]:
    now, accepted = _now(rows), _accepted(rows)
    same = ("server", "tool", "status", "digest", "reason", "seen_at", "decided_at", "decided_by")
    return {name: getattr(now, name) for name in same} | {
        "url": f"/tools/{quote(now.server)}/{quote(now.tool)}",
        "accepted_digest": accepted.digest if accepted else None,
    }


async def tools_page(request: Request, person: Person) -> Response:
    found = (await list_tools(request, person)).items
    waiting = [tool for tool in found if tool.status != Status.ACCEPTED]
    served = [tool for tool in found if tool.status == Status.ACCEPTED]
    return page(request, "tools.html", person, waiting=waiting, served=served)


async def tool_page(request: Request, person: Person) -> Response:
    return await _tool_page(request, person, None)


async def _tool_page(request: Request, person: Person, fault: Fault | None) -> Response:
    tool = await get_tool(request, person)
    may = person.may(Role.ADMIN) and tool.status != Status.ACCEPTED and tool.decided_by != pins.BY_SETTINGS
    status = fault.status if fault else 200
    return page(request, "tool.html", person, status=status, tool=tool, may_accept=may, fault=fault)


async def accepted(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    server, tool = request.path_params["server"], request.path_params["tool"]
    try:
        await _accept(request, person, Acceptance(server=server, tool=tool, digest=fields.get("digest", "")))
    except Fault as fault:
        return await _tool_page(request, person, fault)
    return RedirectResponse(f"/tools/{quote(server)}/{quote(tool)}", 303)


routes = [
    Route("/tools", auth.shown(tools_page), methods=["GET"]),
    Route("/tools/{server}/{tool:path}", auth.shown(tool_page), methods=["GET"]),
    Route("/tools/{server}/{tool:path}", auth.shown(accepted, Role.ADMIN), methods=["POST"]),
]
operations = [
    Operation(
        method="GET",
        path="/tools",
        summary="Tools as their servers describe them now, and which of them are served",
        run=list_tools,
        answers=Listed[PinnedTool],
    ),
    Operation(
        method="POST",
        path="/tools/accept",
        summary="Serve a definition that was looked at",
        run=accept_tool,
        takes=Acceptance,
        answers=Listed[PinnedTool],
        role=Role.ADMIN,
    ),
    Operation(
        method="GET",
        path="/tools/{server}/{tool}",
        summary="One tool: its definition, and what changed since it was accepted",
        run=get_tool,
        answers=PinnedToolDetail,
    ),
]
