"""`preloop tokens`: for programs, and for agents of one's own."""

from typing import Annotated

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import Id, Json

app = typer.Typer(no_args_is_help=True, help="Tokens for programs and for agents of your own.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    flow: Annotated[str | None, typer.Option(help="Enroll an agent of your own with this flow's tools.")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it lasts.")] = 30,
    json_: Json = False,
) -> None:
    """Print a new token, once."""
    made = Client.find().post("tokens", body={"name": name, "flow": flow, "days": days})
    show.done(made, made["token"], json_wanted=json_)


@app.command("list")
def list_all(json_: Json = False) -> None:
    """Tokens of programs and of agents, without their secrets: everybody's for an admin, else yours."""
    show.items(
        Client.find().items("tokens"),
        ("ID", "KIND", "NAME", "OWNER", "MADE", "REVOKED"),
        lambda t: (
            t["id"],
            t["kind"],
            t["name"],
            t["owner"] or "—",
            show.ago(t["created_at"]),
            show.ago(t["revoked_at"]),
        ),
        empty="None yet: `preloop tokens create NAME`.",
        json_wanted=json_,
    )


@app.command()
def revoke(id_: Id, json_: Json = False) -> None:
    """End a token; it is worth nothing at once."""
    show.done(Client.find().post("tokens", id_, "revoke"), f"{id_} is revoked", json_wanted=json_)
