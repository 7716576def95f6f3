"""People and tokens through REST: users, API tokens, and tokens for agents that somebody enrolled."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control.flows import catalog
from control.identity import accounts, sessions
from control.identity.principals import Person, Role
from control.tables import tokens, users
from kit.db import Tx
from web import inputs
from web.openapi import Operation
from web.parts import parts
from web.shapes import Listed


class User(BaseModel):
    id: str
    email: str
    name: str
    role: Role


class NewUser(BaseModel):
    email: str = Field(max_length=200)
    name: str = Field(default="", max_length=200)
    role: Role = Role.VIEWER


class Added(BaseModel):
    """`sign_in` is shown once: a link for the new person, good for an hour."""

    id: str
    sign_in: str


class NewToken(BaseModel):
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


async def list_users(request: Request, person: Person) -> Listed[User]:
    mine = users.c.account_id == person.account_id
    rows = await parts(request).db.read(sa.select(users).where(mine).order_by(users.c.email))
    return Listed(items=[User(id=row.id, email=row.email, name=row.name, role=row.role) for row in rows])


async def add_user(request: Request, person: Person) -> Added:
    given, asked = parts(request), await inputs.body(request, NewUser)

    def unit(tx: Tx) -> Added:
        name = asked.name or asked.email.partition("@")[0]
        user_id = accounts.add_user(tx, person.account_id, email=asked.email, name=name, role=asked.role)
        link = accounts.issue(tx, user_id, "sign_in", lasts=accounts.SIGN_IN_FOR)
        return Added(id=user_id, sign_in=f"{given.settings.url}/signin?token={link}")

    return await given.db.write(unit)


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
    mine = (tokens.c.account_id == person.account_id) & tokens.c.kind.in_(["api", "enrolled"])
    rows = await parts(request).db.read(sa.select(tokens).where(mine).order_by(tokens.c.created_at.desc()))
    return Listed(items=[KnownToken.model_validate(row._mapping) for row in rows])


async def revoke_token(request: Request, person: Person) -> Listed[KnownToken]:
    id_ = request.path_params["id"]
    await parts(request).db.write(lambda tx: sessions.revoke_token(tx, person.account_id, id_))
    return await list_tokens(request, person)


operations = [
    Operation(
        method="GET",
        path="/tokens",
        summary="Tokens of programs and enrolled agents",
        run=list_tokens,
        answers=Listed[KnownToken],
        role=Role.OPERATOR,
    ),
    Operation(
        method="POST",
        path="/tokens/{id}/revoke",
        summary="End a token, and the session of an enrolled agent with it",
        run=revoke_token,
        answers=Listed[KnownToken],
        role=Role.OPERATOR,
    ),
    Operation(method="GET", path="/users", summary="People", run=list_users, answers=Listed[User], role=Role.ADMIN),
    Operation(
        method="POST",
        path="/users",
        summary="Add a person",
        run=add_user,
        takes=NewUser,
        answers=Added,
        role=Role.ADMIN,
        status=201,
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
    ),
]
routes: list[Route] = []
