"""`preloop webhooks`: their secrets."""

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import FlowName, Json

app = typer.Typer(no_args_is_help=True, help="Secrets of webhooks.")


@app.command()
def rotate(flow: FlowName, json_: Json = False) -> None:
    """Print a new secret for a flow's webhook, once; the old one is worth nothing from now on."""
    show.one(Client.find().post("flows", flow, "webhook-secret"), json_wanted=json_)
