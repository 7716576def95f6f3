"""Runtime sessions: which agents may speak to us now, ours and enrolled ones."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity.principals import Person
from web import auth, reading, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page


async def list_sessions(request: Request, person: Person) -> shapes.Listed[shapes.Session]:
    return shapes.Listed(items=await reading.sessions_listed(parts(request).db, person.account_id))


async def sessions_page(request: Request, person: Person) -> Response:
    return page(request, "sessions.html", person, sessions=(await list_sessions(request, person)).items)


routes = [Route("/sessions", auth.shown(sessions_page), methods=["GET"])]
operations = [
    Operation(
        method="GET",
        path="/sessions",
        summary="Runtime sessions, newest first",
        run=list_sessions,
        answers=shapes.Listed[shapes.Session],
    )
]
