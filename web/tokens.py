"""Tokens through REST: for programs that act for a person, and for agents that somebody enrolled."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control.flows import catalog
from control.identity import accounts, sessions
from control.identity.principals import Person, Role
from control.tables import tokens
from kit.db import Tx
from web import inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.shapes import Listed


class NewToken(inputs.Body):
    """An API token that acts for you, or with `flow` a token for an agent of your own with that flow's tools."""

    name: str = Field(min_length=1, max_length=200)
    flow: str | None = None
    days: int = Field(default=30, ge=1, le=365)


class KnownToken(BaseModel):
    """A token without its secret, which nobody has but its holder."""

    id: str
    kind: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Token(BaseModel):
    """`token` is shown once."""

    token: str
    session_id: str | None = None


async def create_token(request: Request, person: Person) -> Token:
    """With `flow` this enrolls an agent: a session of its own, with the flow's tools, model and budget."""
    given, asked = parts(request), await inputs.body(request, NewToken)
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

    return await given.db.write(unit)


async def list_tokens(request: Request, person: Person) -> Listed[KnownToken]:
    """Those of programs and of enrolled agents, newest first."""
    page, kinds = paging.wanted(request), tokens.c.kind.in_(["api", "enrolled"])
    mine = sa.select(tokens).where(tokens.c.account_id == person.account_id, kinds)
    rows, further = await paging.read(parts(request).db, mine, page, tokens.c.id, newest_first=True)
    return Listed(items=[KnownToken.model_validate(row._mapping) for row in rows], next=further)


async def revoke_token(request: Request, person: Person) -> KnownToken:
    given, id_ = parts(request), request.path_params["id"]
    await given.db.write(lambda tx: sessions.revoke_token(tx, person.account_id, id_, by=person.email))
    [row] = await given.db.read(sa.select(tokens).where(tokens.c.id == id_))
    return KnownToken.model_validate(row._mapping)


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
routes: list[Route] = []
