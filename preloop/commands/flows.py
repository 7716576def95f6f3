"""`preloop flows`: flow files in and out."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kit.errors import Fault, Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import FlowName, Json, text_of

app = typer.Typer(no_args_is_help=True, help="Flow files: what starts an agent, with which tools and limits.")


@app.command("apply")
def apply_files(files: Annotated[list[Path], typer.Argument(help="Flow files.")], json_: Json = False) -> None:
    """Save flow files; the same content again changes nothing."""
    named = [(path, *_named(path)) for path in files]
    client, applied = Client.find(), []
    for path, name, text in named:
        flow = _apply(client, path, name, text)
        applied.append(flow)
        told = f"is now version {flow['version']}" if flow["changed"] else f"is unchanged at version {flow['version']}"
        if not json_:
            show.out.print(f"{flow['name']} {told}")
    if json_:
        show.as_json(applied)


def _apply(client: Client, path: Path, name: str, text: str) -> Any:  # noqa: ANN401 - a JSON value
    try:
        return client.put("flows", name, text=text)
    except Fault as fault:
        raise type(fault)(fault.code, f"{path}: {fault.message}", fault.hint) from fault


def _named(path: Path) -> tuple[str, str]:
    """A flow file's name and text. A name that is none goes as it is: the plane says what is wrong with the file."""
    text = text_of(path)
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid("flow_invalid", f"{path} is not YAML: {error}.", "Check indents and quotes.") from error
    name = found.get("name") if isinstance(found, dict) else None
    return (name if isinstance(name, str) and name and "/" not in name else "unnamed"), text


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
def show_one(name: FlowName, json_: Json = False) -> None:
    """One flow."""
    show.one(Client.find().get("flows", name), json_wanted=json_)


@app.command()
def export(name: FlowName, json_: Json = False) -> None:
    """A flow as a file that `flows apply` takes."""
    body = Client.find().get("flows", name)["body"]
    if json_:
        return show.as_json(body)
    show.out.print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="", markup=False)
