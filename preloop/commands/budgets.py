"""`preloop budgets`: how the budgets stand."""

from typing import Annotated

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="Budgets: limits, what is spent and what is held of them.")


@app.command("list")
def list_current(
    scope: Annotated[str, typer.Option(help="account, flow, execution, principal, alias or run.")] = "",
    subject: Annotated[str, typer.Option(help="Of this flow, execution, agent or model alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    json_: Json = False,
) -> None:
    """The budgets that count now."""
    show.items(
        Client.find().items("budgets", most=limit, scope=scope or None, subject=subject or None),
        ("SCOPE", "SUBJECT", "PERIOD", "KIND", "LIMIT", "SPENT", "HELD", ""),
        lambda b: (
            b["scope"],
            b["subject"],
            b["period"],
            b["kind"],
            b["limit_usd"],
            b["spent_usd"],
            b["held_usd"],
            "reached" if b["reached"] else "",
        ),
        empty="None yet.",
        json_wanted=json_,
    )
