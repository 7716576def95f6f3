"""The nouns of the command line: each asks a running plane over REST and prints what it says."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kit.errors import Invalid
from preloop import show
from preloop.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument()]

flows = typer.Typer(no_args_is_help=True, help="Flow files: what starts an agent, with which tools and limits.")
executions = typer.Typer(no_args_is_help=True, help="Runs of flows.")
approvals = typer.Typer(no_args_is_help=True, help="Requests that wait for a person.")


def printed(value: Any, json_wanted: bool) -> None:  # noqa: ANN401 - a JSON value
    """One thing: JSON on wish, else its keys and values."""
    if json_wanted:
        show.as_json(value)
        return
    show.table(("", ""), ((key, _cell(found)) for key, found in value.items() if found not in (None, "", [])), empty="")


def _cell(value: object) -> object:
    return yaml.safe_dump(value, sort_keys=False).strip() if isinstance(value, dict | list) else value


@flows.command("apply")
def flows_apply(files: Annotated[list[Path], typer.Argument(help="Flow files.")], json_: Json = False) -> None:
    """Save flow files; the same content again changes nothing."""
    applied = [_apply(Client.find(), path) for path in files]
    if json_:
        show.as_json(applied)
        return
    for flow in applied:
        told = f"is now version {flow['version']}" if flow["changed"] else f"is unchanged at version {flow['version']}"
        show.out.print(f"{flow['name']} {told}")


def _apply(client: Client, path: Path) -> Any:  # noqa: ANN401 - a JSON value
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("flow_unreadable", f"{path} can't be read: {error}.", "Name a flow file.") from error
    try:
        named = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid("flow_invalid", f"{path} is not YAML: {error}.", "Check indents and quotes.") from error
    name = named.get("name") if isinstance(named, dict) else None
    return client.put(f"/flows/{name or 'unnamed'}", text)


@flows.command("list")
def flows_list(json_: Json = False) -> None:
    """All flows."""
    found = list(Client.find().items("/flows"))
    if json_:
        show.as_json(found)
        return
    rows = ((f["name"], f["version"], f["runtime"], f["model"], ", ".join(f["triggers"])) for f in found)
    show.table(
        ("NAME", "VERSION", "AGENT", "MODEL", "TRIGGERS"), rows, empty="No flows yet: `preloop flows apply FILE`."
    )


@flows.command("show")
def flows_show(name: Id, json_: Json = False) -> None:
    """One flow."""
    printed(Client.find().get(f"/flows/{name}"), json_)


@flows.command("export")
def flows_export(name: Id, json_: Json = False) -> None:
    """A flow as a file that `flows apply` takes."""
    body = Client.find().get(f"/flows/{name}")["body"]
    if json_:
        return show.as_json(body)
    show.out.print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="", markup=False)


@flows.command("render", hidden=True)
def flows_render(name: Id) -> None:
    """The prompt of a flow for an event."""
    raise Invalid("not_supported_yet", "`preloop flows render` is not built yet.", "CHANGELOG.md lists what is.")


@executions.command("list")
def executions_list(
    flow: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    json_: Json = False,
) -> None:
    """Executions, newest first."""
    found = list(Client.find().items("/executions", most=limit, flow=flow, state=state))
    if json_:
        show.as_json(found)
        return
    rows = (
        (e["state"], e["flow"], e["trigger_type"], show.ago(e["created_at"]), show.span(e["duration_ms"]), e["id"])
        for e in found
    )
    show.table(("STATUS", "FLOW", "TRIGGER", "STARTED", "DURATION", "ID"), rows, empty="None: `preloop run FLOW`.")


@executions.command("show")
def executions_show(id_: Id, json_: Json = False) -> None:
    """One execution."""
    printed(Client.find().get(f"/executions/{id_}"), json_)


@executions.command("logs")
def executions_logs(
    id_: Id, follow: Annotated[bool, typer.Option("--follow", "-f")] = False, json_: Json = False
) -> None:
    """The log; with -f until the execution ends."""
    client = Client.find()
    if follow:
        raise typer.Exit(follow_to_end(client, id_))
    after, lines = 0, []
    while page := client.get(f"/executions/{id_}/logs", after=after)["items"]:
        lines += page
        after = page[-1]["number"]
    if json_:
        show.as_json(lines)
        return
    for line in lines:
        show.log_line(line)


def follow_to_end(client: Client, execution_id: str, *, json_wanted: bool = False) -> int:
    """Print log lines until the execution is final; 0 when it succeeded."""
    after = 0
    while True:
        row = client.get(f"/executions/{execution_id}")
        lines = client.get(f"/executions/{execution_id}/logs", after=after)["items"]
        for line in lines:
            after = line["number"]
            if not json_wanted:
                show.log_line(line)
        if row["ended_at"] and not lines:
            break
        time.sleep(0.5)
    if json_wanted:
        show.as_json(row)
    else:
        show.talk.print(f"{row['state']} after {show.span(row['duration_ms'])}, {row['cost_usd'] or '0'} USD")
        for told in (row["message"], row["hint"]):
            if told:
                show.talk.print(show.clean(told))
    return 0 if row["state"] == "SUCCEEDED" else 1


@executions.command("cancel")
def executions_cancel(id_: Id, json_: Json = False) -> None:
    """Stop an execution; its agent is stopped at once."""
    found = Client.find().post(f"/executions/{id_}/cancel")
    show.as_json(found) if json_ else show.out.print(f"{id_} is being cancelled")


@executions.command("rerun")
def executions_rerun(id_: Id, json_: Json = False) -> None:
    """A new execution from the event of an old one."""
    started = Client.find().post(f"/executions/{id_}/rerun")
    show.as_json(started) if json_ else show.out.print(started["execution_id"])


@approvals.command("list")
def approvals_list(
    all_: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False, json_: Json = False
) -> None:
    """Requests that wait, oldest first."""
    found = list(Client.find().items("/approvals", state="all" if all_ else "pending"))
    if json_:
        show.as_json(found)
        return
    rows = ((a["id"], a["tool"], a["flow"], a["approver_group"], a["status"], show.ago(a["asked_at"])) for a in found)
    show.table(("ID", "TOOL", "FLOW", "ASKED", "STATUS", "SINCE"), rows, empty="Nothing waits for a person.")


@approvals.command("show")
def approvals_show(id_: Id, json_: Json = False) -> None:
    """One request with its arguments."""
    printed(Client.find().get(f"/approvals/{id_}"), json_)


@approvals.command("approve")
def approvals_approve(
    id_: Id, reason: Annotated[str, typer.Option(help="Why; optional.")] = "", json_: Json = False
) -> None:
    """Say yes to exactly the arguments that `approvals show` prints."""
    _decide(id_, "approved", reason, json_)


@approvals.command("decline")
def approvals_decline(
    id_: Id, reason: Annotated[str, typer.Option(help="Why; the agent reads it.")], json_: Json = False
) -> None:
    """Say no."""
    _decide(id_, "declined", reason, json_)


def _decide(id_: str, verdict: str, reason: str, json_wanted: bool) -> None:
    client = Client.find()
    digest = client.get(f"/approvals/{id_}")["digest"]
    decided = client.post(f"/approvals/{id_}/decide", {"verdict": verdict, "reason": reason, "digest": digest})
    show.as_json(decided) if json_wanted else show.out.print(decided["status"])


GROUPS = {"flows": flows, "executions": executions, "approvals": approvals}
