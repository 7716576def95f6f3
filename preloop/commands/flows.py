"""`preloop flows`: flow files in and out, their versions, and what a prompt says of an event."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kit.errors import Fault, Invalid
from preloop import show
from preloop.client import Client
from preloop.commands import executions
from preloop.commands.options import FlowName, Json, json_of, syntax_of, text_of

Version = Annotated[int | None, typer.Option(min=1, help="An older version; default the newest.")]
app = typer.Typer(no_args_is_help=True, help="Flow files: what starts an agent, with which tools and limits.")


@app.command("apply")
def apply_files(
    files: Annotated[list[Path], typer.Argument(help="Flow files, YAML or .toml; - is YAML from stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    json_: Json = False,
) -> None:
    """Show what flow files change, and save them; the same content again changes nothing."""
    named = [(path, *_named(path)) for path in files]
    client = Client.find()
    seen = [_put(client, path, name, text, {}, dry=True) for path, name, text in named]
    applied = []
    for would, (path, name, text) in zip(seen, named, strict=True):
        if not json_:
            show.diff(would["diff"])
        for warning in would["warnings"]:
            show.warning(f"{path}: {warning}")
        done = would if dry_run else _put(client, path, name, text, _only_onto(would), dry=False)
        applied.append(done)
        if not json_:
            show.out.print(f"{name} {_told(done)}", markup=False)
    if json_:
        show.as_json(applied)


def _told(done: dict[str, Any]) -> str:
    if not done["changed"]:
        return f"is unchanged at version {done['version']}"
    return f"{'would be' if done['dry_run'] else 'is now'} version {done['version']}"


def _only_onto(would: dict[str, Any]) -> dict[str, str]:
    """What was shown is what is done: the plane refuses when the flow has changed since."""
    was = would["version"] - would["changed"]
    return {"if-match": f'"{was}"'} if was else {"if-none-match": "*"}


def _put(client: Client, path: Path, name: str, text: str, headers: dict[str, str], *, dry: bool) -> Any:  # noqa: ANN401
    media = f"application/{syntax_of(path)}"
    try:
        return client.put("flows", name, text=text, media=media, headers=headers, dry_run="true" if dry else None)
    except Fault as fault:
        raise type(fault)(fault.code, f"{path}: {fault.message}", fault.hint) from fault


def _named(path: Path) -> tuple[str, str]:
    """A flow file's name and text. A name that is none goes as it is: the plane says what is wrong with the file."""
    text = text_of(path)
    try:
        found = tomllib.loads(text) if syntax_of(path) == "toml" else yaml.load(text, Loader=yaml.BaseLoader)
    except (ValueError, RecursionError, yaml.YAMLError):
        found = None
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


@app.command()
def versions(name: FlowName, json_: Json = False) -> None:
    """A flow's versions, newest first."""
    show.items(
        Client.find().items("flows", name, "versions"),
        ("VERSION", "APPLIED"),
        lambda version: (version["version"], show.ago(version["applied_at"])),
        empty="No versions.",
        json_wanted=json_,
    )


@app.command("show")
def show_one(name: FlowName, version: Version = None, json_: Json = False) -> None:
    """One flow, how it fares, and its last ten executions."""
    client = Client.find()
    found, fares = client.get("flows", name, version=version), client.get("flows", name, "health")
    show.one(found | {"health": fares if json_ else _fares(fares)}, json_wanted=json_)
    if not json_ and fares["recent"]:
        show.out.print()
        show.table(executions.COLUMNS, map(executions.cells, fares["recent"]), empty="")


def _fares(health: dict[str, Any]) -> str:
    if not health["runs"]:
        return f"no run ended in {health['days']} days"
    rate, mean, p95 = f"{health['success_rate']:.0%}", show.span(health["mean_ms"]), show.span(health["p95_ms"])
    return f"{rate} of {health['runs']} succeeded in {health['days']} days; mean {mean}, 95 % within {p95}"


@app.command()
def export(
    name: FlowName,
    version: Version = None,
    toml: Annotated[bool, typer.Option("--toml", help="As TOML instead of YAML.")] = False,
    json_: Json = False,
) -> None:
    """A flow as a file that `flows apply` takes."""
    if toml and json_:
        raise Invalid("usage", "--toml and --json are two formats.", "Take one of them.")
    client = Client.find()
    if json_:
        return show.as_json(client.get("flows", name, version=version)["body"])
    text, _ = client.text("flows", name, version=version, accept=f"application/{'toml' if toml else 'yaml'}")
    show.file(text)


@app.command()
def render(
    name: FlowName,
    execution: Annotated[str | None, typer.Option(help="With the event of this one.")] = None,
    payload: Annotated[Path | None, typer.Option(help="With the JSON of a file, or - for stdin.")] = None,
    version: Version = None,
    json_: Json = False,
) -> None:
    """The prompt as an event fills it, by default the flow's newest; exit 1 when the flow would refuse the event."""
    asked: dict[str, Any] = {"execution": execution, "version": version}
    if payload is not None:
        asked["payload"] = json_of(text_of(payload), str(payload))
    found = Client.find().post("flows", name, "render", body=asked)
    if json_:
        show.as_json(found)
    else:
        show.out.print(show.clean(found["prompt"]), markup=False)
        for one in found["unresolved"]:
            show.warning(f"the event has no {one['name']}; {one['hint']}")
    if found["refused"]:
        show.talk.print("The flow refuses this event: on_undefined is fail.")
        raise typer.Exit(1)
