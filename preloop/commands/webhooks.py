"""`preloop webhooks`: their secrets."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kit.errors import Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import Json, text_of

app = typer.Typer(no_args_is_help=True, help="Secrets of webhooks.")


class Sender(StrEnum):
    GITHUB = "github"
    GITLAB = "gitlab"


@app.command()
def rotate(
    flow: Annotated[str | None, typer.Argument(metavar="[FLOW]", help="The flow whose webhook it is.")] = None,
    sender: Annotated[Sender | None, typer.Option(help="Instead of a flow: GitHub's or GitLab's secret.")] = None,
    now: Annotated[bool, typer.Option("--now", help="The old secret ends at once, not in 24 hours.")] = False,
    secret: Annotated[
        Path | None, typer.Option("--secret", metavar="FILE", help="A secret that the sender made, or - for stdin.")
    ] = None,
    json_: Json = False,
) -> None:
    """Print a new secret for a flow's webhook or for a sender, once; the old one is good for 24 hours more."""
    if (flow is None) == (sender is None):
        hint = "`preloop webhooks rotate FLOW`, or `preloop webhooks rotate --sender github`."
        raise Invalid("usage", "Name either a flow or a sender.", hint)
    if secret and not sender:
        raise Invalid("usage", "A flow's secret is made here.", "Leave out --secret.")
    body: dict[str, object] = {"now": now}
    if secret:
        body["secret"] = text_of(secret).strip()
    at = ("senders", sender.value, "secret") if sender else ("flows", str(flow), "webhook-secret")
    show.one(Client.find().post(*at, body=body), json_wanted=json_)


@app.command("list")
def list_senders(json_: Json = False) -> None:
    """GitHub and GitLab, where a secret was made for them."""
    show.items(
        Client.find().items("senders"),
        ("SENDER", "ADDRESS", "SINCE", "OLD SECRET UNTIL"),
        lambda sender: (sender["kind"], sender["url"], show.ago(sender["created_at"]), sender["before_until"]),
        empty="No secret yet: `preloop webhooks rotate --sender github`.",
        json_wanted=json_,
    )
