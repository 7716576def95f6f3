"""Runtime sessions: which agents may speak to us now, ours and enrolled ones."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity import charter as charters
from control.identity import sessions as identity
from control.identity.principals import Person, Role
from control.tables import sessions as runtime
from control.tables import tokens, users
from kit.db import Database, Tx
from kit.errors import Missing
from web import auth, paging, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page


async def list_sessions(request: Request, person: Person) -> shapes.Listed[shapes.Session]:
    """What was enrolled and never used is no session yet, but a token."""
    db = parts(request).db
    asked = sa.select(runtime).where(runtime.c.account_id == person.account_id, runtime.c.opened_at.is_not(None))
    rows, further = await paging.read(db, asked, paging.wanted(request), runtime.c.id, newest_first=True)
    return shapes.Listed(items=await _told(db, rows), next=further)


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


async def revoke_session(request: Request, person: Person) -> shapes.Session:
    """End a session: its token is worth nothing at once, its open calls are answered."""
    given, id_ = parts(request), request.path_params["id"]

    def unit(tx: Tx) -> None:
        mine = (runtime.c.id == id_) & (runtime.c.account_id == person.account_id)
        if tx.one(sa.select(runtime.c.id).where(mine)) is None:
            raise Missing("session_unknown", f"There is no session {id_}.", "`preloop sessions list` shows them.")
        identity.revoke(tx, id_, by=person.email)

    await given.db.write(unit)
    [told] = await _told(given.db, await given.db.read(sa.select(runtime).where(runtime.c.id == id_)))
    return told


async def sessions_page(request: Request, person: Person) -> Response:
    return page(request, "sessions.html", person, listed=await list_sessions(request, person))


routes = [Route("/sessions", auth.shown(sessions_page), methods=["GET"])]
operations = [
    Operation(
        method="GET",
        path="/sessions",
        summary="Runtime sessions, newest first",
        run=list_sessions,
        answers=shapes.Listed[shapes.Session],
        query=paging.QUERY,
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
