"""`preloop executions` and `preloop run`: start a run, look at it, end it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from preloop import show
from preloop.client import Client
from preloop.commands.options import FlowName, Id, Json, json_of, text_of

app = typer.Typer(no_args_is_help=True, help="Runs of flows.")


def run(
    flow: FlowName,
    payload: Annotated[Path | None, typer.Option(help="A file with the event's JSON, or - for stdin.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until it ends and print its log.")] = False,
    json_: Json = False,
) -> None:
    """Start an execution of a flow."""
    event = {} if payload is None else json_of(text_of(payload), str(payload))
    client = Client.find()
    started = client.post("flows", flow, "executions", body={"payload": event})
    if not follow:
        show.done(started, started["execution_id"], json_wanted=json_)
    show.talk.print(f"Watch it at {started['url']}")
    if follow:
        code = _followed(client, started["execution_id"], (lambda line: None) if json_ else show.log_line)
        if json_:
            show.as_json(client.get("executions", started["execution_id"]))
        raise typer.Exit(code)


@app.command("list")
def list_newest(
    flow: Annotated[str | None, typer.Option(help="Only of this flow.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state: running, failed, …")] = None,
    trigger: Annotated[str | None, typer.Option(help="Only started by this: webhook, github, manual, …")] = None,
    since: Annotated[str | None, typer.Option(help="Only since then: 30m, 24h, 7d or a date.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json_: Json = False,
) -> None:
    """Executions, newest first."""
    wanted = {"flow": flow, "state": state, "trigger": trigger, "since": since}
    show.items(
        Client.find().items("executions", most=limit, **wanted),
        COLUMNS,
        cells,
        empty="No execution matches." if any(wanted.values()) else "Nothing ran yet: `preloop run FLOW`.",
        json_wanted=json_,
    )


COLUMNS = ("STATUS", "FLOW", "TRIGGER", "STARTED", "DURATION", "WHY", "ID")


def cells(execution: dict[str, Any]) -> tuple[object, ...]:
    """Of a row under COLUMNS."""
    began, took = show.ago(execution["started_at"]), show.span(execution["duration_ms"])
    what = (execution["state"], execution["flow"], execution["trigger_type"])
    return (*what, began, took, _why(execution), execution["id"])


def _why(execution: dict[str, Any]) -> str:
    """What a waiting one waits for, or why a final one did not succeed."""
    waits = execution["waiting_for"]
    if waits:
        return f"{waits['text']} (#{waits['position']})"
    again = f", retried by {execution['retried_by']}" if execution["retried_by"] else ""
    return f"{execution['cause'] or ''}{again}"


@app.command("show")
def show_one(id_: Id, json_: Json = False) -> None:
    """One execution, and what its agent left."""
    client = Client.find()
    found = client.get("executions", id_)
    left = [{"name": one["name"], "size": one["size"]} for one in client.items("executions", id_, "artifacts")]
    show.one(found | {"artifacts": left}, json_wanted=json_)


@app.command()
def logs(
    id_: Id,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until it ends; then JSON is a line each.")
    ] = False,
    json_: Json = False,
) -> None:
    """The log; with -f until the execution ends, and exit 1 unless it succeeded."""
    client = Client.find()
    if follow:
        raise typer.Exit(_followed(client, id_, show.json_line if json_ else show.log_line))
    after, lines = 0, []
    while page := client.get("executions", id_, "logs", after=after)["items"]:
        lines += page
        after = page[-1]["number"]
    if not lines:
        _absent(client.get("executions", id_))
    if json_:
        show.as_json(lines)
        return
    for line in lines:
        show.log_line(line)


def _cost(execution: dict[str, Any]) -> str:
    return f"{execution['cost_usd'] or '0'} USD" if execution["metered"] else "spend not metered"


def _absent(execution: dict[str, Any]) -> None:
    """Why there are no lines, if something took them."""
    if execution["logs_deleted_at"]:
        show.talk.print(f"The log was deleted by retention on {execution['logs_deleted_at'][:10]}.")


def _followed(client: Client, execution_id: str, say: Callable[[dict[str, Any]], None]) -> int:
    """Say log lines until the execution is final, and how it ended; 0 when it succeeded."""
    after = 0
    while True:
        row = client.get("executions", execution_id)
        lines = client.get("executions", execution_id, "logs", after=after)["items"]
        for line in lines:
            after = line["number"]
            say(line)
        if row["ended_at"] and not lines:
            break
        time.sleep(0.5)
    _absent(row)
    after_ = f" after {show.span(row['duration_ms'])}" if row["duration_ms"] is not None else ""
    show.talk.print(f"{row['state']}{after_}, {_cost(row)}")
    suggestion = f"Suggestion: {row['hint']}" if row["hint"] else None
    retried = f"Retried by {row['retried_by']}" if row["retried_by"] else None
    for told in (row["message"], suggestion, retried):
        if told:
            show.talk.print(show.clean(told), markup=False)
    return 0 if row["state"] == "SUCCEEDED" else 1


@app.command()
def cancel(id_: Id, json_: Json = False) -> None:
    """Stop an execution; its agent is stopped at once."""
    show.done(Client.find().post("executions", id_, "cancel"), f"{id_} is being cancelled", json_wanted=json_)


@app.command()
def rerun(id_: Id, json_: Json = False) -> None:
    """A new execution from the event of an old one."""
    started = Client.find().post("executions", id_, "rerun")
    show.done(started, started["execution_id"], json_wanted=json_)
