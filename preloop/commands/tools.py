"""`preloop tools`: which definitions are served, what changed, and accepting it."""

from typing import Annotated, Any

import typer

from kit.errors import Conflict, Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

Server = Annotated[str, typer.Argument(metavar="SERVER", help="As in preloop.toml.")]
Tool = Annotated[str, typer.Argument(metavar="TOOL", help="As the server names it.")]
SHORTEST = 8
"""Characters of a digest that name a definition."""
app = typer.Typer(no_args_is_help=True, help="Tools of the tool servers: which definitions are served.")


@app.command("list")
def list_all(json_: Json = False) -> None:
    """Every tool that was seen; those that wait for an admin first."""
    show.items(
        sorted(Client.find().items("tools"), key=lambda tool: tool["status"] == "accepted"),
        ("STATUS", "SERVER", "TOOL", "BY", "DIGEST"),
        lambda tool: (tool["status"], tool["server"], tool["tool"], tool["decided_by"], _digest(tool)),
        empty="No tool server was reached yet.",
        json_wanted=json_,
    )


@app.command()
def diff(server: Server, tool: Tool, json_: Json = False) -> None:
    """What a server says of a tool now, against what was accepted; exit 1 when they differ."""
    found = _one(Client.find(), server, tool)
    if json_:
        show.as_json(found)
    elif found["diff"]:
        show.out.print(show.clean(found["diff"]), markup=False)
    elif found["status"] == "accepted":
        show.talk.print("It is what was accepted.")
    else:
        show.as_json(found["definition"])
        show.talk.print("Nothing of this tool was accepted yet; this is all of it.")
    if found["status"] != "accepted":
        raise typer.Exit(1)


@app.command()
def accept(
    server: Server,
    tool: Tool,
    digest: Annotated[str | None, typer.Option(help="Only if it is this definition; its first 8 will do.")] = None,
    json_: Json = False,
) -> None:
    """Serve what a server says of a tool now. Look at `tools diff` first."""
    client = Client.find()
    if digest is not None and len(digest) < SHORTEST:
        raise Invalid("digest_short", f"{digest!r} is too short to name a definition.", f"Give {SHORTEST} characters.")
    found = _one(client, server, tool)
    if digest is not None and not found["digest"].startswith(digest):
        raise Conflict("tool_changed", f"The tool's digest is {found['digest']}.", "Look at it again: `tools diff`.")
    served = client.post("tools", "accept", body={"server": server, "tool": tool, "digest": found["digest"]})
    show.done(served, f"{tool} of {server} is served as {served['digest']}", json_wanted=json_)


def _digest(tool: Any) -> str:  # noqa: ANN401 - a JSON value
    """Of what would be accepted; why there is nothing to accept."""
    return str(tool["reason"] if tool["status"] == "unusable" else tool["digest"])


def _one(client: Client, server: str, tool: str) -> Any:  # noqa: ANN401 - a JSON value
    return client.get("tools", server, tool)
