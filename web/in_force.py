"""What is in force: the operator's settings with the source of each value, and what an admin chose for the account.

Settings change where they stand, in flags, environment and preloop.toml; the account's part changes here.
"""

import json
from datetime import datetime
from typing import Any, Literal, cast

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control.executions import lifecycle, storage
from control.identity import accounts
from control.identity.principals import Person, Role
from control.retention import deletion
from control.retention import rules as retention
from control.tables import accounts as stored
from kit.db import Tx
from web import inputs
from web.openapi import Operation
from web.parts import parts

Source = Literal["flag", "environment", "file", "default"]


class Setting(BaseModel):
    """One value. A secret is a mask: nobody reads it here."""

    key: str
    value: Any
    source: Source


class Retention(BaseModel):
    """Days after an execution's end by class, and the bytes of all together; None keeps for ever. `chosen` are those
    that an admin set for the account; the others are preloop.toml's."""

    logs_days: int | None
    payloads_days: int | None
    results_days: int | None
    bodies_days: int | None
    keep: int | None
    chosen: list[str]


class Storage(BaseModel):
    """What the account's content takes, as it was counted last; `limit` is its plan's, None is none."""

    bytes: int
    by_class: dict[str, int]
    limit: int | None
    counted_at: datetime | None


class Account(BaseModel):
    """None is no limit."""

    plan: str
    plans: list[str]
    slots: int | None
    timeout_s: int | None
    time_zone: str
    retention: Retention
    storage: Storage


class Configured(BaseModel):
    account: Account
    settings: list[Setting]


class AccountChange(inputs.Body):
    """What is not said stays. `retention` changes the keys that it names, with null for ever; null instead of it
    follows preloop.toml again."""

    plan: str | None = Field(default=None, max_length=100)
    time_zone: str | None = Field(default=None, max_length=64)
    retention: dict[str, int | str | None] | None = None


async def get_settings(request: Request, person: Person) -> Configured:
    given = parts(request)
    settings = [Setting.model_validate(setting, from_attributes=True) for setting in given.operated.settings]
    return Configured(account=await _account(request, person), settings=settings)


async def _account(request: Request, person: Person) -> Account:
    given, id_ = parts(request), person.account_id
    [row] = await given.db.read(sa.select(stored).where(stored.c.id == id_))
    kept, used = await deletion.in_force(given.db, id_, given.operated.retention), await storage.usage(given.db, id_)
    return Account(
        plan=row.plan,
        plans=sorted(given.operated.plans),
        slots=row.slots,
        timeout_s=row.timeout_s,
        time_zone=row.time_zone,
        retention=Retention(**retention.said(kept), chosen=sorted(_own(row.retention))),
        storage=Storage(
            bytes=used.total,
            by_class={kind.value: size for kind, size in used.by_kind.items()},
            limit=used.limit,
            counted_at=used.counted_at,
        ),
    )


def _own(text: str | None) -> dict[str, int | str | None]:
    return cast(dict[str, int | str | None], json.loads(text or "{}"))


async def change_settings(request: Request, person: Person) -> Configured:
    """Of the account, by an admin; each change is an event."""
    await change(request, person, await inputs.body(request, AccountChange))
    return await get_settings(request, person)


async def change(request: Request, person: Person, asked: AccountChange) -> None:
    given, id_ = parts(request), person.account_id

    def unit(tx: Tx) -> None:
        accounts.change(tx, id_, given.operated.plans, by=person.email, plan=asked.plan, time_zone=asked.time_zone)
        if "retention" in asked.model_fields_set:
            was = tx.execute(sa.select(stored.c.retention).where(stored.c.id == id_)).scalar_one()
            own = {} if asked.retention is None else _own(was) | asked.retention
            deletion.put(tx, id_, own, by=person.email)
        tx.wake(lifecycle.QUEUE)  # there may be more slots now

    await given.db.write(unit)


operations = [
    Operation(
        method="GET",
        path="/settings",
        summary="What is in force, and where each value came from",
        run=get_settings,
        answers=Configured,
        role=Role.ADMIN,
    ),
    Operation(
        method="PATCH",
        path="/settings",
        summary="Change the account's plan, time zone or retention",
        run=change_settings,
        takes=AccountChange,
        answers=Configured,
        role=Role.ADMIN,
    ),
]
routes: list[Route] = []
