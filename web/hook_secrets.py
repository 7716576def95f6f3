"""The secrets of webhooks through REST: of a flow's own, and of senders with schemes of their own. Shown once."""

from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control.flows import hook_secrets, triggers
from control.flows.hook_secrets import Rotated
from control.identity.principals import Person, Role
from control.tables import senders
from kit.errors import Missing
from web import inputs, paging
from web.openapi import Operation
from web.parts import parts
from web.shapes import Listed


class Rotation(inputs.Body):
    """A new secret. The one before stays good for a day, or with `now` ends at once."""

    now: bool = False


class SenderRotation(Rotation):
    """The same for a sender. `secret` is one that the sender made itself, as GitLab does with signing tokens."""

    secret: str | None = Field(default=None, max_length=200)


class HookSecret(BaseModel):
    """Shown once. The one before it is good until `before_until`; None when it is worth nothing."""

    url: str
    secret: str
    before_until: datetime | None


class Sender(BaseModel):
    """A sender that a secret was made for."""

    kind: Literal["github", "gitlab"]
    url: str
    created_at: datetime
    before_until: datetime | None


async def rotate_secret(request: Request, person: Person) -> HookSecret:
    given, name = parts(request), request.path_params["name"]
    asked = await inputs.body(request, Rotation)
    rotated = await given.db.write(
        lambda tx: hook_secrets.rotate(
            tx, person.account_id, name, sealer=given.sealer, by=person.email, at_once=asked.now
        )
    )
    return _shape(f"{given.settings.url}/hooks/flows/{name}", rotated)


async def rotate_sender(request: Request, person: Person) -> HookSecret:
    given, kind = parts(request), request.path_params["kind"]
    if kind not in triggers.SENDERS:
        raise Missing(
            "sender_unknown", f"There is no sender {kind[:40]!r}.", f"There are {' and '.join(triggers.SENDERS)}."
        )
    asked = await inputs.body(request, SenderRotation)
    rotated = await given.db.write(
        lambda tx: hook_secrets.rotate_sender(
            tx,
            person.account_id,
            kind,
            sealer=given.sealer,
            by=person.email,
            at_once=asked.now,
            given=asked.secret,
        )
    )
    return _shape(f"{given.settings.url}/hooks/{kind}", rotated)


def _shape(url: str, rotated: Rotated) -> HookSecret:
    return HookSecret(url=url, secret=rotated.secret, before_until=rotated.before_until)


async def list_senders(request: Request, person: Person) -> Listed[Sender]:
    """At most one of each kind."""
    given = parts(request)
    mine = sa.select(senders).where(senders.c.account_id == person.account_id)
    rows, further = await paging.read(given.db, mine, paging.wanted(request), senders.c.kind)
    url = f"{given.settings.url}/hooks"
    items = [
        Sender(kind=row.kind, url=f"{url}/{row.kind}", created_at=row.created_at, before_until=row.before_until)
        for row in rows
    ]
    return Listed(items=items, next=further)


operations = [
    Operation(
        method="POST",
        path="/flows/{name}/webhook-secret",
        summary="A new webhook secret",
        run=rotate_secret,
        takes=Rotation,
        answers=HookSecret,
        role=Role.OPERATOR,
        status=201,
        secret=True,
    ),
    Operation(
        method="GET",
        path="/senders",
        summary="GitHub and GitLab, where a secret was made for them",
        run=list_senders,
        answers=Listed[Sender],
        role=Role.OPERATOR,
        query=paging.QUERY,
    ),
    Operation(
        method="POST",
        path="/senders/{kind}/secret",
        summary="A new secret for GitHub's or GitLab's webhooks",
        run=rotate_sender,
        takes=SenderRotation,
        answers=HookSecret,
        role=Role.ADMIN,
        status=201,
        secret=True,
    ),
]
routes: list[Route] = []
