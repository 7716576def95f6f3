"""`preloop sessions`: which agents may speak to us now."""

from typing import Annotated

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import Id, Json

app = typer.Typer(no_args_is_help=True, help="Runtime sessions: which agents may speak to us now.")


@app.command("list")
def list_newest(limit: Annotated[int, typer.Option(min=1, help="How many.")] = 100, json_: Json = False) -> None:
    """Sessions, newest first."""
    show.items(
        Client.find().items("sessions", most=limit),
        ("ID", "KIND", "PRINCIPAL", "FLOW", "OWNER", "OPENED", "REVOKED"),
        lambda s: (
            *(s["id"], s["kind"], s["principal"], s["flow"], s["owner"]),
            *(show.ago(s["opened_at"]), show.ago(s["revoked_at"])),
        ),
        empty="None yet.",
        json_wanted=json_,
    )


@app.command()
def revoke(id_: Id, json_: Json = False) -> None:
    """End a session; its token is worth nothing at once."""
    show.done(Client.find().post("sessions", id_, "revoke"), f"{id_} is revoked", json_wanted=json_)
