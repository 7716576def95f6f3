"""`preloop spend`: what model calls cost."""

from typing import Annotated

import typer

from kit.errors import Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

MOST_DAYS = 366


def spend(
    by: Annotated[str, typer.Option(help="day, flow, model, alias, principal or execution_id.")] = "flow",
    since: Annotated[str, typer.Option(help="How far back: 1d to 366d.")] = "30d",
    json_: Json = False,
) -> None:
    """What model calls cost."""
    days = since.removesuffix("d")
    if not (days.isascii() and days.isdecimal() and 0 < int(days) <= MOST_DAYS):
        raise Invalid("since_invalid", f"--since {since!r} is not 1d to {MOST_DAYS}d.", "Write 7d.")
    found = Client.find().get("spend", by=by, days=int(days))
    if json_:
        show.as_json(found)
        return
    rows = ((line["name"], line["calls"], line["cost_usd"] or "unpriced") for line in found["items"])
    show.table((by.upper(), "CALLS", "USD"), rows, empty=f"Nothing was spent in {since}.")
