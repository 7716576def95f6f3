"""`preloop approvals`: what waits for a person, and deciding it."""

from typing import Annotated

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import Id, Json

app = typer.Typer(no_args_is_help=True, help="Requests that wait for a person.")


@app.command("list")
def list_waiting(
    all_: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False, json_: Json = False
) -> None:
    """Requests that wait, oldest first."""
    show.items(
        Client.find().items("approvals", state="all" if all_ else "pending"),
        ("ID", "TOOL", "FLOW", "ASKED", "STATUS", "SINCE"),
        lambda a: (
            a["id"],
            a["tool"],
            a["flow"] or _enrolled(a),
            a["approver_group"],
            "timeout" if a["status"] == "expired" else a["status"],
            show.ago(a["asked_at"]),
        ),
        empty="Nothing waits for a person.",
        json_wanted=json_,
    )


def _enrolled(approval: dict[str, str]) -> str:
    """What asks where there is no flow."""
    return f"none: enrolled agent {approval['requester'].removeprefix('agent:')}"


@app.command("show")
def show_one(id_: Id, json_: Json = False) -> None:
    """One request with its arguments."""
    show.one(Client.find().get("approvals", id_), json_wanted=json_)


@app.command()
def approve(
    id_: Id,
    reason: Annotated[str, typer.Option(help="Why; optional.")] = "",
    typed: Annotated[str, typer.Option(help="What is to be written by hand, where a flow wants that.")] = "",
    json_: Json = False,
) -> None:
    """Say yes to exactly the arguments that `approvals show` prints."""
    _decide(id_, {"verdict": "approved", "reason": reason, "typed": typed}, json_)


@app.command()
def decline(
    id_: Id, reason: Annotated[str, typer.Option(help="Why; the agent reads it.")], json_: Json = False
) -> None:
    """Say no."""
    _decide(id_, {"verdict": "declined", "reason": reason}, json_)


@app.command("revoke-links")
def revoke_links(id_: Id, json_: Json = False) -> None:
    """Let no link open this request any more, nor one of a later notice; who is signed in can still decide it."""
    done = Client.find().post("approvals", id_, "links", "revoke")
    count = done["revoked"]
    show.done(done, f"{count} {'link' if count == 1 else 'links'} revoked.", json_wanted=json_)


def _decide(id_: str, said: dict[str, str], json_wanted: bool) -> None:
    client = Client.find()
    digest = client.get("approvals", id_)["digest"]
    decided = client.post("approvals", id_, "decide", body=said | {"digest": digest})
    show.done(decided, decided["status"], json_wanted=json_wanted)
