"""Runtime sessions: which agents may speak to us now, ours and enrolled ones."""

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity import sessions as identity
from control.identity.principals import Person, Role
from control.tables import sessions as runtime
from kit.db import Tx
from kit.errors import Missing
from web import auth, paging, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page


async def list_sessions(request: Request, person: Person) -> shapes.Listed[shapes.Session]:
    return await reading.sessions_listed(parts(request).db, person.account_id, paging.wanted(request))


async def revoke_session(request: Request, person: Person) -> shapes.Session:
    """End a session: its token is worth nothing at once, its open calls are answered."""
    given, id_ = parts(request), request.path_params["id"]

    def unit(tx: Tx) -> None:
        mine = (runtime.c.id == id_) & (runtime.c.account_id == person.account_id)
        if tx.one(sa.select(runtime.c.id).where(mine)) is None:
            raise Missing("session_unknown", f"There is no session {id_}.", "`preloop sessions list` shows them.")
        identity.revoke(tx, id_)

    await given.db.write(unit)
    return await reading.session(given.db, person.account_id, id_)


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
