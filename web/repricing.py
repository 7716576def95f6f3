"""Repricing through REST: calls of a period are billed anew, by entries that name the old ones."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.routing import Route

from control import events
from control.identity.principals import Person, Role
from kit import canonical
from kit.db import Lane, Tx
from kit.errors import Invalid, Missing
from ledger import corrections, money, price_list, prices
from ledger.corrections import Repriced
from ledger.prices import CLASSES, Price
from ledger.tables import entries
from web import inputs, periods
from web.openapi import Operation
from web.parts import parts

MOST_BATCHES = 50
"""Of 200 entries each, in one request; `next` goes on."""


class Reprice(inputs.Body):
    """Which calls, and at what: `usd_per_mtok` has dollars per million tokens by class (`input` and `output` at least);
    without it the list price of this release. `dry_run` only tells what would be done."""

    provider: str = Field(min_length=1, max_length=60)
    model: str = Field(min_length=1, max_length=200)
    since: str = "month"
    until: str = ""
    usd_per_mtok: dict[str, str] | None = None
    dry_run: bool = False
    cursor: str = Field(default="", max_length=40)


class Corrected(BaseModel):
    """`billed_usd` is what the calls stood at before; `next` is the `cursor` to go on with, where there were more calls
    than one request takes."""

    first: str
    last: str
    calls: int
    corrected: int
    billed_usd: str
    delta_usd: str
    price_version: str
    dry_run: bool
    next: str | None


async def reprice(request: Request, person: Person) -> Corrected:
    wanted, given = await inputs.body(request, Reprice), parts(request)
    first, last = periods.period(wanted.since, wanted.until, given.clock.now().astimezone(UTC).date())
    price = _price(wanted)
    which = (
        (entries.c.account_id == person.account_id)
        & entries.c.day.between(first.isoformat(), last.isoformat())
        & (entries.c.provider == wanted.provider)
        & (entries.c.model == wanted.model)
    )
    told = {"provider": wanted.provider, "model": wanted.model, "price": price.version, "by": person.name}
    batches: list[Repriced] = []
    while len(batches) < MOST_BATCHES and (not batches or batches[-1].last):
        after = batches[-1].last if batches else wanted.cursor
        unit = _unit(which, price, after or "", None if wanted.dry_run else (person.account_id, told))
        batches.append(await given.db.write(unit, lane=Lane.BULK))
    return Corrected(
        first=first.isoformat(),
        last=last.isoformat(),
        calls=sum(batch.seen for batch in batches),
        corrected=sum(batch.corrected for batch in batches),
        billed_usd=money.usd(sum(batch.stands_nano for batch in batches)),
        delta_usd=money.usd(sum(batch.delta_nano for batch in batches)),
        price_version=price.version,
        dry_run=wanted.dry_run,
        next=batches[-1].last,
    )


def _unit(
    which: sa.ColumnElement[bool], price: Price, after: str, told: tuple[str, dict[str, Any]] | None
) -> Callable[[Tx], Repriced]:
    """One batch; `told` of its account, unless nothing is to be written."""

    def unit(tx: Tx) -> Repriced:
        done = corrections.reprice(tx, which, price, after=after, write=told is not None)
        if told and done.corrected:
            account_id, data = told
            figures = {"entries": done.corrected, "delta_nano": done.delta_nano}
            events.append(tx, account_id, events.ACCOUNT, "spend.repriced", **data, **figures)
        return done

    return unit


def _price(wanted: Reprice) -> Price:
    given = wanted.usd_per_mtok
    if given is None:
        listed = price_list.read().price(wanted.provider, wanted.model)
        if listed is None:
            raise Missing(
                "price_unknown",
                f"{wanted.provider}/{wanted.model} is not in the price list.",
                "Say `usd_per_mtok`, with input and output at least.",
            )
        return listed
    if unknown := sorted(set(given) - set(CLASSES)):
        raise Invalid(
            "body_invalid", f"usd_per_mtok: {unknown[0][:40]!r} is no class.", f"There are {', '.join(CLASSES)}."
        )
    if not {"input", "output"} <= given.keys():
        raise Invalid("body_invalid", "usd_per_mtok: input and output are both needed.")
    version = f"repriced:{canonical.digest(given)[:12]}"
    return prices.price_of(version=version, **{f"{name}_usd": dollars for name, dollars in given.items()})


routes: list[Route] = []
operations = [
    Operation(
        method="POST",
        path="/spend/reprice",
        summary="Bill calls anew, by entries that correct the old ones",
        run=reprice,
        takes=Reprice,
        answers=Corrected,
        role=Role.ADMIN,
        refuses=(404,),
    )
]
