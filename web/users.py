"""People: who may sign in, and as what; an admin invites, changes and removes them."""

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.approvals.directory import Directory
from control.identity import accounts, people
from control.identity.principals import Person, Role
from control.tables import users
from kit.db import Tx
from kit.errors import Fault
from web import auth, inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.render import page
from web.shapes import Listed

ROLES = {
    Role.VIEWER: "looks",
    Role.APPROVER: "decides what they are asked",
    Role.OPERATOR: "starts, cancels and changes flows",
    Role.ADMIN: "everything, people and settings too",
}


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
    """`sign_in` is shown once: a link for the person, good once and for an hour."""

    id: str
    sign_in: str


class UserChange(inputs.Body):
    role: Role


class Removed(BaseModel):
    id: str


async def list_users(request: Request, person: Person) -> Listed[User]:
    """By address."""
    mine = sa.select(users).where(users.c.account_id == person.account_id)
    rows, further = await paging.read(parts(request).db, mine, paging.wanted(request), users.c.email)
    items = [User(id=row.id, email=row.email, name=row.name, role=row.role) for row in rows]
    return Listed(items=items, next=further)


async def add_user(request: Request, person: Person) -> Added:
    return await _added(request, person, await inputs.body(request, NewUser))


async def _added(request: Request, person: Person, asked: NewUser) -> Added:
    def unit(tx: Tx) -> Added:
        name = asked.name or asked.email.partition("@")[0]
        user_id = accounts.add_user(tx, person.account_id, email=asked.email, name=name, role=asked.role)
        return _invited(tx, request, person, user_id)

    return await parts(request).db.write(unit)


def _invited(tx: Tx, request: Request, person: Person, user_id: str) -> Added:
    link = people.invite(tx, person.account_id, user_id)
    return Added(id=user_id, sign_in=f"{parts(request).settings.url}/signin?token={link}")


async def invite_user(request: Request, person: Person) -> Added:
    """Another sign-in link; the ones before it open nothing any more."""
    id_ = request.path_params["id"]
    return await parts(request).db.write(lambda tx: _invited(tx, request, person, id_))


async def change_user(request: Request, person: Person) -> User:
    asked, id_ = await inputs.body(request, UserChange), request.path_params["id"]
    db = parts(request).db
    await db.write(lambda tx: people.change_role(tx, person.account_id, id_, asked.role, by=person.email))
    [row] = await db.read(sa.select(users).where(users.c.id == id_))
    return User(id=row.id, email=row.email, name=row.name, role=row.role)


async def remove_user(request: Request, person: Person) -> Removed:
    """Their tokens are worth nothing at once; agents that they enrolled end."""
    id_ = request.path_params["id"]
    await parts(request).db.write(lambda tx: people.remove(tx, person.account_id, id_, by=person.email))
    return Removed(id=id_)


async def people_page(request: Request, person: Person) -> Response:
    return await _page(request, person)


async def _page(request: Request, person: Person, *, fault: Fault | None = None, **filled: object) -> Response:
    """`filled` is what a refused form had, and `added` is shown this once."""
    values = {"added": None, "email": "", "role": Role.VIEWER} | filled
    values |= {"roles": ROLES, "approvers": _approvers(parts(request).desk.directory), "fault": fault}
    status, listed = fault.status if fault else 200, await list_users(request, person)
    return page(request, "people.html", person, status=status, listed=listed, **values)


def _approvers(directory: Directory) -> dict[str, list[str]]:
    """Ids in preloop.toml by address in small letters; '' has those that anybody may answer for."""
    found: dict[str, list[str]] = {}
    for one in directory.approvers.values():
        found.setdefault(one.email.lower(), []).append(one.id)
    return found


async def invited(request: Request, person: Person) -> Response:
    """A new person, or another link for one who is here; the link is in the answer and nowhere else."""
    if "id" in request.path_params:
        return await _page(request, person, added=await invite_user(request, person))
    fields = await inputs.form(request)
    email, role = fields.get("email", "").strip(), fields.get("role", Role.VIEWER)
    try:
        asked = NewUser(email=email[:200], role=inputs.choice(role, Role))
        return await _page(request, person, added=await _added(request, person, asked))
    except Fault as fault:
        return await _page(request, person, fault=fault, email=email, role=role)


async def adjusted(request: Request, person: Person) -> Response:
    """Another role, or none here any more."""
    fields, id_ = await inputs.form(request), request.path_params["id"]
    try:
        if fields.get("remove"):
            await remove_user(request, person)
        else:
            role, by = inputs.choice(fields.get("role", ""), Role), person.email
            await parts(request).db.write(lambda tx: people.change_role(tx, person.account_id, id_, role, by=by))
    except Fault as fault:
        return await _page(request, person, fault=fault)
    return RedirectResponse("/" if id_ == person.user_id else "/settings/people", 303)


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
    Operation(
        method="PATCH",
        path="/users/{id}",
        summary="Change a person's role",
        run=change_user,
        takes=UserChange,
        answers=User,
        role=Role.ADMIN,
        refuses=(409,),
    ),
    Operation(
        method="POST",
        path="/users/{id}/link",
        summary="A new sign-in link for a person",
        run=invite_user,
        answers=Added,
        role=Role.ADMIN,
        status=201,
        secret=True,
    ),
    Operation(
        method="POST",
        path="/users/{id}/remove",
        summary="Remove a person, and end their tokens and agents",
        run=remove_user,
        answers=Removed,
        role=Role.ADMIN,
        refuses=(409,),
    ),
]
routes = [
    Route("/settings/people", auth.shown(people_page, Role.ADMIN), methods=["GET"]),
    Route("/settings/people", auth.shown(invited, Role.ADMIN), methods=["POST"]),
    Route("/settings/people/{id}", auth.shown(adjusted, Role.ADMIN), methods=["POST"]),
    Route("/settings/people/{id}/link", auth.shown(invited, Role.ADMIN), methods=["POST"]),
]
