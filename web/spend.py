"""Spend: what model calls cost, by day, flow, model or principal. No price is shown as unpriced, never as zero."""

from datetime import UTC, date, timedelta
from typing import get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.identity.principals import Person
from kit.errors import Invalid
from ledger import reports
from web import auth, costs, inputs, shapes
from web.openapi import Operation
from web.parts import parts
from web.render import page

GROUPS = ("day", "flow", "model", "alias", "principal", "execution_id")


async def get_spend(request: Request, person: Person) -> shapes.Spend:
    """`?by=flow&days=30`; today is the last day, in UTC."""
    given = parts(request)
    group = request.query_params.get("by", "day")
    if group not in GROUPS or group not in get_args(reports.Group):
        raise Invalid("query_invalid", f"by={group[:40]!r} is no grouping.", f"There are {', '.join(GROUPS)}.")
    last: date = given.clock.now().astimezone(UTC).date()
    first = last - timedelta(days=max(1, inputs.number(request, "days", 30, most=366)) - 1)
    total = costs.of(await reports.of_days(given.db, person.account_id, first, last))
    return shapes.Spend(
        by=group,
        first=first.isoformat(),
        last=last.isoformat(),
        total_usd=total.usd,
        unpriced_calls=total.unpriced,
        items=await costs.lines(given.db, person.account_id, group, first, last),  # type: ignore[arg-type]
    )


async def spend_page(request: Request, person: Person) -> Response:
    return page(request, "spend.html", person, spend=await get_spend(request, person), groups=GROUPS)


routes = [Route("/spend", auth.shown(spend_page), methods=["GET"])]
operations = [
    Operation(
        method="GET",
        path="/spend",
        summary="What model calls cost",
        run=get_spend,
        answers=shapes.Spend,
        query=("by", "days"),
    )
]
