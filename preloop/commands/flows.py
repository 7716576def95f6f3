"""`preloop flows`: flow files in and out."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kit.errors import Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import Id, Json

app = typer.Typer(no_args_is_help=True, help="Flow files: what starts an agent, with which tools and limits.")


def source_of(path: Path) -> str:
    """The text of a flow file."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("flow_unreadable", f"{path} can't be read: {error}.", "Name a flow file.") from error


@app.command("apply")
def apply_files(files: Annotated[list[Path], typer.Argument(help="Flow files.")], json_: Json = False) -> None:
    """Save flow files; the same content again changes nothing."""
    applied = [_apply(Client.find(), path) for path in files]
    if json_:
        show.as_json(applied)
        return
    for flow in applied:
        told = f"is now version {flow['version']}" if flow["changed"] else f"is unchanged at version {flow['version']}"
        show.out.print(f"{flow['name']} {told}")


def _apply(client: Client, path: Path) -> Any:  # noqa: ANN401 - a JSON value
    text = source_of(path)
    try:
        named = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid("flow_invalid", f"{path} is not YAML: {error}.", "Check indents and quotes.") from error
    name = named.get("name") if isinstance(named, dict) else None
    return client.put("flows", str(name or "unnamed"), text=text)


@app.command("list")
def list_all(json_: Json = False) -> None:
    """All flows."""
    show.items(
        Client.find().items("flows"),
        ("NAME", "VERSION", "AGENT", "MODEL", "TRIGGERS"),
        lambda flow: (flow["name"], flow["version"], flow["runtime"], flow["model"], ", ".join(flow["triggers"])),
        empty="No flows yet: `preloop flows apply FILE`.",
        json_wanted=json_,
    )


@app.command("show")
def show_one(name: Id, json_: Json = False) -> None:
    """One flow."""
    show.one(Client.find().get("flows", name), json_wanted=json_)


@app.command()
def export(name: Id, json_: Json = False) -> None:
    """A flow as a file that `flows apply` takes."""
    body = Client.find().get("flows", name)["body"]
    if json_:
        return show.as_json(body)
    show.out.print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="", markup=False)
