"""Runtime sessions: which agents may speak to us now, ours and enrolled ones, and what one of them did last."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.identity import charter as charters
from control.identity import sessions as identity
from control.identity.principals import Person, Role
from control.tables import sessions as runtime
from control.tables import tokens, tool_calls, users
from kit.db import Database
from kit.errors import Invalid, Missing
from ledger import money, reports
from ledger.tables import entries
from web import auth, costs, paging, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page

LATEST = 50
"""Calls of each kind that the page of a session has."""
STATES = ("all", "active")


class SessionCall(BaseModel):
    """A tool call or an attempt at a model: what was called, how it went and, of a model, what it cost."""

    id: str
    kind: Literal["tool", "model"]
    name: str
    status: str
    at: datetime
    error: str | None
    duration_ms: int | None
    cost_usd: str | None


class SessionDetail(shapes.Session):
    """With what it may use, what it cost, when it was seen last, and its latest calls, newest first."""

    last_seen_at: datetime | None
    tools: list[str]
    models: list[str]
    cost_usd: str | None
    calls: list[SessionCall]


async def list_sessions(request: Request, person: Person) -> shapes.Listed[shapes.Session]:
    """What was enrolled and never used is no session yet, but a token."""
    return await _listed(request, person, request.query_params.get("state", "all"))


async def _listed(request: Request, person: Person, state: str) -> shapes.Listed[shapes.Session]:
    given = parts(request)
    if state not in STATES:
        raise Invalid("query_invalid", f"state={state[:40]!r} is neither active nor all.")
    asked = sa.select(runtime).where(runtime.c.account_id == person.account_id, runtime.c.opened_at.is_not(None))
    if state == "active":
        asked = asked.where(runtime.c.alive_until > given.clock.now(), runtime.c.revoked_at.is_(None))
    rows, further = await paging.read(given.db, asked, paging.wanted(request), runtime.c.id, newest_first=True)
    return shapes.Listed(items=await _told(given.db, rows), next=further)


async def _told(db: Database, rows: Sequence[Row[Any]]) -> list[shapes.Session]:
    """With their flows and, of enrolled agents, whoever stands behind them."""
    theirs = sa.select(tokens.c.session_id, users.c.email).join(users, users.c.id == tokens.c.user_id)
    found = await db.read(theirs.where(tokens.c.session_id.in_([row.id for row in rows])))
    owners = {one.session_id: one.email for one in found}
    return [
        shapes.Session(
            **reading.same(row, shapes.Session, without={"flow", "owner"}),
            flow=charters.loads(row.charter).flow,
            owner=owners.get(row.id),
        )
        for row in rows
    ]


async def get_session(request: Request, person: Person) -> SessionDetail:
    given, id_ = parts(request), request.path_params["id"]
    row = await _find(given.db, person.account_id, id_)
    [told] = await _told(given.db, [row])
    charter, calls = charters.loads(row.charter), await _calls(given.db, person.account_id, id_)
    return SessionDetail(
        **told.model_dump(),
        last_seen_at=(await _seen(given.db, [id_])).get(id_),
        tools=[f"{grant.server}/{grant.tool}" for grant in charter.tools],
        models=list(charter.models),
        cost_usd=costs.of(await reports.of_session(given.db, person.account_id, id_)).usd,
        calls=calls,
    )


async def _find(db: Database, account_id: str, id_: str) -> Row[Any]:
    rows = await db.read(sa.select(runtime).where(runtime.c.id == id_, runtime.c.account_id == account_id))
    if not rows:
        raise Missing("session_unknown", f"There is no session {id_[:60]}.", "`preloop sessions list` shows them.")
    return rows[0]


async def _calls(db: Database, account_id: str, id_: str) -> list[SessionCall]:
    """The latest of both kinds together; of what was billed anew the first price stays here."""
    mine = sa.select(tool_calls).where(tool_calls.c.session_id == id_, tool_calls.c.account_id == account_id)
    theirs = sa.select(entries).where(entries.c.account_id == account_id, entries.c.session_id == id_)
    tools = await db.read(mine.order_by(tool_calls.c.id.desc()).limit(LATEST))
    models = await db.read(theirs.where(entries.c.corrects.is_(None)).order_by(entries.c.id.desc()).limit(LATEST))
    found = [_tool_call(row) for row in tools] + [_model_call(row) for row in models]
    return sorted(found, key=lambda call: call.at, reverse=True)[:LATEST]


def _tool_call(row: Row[Any]) -> SessionCall:
    lasted = int((row.settled_at - row.asked_at).total_seconds() * 1000) if row.settled_at else None
    same = {"id": row.id, "status": row.status, "at": row.asked_at, "error": row.error, "duration_ms": lasted}
    return SessionCall(kind="tool", name=f"{row.server}/{row.tool}", cost_usd=None, **same)


def _model_call(row: Row[Any]) -> SessionCall:
    same = {"id": row.id, "status": row.status, "at": row.at, "error": row.error_class, "duration_ms": row.total_ms}
    cost = None if row.cost_nano is None else money.usd(row.cost_nano)
    return SessionCall(kind="model", name=row.alias, cost_usd=cost, **same)


async def _seen(db: Database, ids: Sequence[str]) -> dict[str, datetime]:
    """When each called a tool or a model last."""
    asked = sa.select(tool_calls.c.session_id, sa.func.max(tool_calls.c.asked_at).label("at"))
    thought = sa.select(entries.c.session_id, sa.func.max(entries.c.at).label("at"))
    found: dict[str, datetime] = {}
    for question, column in ((asked, tool_calls.c.session_id), (thought, entries.c.session_id)):
        for row in await db.read(question.where(column.in_(ids)).group_by(column)):
            found[row.session_id] = max(row.at, found.get(row.session_id, row.at))
    return found


async def revoke_session(request: Request, person: Person) -> shapes.Session:
    """End a session: its token is worth nothing at once, its open calls are answered."""
    given, id_ = parts(request), request.path_params["id"]
    await _find(given.db, person.account_id, id_)
    await given.db.write(lambda tx: identity.revoke(tx, id_, by=person.email))
    [told] = await _told(given.db, [await _find(given.db, person.account_id, id_)])
    return told


async def sessions_page(request: Request, person: Person) -> Response:
    """Those that are alive, or all of them by `?state=all`."""
    state = request.query_params.get("state", "active")
    listed = await _listed(request, person, state)
    seen = await _seen(parts(request).db, [one.id for one in listed.items])
    return page(request, "sessions.html", person, listed=listed, seen=seen, state=state)


async def session_page(request: Request, person: Person) -> Response:
    return page(request, "session.html", person, session=await get_session(request, person))


async def revoked(request: Request, person: Person) -> Response:
    await revoke_session(request, person)
    return RedirectResponse(f"/sessions/{request.path_params['id']}", 303)


routes = [
    Route("/sessions", auth.shown(sessions_page), methods=["GET"]),
    Route("/sessions/{id}", auth.shown(session_page), methods=["GET"]),
    Route("/sessions/{id}/revoke", auth.shown(revoked, Role.OPERATOR), methods=["POST"]),
]
operations = [
    Operation(
        method="GET",
        path="/sessions",
        summary="Runtime sessions, newest first",
        run=list_sessions,
        answers=shapes.Listed[shapes.Session],
        query=("state", *paging.QUERY),
    ),
    Operation(
        method="GET",
        path="/sessions/{id}",
        summary="One session, with its latest calls",
        run=get_session,
        answers=SessionDetail,
    ),
    Operation(
        method="POST",
        path="/sessions/{id}/revoke",
        summary="End a session",
        run=revoke_session,
        answers=shapes.Session,
        role=Role.OPERATOR,
    ),
]
