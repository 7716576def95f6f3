"""`preloop users`: people."""

from typing import Annotated

import typer

from kit.errors import Missing
from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="People.")


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="What they sign in with.")],
    name: Annotated[str, typer.Option(help="What others see; else the part before the @.")] = "",
    role: Annotated[str, typer.Option(help="admin, operator, approver or viewer.")] = "viewer",
    json_: Json = False,
) -> None:
    """Add a person and print a sign-in link for them, good once and for an hour."""
    added = Client.find().post("users", body={"email": email, "name": name, "role": role})
    show.done(added, added["sign_in"], json_wanted=json_)


@app.command()
def link(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Of a person who is here already.")], json_: Json = False
) -> None:
    """Print another sign-in link for a person, good once and for an hour; earlier ones open nothing any more."""
    client = Client.find()
    found = next((user for user in client.items("users") if user["email"] == email), None)
    if found is None:
        raise Missing("user_unknown", f"There is no user {email}.", "`preloop users list` shows them.")
    made = client.post("users", found["id"], "link")
    show.done(made, made["sign_in"], json_wanted=json_)


@app.command("list")
def list_all(json_: Json = False) -> None:
    """Everybody who can sign in."""
    show.items(
        Client.find().items("users"),
        ("EMAIL", "NAME", "ROLE"),
        lambda user: (user["email"], user["name"], user["role"]),
        empty="Nobody yet.",
        json_wanted=json_,
    )
