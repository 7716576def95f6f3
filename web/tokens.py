"""Tokens: for programs that act for a person, and for agents that somebody enrolled."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.flows import catalog
from control.identity import accounts, sessions
from control.identity.principals import Person, Role
from control.tables import tokens, users
from kit.db import Tx
from kit.errors import Fault, Invalid
from web import auth, inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.render import page
from web.shapes import Listed

MOST_DAYS = 365


class NewToken(inputs.Body):
    """An API token that acts for you, or with `flow` a token for an agent of your own with that flow's tools."""

    name: str = Field(min_length=1, max_length=200)
    flow: str | None = None
    days: int = Field(default=30, ge=1, le=MOST_DAYS)


class KnownToken(BaseModel):
    """A token without its secret, which nobody has but its holder."""

    id: str
    kind: str
    name: str
    owner: str | None
    """The address of whoever it acts for; None when they were removed."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Token(BaseModel):
    """`token` is shown once."""

    token: str
    session_id: str | None = None


async def create_token(request: Request, person: Person) -> Token:
    """With `flow` this enrolls an agent: a session of its own, with the flow's tools, model and budget."""
    return await _made(request, person, await inputs.body(request, NewToken))


async def _made(request: Request, person: Person, asked: NewToken) -> Token:
    lasts = timedelta(days=asked.days)

    def unit(tx: Tx) -> Token:
        if asked.flow is None:
            return Token(token=accounts.issue(tx, person.user_id, "api", lasts=lasts, name=asked.name))
        _, flow = catalog.find(tx, person.account_id, asked.flow)
        until = tx.now() + lasts
        session_id, clear = sessions.enroll(
            tx, person.account_id, name=f"agent:{asked.name}", charter=flow.charter(), until=until, owner=person.user_id
        )
        return Token(token=clear, session_id=session_id)

    return await parts(request).db.write(unit)


async def list_tokens(request: Request, person: Person) -> Listed[KnownToken]:
    """Those of programs and of enrolled agents, newest first: everybody's for an admin, else one's own."""
    page = paging.wanted(request)
    rows, further = await paging.read(parts(request).db, _seen_by(person), page, tokens.c.id, newest_first=True)
    return Listed(items=[KnownToken.model_validate(row._mapping) for row in rows], next=further)


def _seen_by(person: Person) -> sa.Select[Any]:
    whose = sa.select(tokens, users.c.email.label("owner")).outerjoin(users, users.c.id == tokens.c.user_id)
    seen = whose.where(tokens.c.account_id == person.account_id, tokens.c.kind.in_(accounts.HELD))
    return seen if person.may(Role.ADMIN) else seen.where(tokens.c.user_id == person.user_id)


async def revoke_token(request: Request, person: Person) -> KnownToken:
    """An admin ends anybody's; to others a token that isn't theirs is unknown."""
    given, id_ = parts(request), request.path_params["id"]
    owner = None if person.may(Role.ADMIN) else person.user_id
    await given.db.write(lambda tx: sessions.revoke_token(tx, person.account_id, id_, by=person.email, owner=owner))
    [row] = await given.db.read(_seen_by(person).where(tokens.c.id == id_))
    return KnownToken.model_validate(row._mapping)


async def tokens_page(request: Request, person: Person) -> Response:
    return await _page(request, person)


async def _page(request: Request, person: Person, *, fault: Fault | None = None, **filled: object) -> Response:
    """`filled` is what a refused form had, and `made` is shown this once."""
    values = {"made": None, "name": "", "flow": "", "days": "30"} | filled
    values |= {"everybody": person.may(Role.ADMIN), "local": accounts.LOCAL, "fault": fault}
    listed, status = await list_tokens(request, person), fault.status if fault else 200
    return page(request, "tokens.html", person, status=status, listed=listed, **values)


async def made(request: Request, person: Person) -> Response:
    """The token is in the answer and nowhere else."""
    fields = await inputs.form(request)
    name, flow, days = (fields.get(key, "").strip()[:200] for key in ("name", "flow", "days"))
    try:
        if not (name and days.isascii() and days.isdecimal() and len(days) < 4 and 1 <= int(days) <= MOST_DAYS):
            raise Invalid("form_invalid", f"A token has a name, and lasts 1 to {MOST_DAYS} days.")
        asked = NewToken(name=name, flow=flow or None, days=int(days))
        return await _page(request, person, made=await _made(request, person, asked))
    except Fault as fault:
        return await _page(request, person, fault=fault, name=name, flow=flow, days=days)


async def revoked(request: Request, person: Person) -> Response:
    await revoke_token(request, person)
    return RedirectResponse("/settings/tokens", 303)


operations = [
    Operation(
        method="GET",
        path="/tokens",
        summary="Tokens of programs and enrolled agents, newest first",
        run=list_tokens,
        answers=Listed[KnownToken],
        role=Role.OPERATOR,
        query=paging.QUERY,
    ),
    Operation(
        method="POST",
        path="/tokens",
        summary="A token for a program or for an agent of your own",
        run=create_token,
        takes=NewToken,
        answers=Token,
        role=Role.OPERATOR,
        status=201,
        secret=True,
        refuses=(404,),
    ),
    Operation(
        method="POST",
        path="/tokens/{id}/revoke",
        summary="End a token, and the session of an enrolled agent with it",
        run=revoke_token,
        answers=KnownToken,
        role=Role.OPERATOR,
    ),
]
routes = [
    Route("/settings/tokens", auth.shown(tokens_page, Role.OPERATOR), methods=["GET"]),
    Route("/settings/tokens", auth.shown(made, Role.OPERATOR), methods=["POST"]),
    Route("/settings/tokens/{id}/revoke", auth.shown(revoked, Role.OPERATOR), methods=["POST"]),
]
