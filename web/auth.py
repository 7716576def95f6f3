"""Who is looking: the browser's cookie, an API token, the sign-in page, and which role a handler needs.

A sign-in link does nothing when it is opened (mail scanners open links): the page it shows has a button that spends it.
Runtime tokens and enrolled agents' tokens are nobody here.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import quote, urlsplit

import anyio
import sqlalchemy as sa
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from control import events
from control.identity import accounts
from control.identity.principals import Person, Role
from control.tables import tokens
from kit import tokens as mechanics
from kit.asgi import bearer
from kit.db import Tx
from kit.errors import Fault, Refused, Unauthorized
from web import frame, inputs
from web.parts import parts
from web.render import page

Handler = Callable[[Request, Person], Awaitable[Response]]
hashing = anyio.Semaphore(2)
"""Passwords checked at once: argon2 is slow on purpose, and a flood of guesses must not stand in everybody's way."""


def cookie_name(connection: HTTPConnection) -> str:
    return named(secure=parts(connection).settings.secure)


def named(*, secure: bool) -> str:
    """The cookie's name; under https a browser binds it to this host alone."""
    return "__Host-preloop" if secure else "preloop"


async def person(connection: HTTPConnection) -> Person:
    """Who asks, or Unauthorized. A header, if there is one, decides alone."""
    token = bearer(connection.headers)
    if token is not None:
        return await accounts.person(parts(connection).db, token, "api")
    return await accounts.person(parts(connection).db, connection.cookies.get(cookie_name(connection), ""), "cookie")


def need(someone: Person, role: Role) -> None:
    if not someone.may(role):
        raise Refused(
            "role_too_low",
            f"This needs the role {role.value}; you are {someone.role.value}.",
            "An admin can change roles.",
        )


def shown(handler: Handler, role: Role = Role.VIEWER) -> Callable[[Request], Awaitable[Response]]:
    """A page for people of at least this role; a browser without a cookie is sent to sign in and comes back."""
    return partial(_shown, handler, role)


async def _shown(handler: Handler, role: Role, request: Request) -> Response:
    try:
        someone = await person(request)
    except Unauthorized:
        if bearer(request.headers) is not None:
            raise
        if request.method not in {"GET", "HEAD"}:
            late = Unauthorized(
                "signed_out", "You were signed out meanwhile: nothing was changed.", "Sign in, and do it again."
            )
            return sign_in_face(request, _came_from(request), fault=late)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/signin?next={quote(asked, safe='')}", 303)
    need(someone, role)
    request.state.waiting = await frame.count_waiting(parts(request).db, someone.account_id)
    return await handler(request, someone)


def _came_from(request: Request) -> str:
    """The page of ours with the form that was sent, "/" where the browser does not say."""
    sent = urlsplit(request.headers.get("referer", ""))
    mine = sent.netloc == request.url.netloc
    return inputs.local(sent.path + (f"?{sent.query}" if sent.query else "")) if mine else "/"


def opened_by(routes: Sequence[BaseRoute]) -> dict[str, Role]:
    """Paths of pages, each with the role that opens it."""
    found: dict[str, Role] = {}
    for route in routes:
        if isinstance(route, Route) and "GET" in (route.methods or ()):
            page_of = route.endpoint
            if isinstance(page_of, partial) and page_of.func is _shown:
                found[route.path] = page_of.args[1]
    return found


async def sign_in_page(request: Request) -> Response:
    token, further = request.query_params.get("token", ""), inputs.local(request.query_params.get("next", "/"))
    return sign_in_face(request, further, token=token)


def sign_in_face(
    request: Request, further: str, *, fault: Fault | None = None, email: str = "", token: str = ""
) -> Response:
    """The page to sign in on, with why it was refused."""
    oidc = parts(request).settings.oidc
    return page(
        request,
        "signin.html",
        status=fault.status if fault else 200,
        fault=fault,
        email=email,
        token=token,
        next=further,
        outside=oidc.label if oidc else "",
    )


async def sign_in(request: Request) -> Response:
    """Spend a link's token, or check a password; then the cookie, and on to where one wanted to go."""
    fields = await inputs.form(request)
    token, email = fields.get("token", ""), fields.get("email", "").strip()
    further = inputs.local(fields.get("next", "/"))
    db, account_id = parts(request).db, parts(request).account_id
    try:
        if token:
            clear = await db.write(lambda tx: accounts.redeem(tx, token))
        else:
            async with hashing:
                clear = await accounts.by_password(db, account_id, email, fields.get("password", ""))
    except Fault as fault:
        return sign_in_face(request, further, fault=fault, email=email)
    answer = RedirectResponse(further, 303)
    set_cookie(request, answer, clear)
    return answer


def set_cookie(request: Request, answer: Response, clear: str) -> None:
    answer.set_cookie(
        cookie_name(request),
        clear,
        max_age=int(accounts.COOKIE_FOR.total_seconds()),
        path="/",
        secure=parts(request).settings.secure,
        httponly=True,
        samesite="lax",
    )


async def sign_out(request: Request) -> Response:
    clear = request.cookies.get(cookie_name(request), "")
    await parts(request).db.write(lambda tx: _revoke_cookie(tx, clear))
    answer = RedirectResponse("/signin", 303)
    answer.delete_cookie(cookie_name(request), path="/", secure=parts(request).settings.secure, httponly=True)
    return answer


def _revoke_cookie(tx: Tx, clear: str) -> None:
    mine = (tokens.c.hash == mechanics.digest(clear)) & (tokens.c.kind == "cookie") & tokens.c.revoked_at.is_(None)
    row = tx.execute(sa.update(tokens).where(mine).values(revoked_at=tx.now()).returning(tokens)).first()
    if row:
        events.append(tx, row.account_id, events.ACCOUNT, "token.revoked", kind="cookie", user=row.user_id)
        tx.wake(accounts.topic(row.user_id))


routes = [
    Route("/signin", sign_in_page, methods=["GET"]),
    Route("/signin", sign_in, methods=["POST"]),
    Route("/signout", sign_out, methods=["POST"]),
]
