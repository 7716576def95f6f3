"""`preloop tools`: which definitions are served, what changed, and accepting it."""

from typing import Annotated, Any

import typer

from kit.errors import Conflict
from preloop import show
from preloop.client import Client
from preloop.nouns import Id, Json

tools = typer.Typer(no_args_is_help=True, help="Tools of the tool servers: which definitions are served.")


@tools.command("list")
def tools_list(json_: Json = False) -> None:
    """Every tool that was seen; those that wait for an admin first."""
    found = sorted(Client.find().items("/tools", most=10_000), key=lambda tool: tool["status"] == "accepted")
    if json_:
        show.as_json(found)
        return
    rows = ((t["status"], t["server"], t["tool"], t["decided_by"], t["digest"]) for t in found)
    show.table(("STATUS", "SERVER", "TOOL", "BY", "DIGEST"), rows, empty="No tool server was reached yet.")


@tools.command("diff")
def tools_diff(server: Id, tool: Id, json_: Json = False) -> None:
    """What a server says of a tool now, against what was accepted; exit 1 when they differ."""
    found = _one(server, tool)
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


@tools.command("accept")
def tools_accept(
    server: Id,
    tool: Id,
    digest: Annotated[str | None, typer.Option(help="Only if it is this definition (a prefix will do).")] = None,
) -> None:
    """Serve what a server says of a tool now. Look at `tools diff` first."""
    found = _one(server, tool)
    if digest is not None and not found["digest"].startswith(digest):
        raise Conflict("tool_changed", f"The tool's digest is {found['digest']}.", "Look at it again: `tools diff`.")
    Client.find().post("/tools/accept", {"server": server, "tool": tool, "digest": found["digest"]})
    show.out.print(f"{tool} of {server} is served as {found['digest']}")


def _one(server: str, tool: str) -> Any:  # noqa: ANN401 - a JSON value
    return Client.find().get(f"/tools/{server}/{tool}")


GROUPS = {"tools": tools}
