"""`preloop models`: where the aliases lead, and whether it answers there."""

from typing import Any

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="Models: where their aliases lead, and how it fares.")
COLUMNS = ("ALIAS", "ORDER", "PROVIDER", "MODEL", "PRICED", "STATE", "ANSWERED", "FAILED")
EMPTY = "No model is under [models] in preloop.toml."


@app.command("list")
def list_all(json_: Json = False) -> None:
    """The upstreams behind each alias; `open` ones are left alone for a moment, since they failed."""
    show.items(
        Client.find().items("models"), (*COLUMNS, "LAST ERROR"), lambda one: (*_row(one), one["last_error"]),
        empty=EMPTY, json_wanted=json_,
    )  # fmt: skip


@app.command()
def check(json_: Json = False) -> None:
    """Ask every upstream now, which costs nothing; exit 1 when one does not answer or refuses its key."""
    found = Client.find().post("models", "check")["items"]
    show.items(
        found, (*COLUMNS, "PROBE", "WHY"), lambda one: (*_row(one), one["probe"], one["probe_error"]),
        empty=EMPTY, json_wanted=json_,
    )  # fmt: skip
    if any(one["probe"] == "failed" for one in found):
        raise typer.Exit(1)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    priced = "yes" if one["priced"] else "no"
    return (
        one["alias"],
        one["order"],
        one["provider"],
        one["model"],
        priced,
        one["state"],
        one["answered"],
        one["failed"],
    )
