"""People through REST: who may sign in, and as what."""

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control.identity import accounts
from control.identity.principals import Person, Role
from control.tables import users
from kit.db import Tx
from web import inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.shapes import Listed


class User(BaseModel):
    id: str
    email: str
    name: str
    role: Role


class NewUser(inputs.Body):
    email: str = Field(max_length=200)
    name: str = Field(default="", max_length=200)
    role: Role = Role.VIEWER


class Added(BaseModel):
    """`sign_in` is shown once: a link for the new person, good for an hour."""

    id: str
    sign_in: str


async def list_users(request: Request, person: Person) -> Listed[User]:
    """By address."""
    mine = sa.select(users).where(users.c.account_id == person.account_id)
    rows, further = await paging.read(parts(request).db, mine, paging.wanted(request), users.c.email)
    items = [User(id=row.id, email=row.email, name=row.name, role=row.role) for row in rows]
    return Listed(items=items, next=further)


async def add_user(request: Request, person: Person) -> Added:
    given, asked = parts(request), await inputs.body(request, NewUser)

    def unit(tx: Tx) -> Added:
        name = asked.name or asked.email.partition("@")[0]
        user_id = accounts.add_user(tx, person.account_id, email=asked.email, name=name, role=asked.role)
        link = accounts.issue(tx, user_id, "sign_in", lasts=accounts.SIGN_IN_FOR)
        return Added(id=user_id, sign_in=f"{given.settings.url}/signin?token={link}")

    return await given.db.write(unit)


operations = [
    Operation(
        method="GET",
        path="/users",
        summary="People, by address",
        run=list_users,
        answers=Listed[User],
        role=Role.ADMIN,
        query=paging.QUERY,
    ),
    Operation(
        method="POST",
        path="/users",
        summary="Add a person",
        run=add_user,
        takes=NewUser,
        answers=Added,
        role=Role.ADMIN,
        status=201,
        secret=True,
    ),
]
routes: list[Route] = []
