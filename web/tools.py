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
from control.flows import catalog
from control.flows.flow import Flow, loads
from control.identity.charter import fits
from control.identity.principals import Person, Role
from control.tables import definitions
from control.tables import flows as stored
from kit.db import Database, pages
from kit.errors import Fault, Missing
from web import auth, inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.render import page
from web.shapes import Listed


class PinnedTool(BaseModel):
    """A tool as its server describes it now. `seen`: nothing of it was accepted yet; `quarantined`: it took the place
    of what was; `unusable`: nobody could check arguments against it, and `reason` says why. None of them is served."""

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
    flows: list[str]
    """Whose newest version lists it, by name."""


class Acceptance(inputs.Body):
    """`digest` is of the definition that was looked at."""

    server: str
    tool: str
    digest: str


async def list_tools(request: Request, person: Person) -> Listed[PinnedTool]:
    """By server and tool."""
    db, page_ = parts(request).db, paging.wanted(request)
    keys = (definitions.c.server, definitions.c.tool)
    names, further = await paging.read(db, pins.names(person.account_id), page_, *keys)
    if not names:
        return Listed(items=[])
    first, last = names[0], names[-1]
    shown = await _described(db, person.account_id, ((first.server, first.tool), (last.server, last.tool)))
    return Listed(items=[PinnedTool(**_fields(rows)) for rows in shown], next=further)


async def get_tool(request: Request, person: Person) -> PinnedToolDetail:
    return await _one(request, person, *_named(request))


def _named(request: Request) -> pins.Named:
    """By the path, or by `?tool=` where that would not arrive."""
    return request.path_params["server"], request.path_params["tool"] or request.query_params.get("tool", "")


async def _one(request: Request, person: Person, server: str, tool: str) -> PinnedToolDetail:
    found = await _described(parts(request).db, person.account_id, ((server, tool), (server, tool)))
    if not found:
        raise Missing(
            "tool_unknown",
            f"No tool '{tool[:60]}' of a server '{server[:60]}' was ever seen.",
            "`preloop tools list` and /tools have those that were.",
        )
    rows = found[0]
    now, accepted = _now(rows), _accepted(rows)
    flows = await _flows(parts(request).db, person.account_id)
    return PinnedToolDetail(
        **_fields(rows),
        definition=json.loads(now.raw),
        accepted_definition=json.loads(accepted.raw) if accepted else None,
        diff=_diff(rows),
        flows=[flow.name for flow in flows if any(fits(t.server, server) and fits(t.tool, tool) for t in flow.tools)],
    )


def _diff(rows: list[Row[Any]]) -> str:
    now, accepted = _now(rows), _accepted(rows)
    return pins.diff(accepted.raw if accepted and accepted.digest != now.digest else None, now.raw)


async def _flows(db: Database, account_id: str) -> list[Flow]:
    its = catalog.newest(account_id)
    return [loads(row.body) async for rows in pages(db, its, stored.c.name) for row in rows]


async def accept_tool(request: Request, person: Person) -> PinnedToolDetail:
    """Serve a definition from now on; what was accepted before of the tool is served no more."""
    asked = await inputs.body(request, Acceptance)
    await _accept(request, person, asked)
    return await _one(request, person, asked.server, asked.tool)


async def _accept(request: Request, person: Person, asked: Acceptance) -> None:
    by = person.email or person.name
    await parts(request).db.write(
        lambda tx: pins.accept(tx, person.account_id, asked.server, asked.tool, digest=asked.digest, by=by)
    )


async def _described(
    db: Database, account_id: str, span: tuple[pins.Named, pins.Named] | None = None
) -> list[list[Row[Any]]]:
    """The rows of each tool, by server and tool."""
    rows = await pins.current(db, account_id, span)
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
        "url": address(now.server, now.tool),
        "accepted_digest": accepted.digest if accepted else None,
    }


def address(server: str, tool: str) -> str:
    """Of its page; a tool may be named `files/read`, and browsers take `..` in a path for a way up, encoded or not."""
    named = f"?tool={tool}" if tool in {".", ".."} else quote(tool, safe="")
    return f"/tools/{quote(server, safe='')}/{named}"


async def tools_page(request: Request, person: Person) -> Response:
    described = await _described(parts(request).db, person.account_id)
    found = [(PinnedTool(**_fields(rows)), _diff(rows)) for rows in described]
    waiting = sorted(((one, diff) for one, diff in found if one.status != Status.ACCEPTED), key=_urgent)
    served = [one for one in found if one[0].status == Status.ACCEPTED]
    return page(request, "tools.html", person, waiting=waiting, served=served)


def _urgent(shown: tuple[PinnedTool, str]) -> bool:
    """What took the place of something that agents used comes first."""
    return shown[0].status != Status.QUARANTINED


async def tool_page(request: Request, person: Person) -> Response:
    return await _tool_page(request, person, None)


async def _tool_page(request: Request, person: Person, fault: Fault | None) -> Response:
    tool = await get_tool(request, person)
    may = (
        person.may(Role.ADMIN)
        and tool.status in (Status.SEEN, Status.QUARANTINED)
        and tool.decided_by != pins.BY_SETTINGS
    )
    status = fault.status if fault else 200
    return page(request, "tool.html", person, status=status, tool=tool, may_accept=may, fault=fault)


async def accepted(request: Request, person: Person) -> Response:
    fields = await inputs.form(request)
    server, tool = _named(request)
    try:
        await _accept(request, person, Acceptance(server=server, tool=tool, digest=fields.get("digest", "")))
    except Fault as fault:
        return await _tool_page(request, person, fault)
    return RedirectResponse(address(server, tool), 303)


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
        query=paging.QUERY,
    ),
    Operation(
        method="POST",
        path="/tools/accept",
        summary="Serve a definition that was looked at",
        run=accept_tool,
        takes=Acceptance,
        answers=PinnedToolDetail,
        role=Role.ADMIN,
        refuses=(404,),
    ),
    Operation(
        method="GET",
        path="/tools/{server}/{tool:path}",
        summary="One tool: its definition, and what changed since it was accepted",
        run=get_tool,
        answers=PinnedToolDetail,
        query=("tool",),
    ),
]
