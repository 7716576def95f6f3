"""Standing yeses through REST: list them, give one after an approval, take one back."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.routing import Route

from control.approvals import standing
from control.approvals.standing import Scope
from control.identity.principals import Person, Role
from control.tables import grants
from kit.db import Database
from kit.errors import Missing
from web import inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.shapes import Listed
from web.verdicts import approver_of, came_from

MOST = 100


class Grant(BaseModel):
    """`live` while it still lets calls pass."""

    id: str
    session_id: str
    approval_id: str | None
    server: str
    tool: str
    condition: str | None
    digest: str | None
    uses_left: int | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    live: bool


class NewGrant(inputs.Body):
    """After an approval: the same call again (`exact`), or every call of that tool in that session that a CEL condition
    accepts."""

    approval_id: str
    exact: bool = True
    condition: str | None = Field(default=None, max_length=2000)
    uses: int = Field(default=1, ge=1, le=standing.MOST_USES)
    minutes: int = Field(default=60, ge=1, le=24 * 60)


async def listed(db: Database, account_id: str, now: datetime, *only: sa.ColumnElement[bool]) -> list[Grant]:
    """The newest 100 of which something is so, newest first."""
    mine = sa.select(grants).where(grants.c.account_id == account_id, *only)
    return [_shape(row, now) for row in await db.read(mine.order_by(grants.c.id.desc()).limit(MOST))]


def _shape(row: Row[Any], now: datetime) -> Grant:
    live = row.revoked_at is None and row.expires_at > now and row.uses_left != 0
    return Grant(**{name: getattr(row, name) for name in Grant.model_fields.keys() - {"live"}}, live=live)


async def list_grants(request: Request, person: Person) -> Listed[Grant]:
    given, session = parts(request), request.query_params.get("session")
    asked = sa.select(grants).where(grants.c.account_id == person.account_id)
    if session:
        asked = asked.where(grants.c.session_id == session)
    rows, further = await paging.read(given.db, asked, paging.wanted(request), grants.c.id, newest_first=True)
    return Listed(items=[_shape(row, given.clock.now()) for row in rows], next=further)


async def _one(request: Request, person: Person, grant_id: str) -> Grant:
    given = parts(request)
    found = await listed(given.db, person.account_id, given.clock.now(), grants.c.id == grant_id)
    if not found:
        raise Missing("grant_unknown", f"There is no standing yes {grant_id[:60]}.", "GET /api/v1/grants lists them.")
    return found[0]


async def give_grant(request: Request, person: Person) -> Grant:
    given, asked = parts(request), await inputs.body(request, NewGrant)
    approver, via = approver_of(given, person), came_from(request, "signed in")
    scope = Scope(exact=asked.exact, condition=asked.condition, uses=asked.uses, lasts=timedelta(minutes=asked.minutes))
    grant_id = await given.db.write(
        lambda tx: standing.give(
            tx,
            person.account_id,
            asked.approval_id,
            approver=approver.id,
            scope=scope,
            directory=given.desk.directory,
            via=via,
        )
    )
    return await _one(request, person, grant_id)


async def revoke_grant(request: Request, person: Person) -> Grant:
    grant_id = request.path_params["id"]
    await revoke(request, person, grant_id)
    return await _one(request, person, grant_id)


async def revoke(request: Request, person: Person, grant_id: str) -> None:
    await parts(request).db.write(lambda tx: standing.revoke(tx, person.account_id, grant_id, by=person.email))


operations = [
    Operation(
        method="GET",
        path="/grants",
        summary="Standing yeses, newest first",
        run=list_grants,
        answers=Listed[Grant],
        query=("session", *paging.QUERY),
    ),
    Operation(
        method="POST",
        path="/grants",
        summary="A standing yes that follows an approval",
        run=give_grant,
        takes=NewGrant,
        answers=Grant,
        role=Role.APPROVER,
        status=201,
        refuses=(404,),
    ),
    Operation(
        method="POST",
        path="/grants/{id}/revoke",
        summary="Take a standing yes back",
        run=revoke_grant,
        answers=Grant,
        role=Role.APPROVER,
    ),
]
routes: list[Route] = []
