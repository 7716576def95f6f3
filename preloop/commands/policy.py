"""`preloop policy`: try rules out. Both ask a running plane; neither changes anything."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kit import canonical
from kit.errors import Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import FlowName, Json, json_of, syntax_of, text_of

app = typer.Typer(no_args_is_help=True, help="Rules about tools, tried out before they count.")


@app.command()
def explain(
    flow: FlowName,
    server: Annotated[str, typer.Option(help="The tool server.")],
    tool: Annotated[str, typer.Option(help="The tool.")],
    args: Annotated[str, typer.Option(help="The call's arguments as JSON.")] = "{}",
    execution: Annotated[str, typer.Option(help="What the run did so far, as JSON: spend_usd, tool_calls.")] = "{}",
    json_: Json = False,
) -> None:
    """Which rule decides about a call, and why; exit 1 when it would be denied."""
    asked = {"flow": flow, "server": server, "tool": tool, "args": _object(args, "--args")}
    asked["execution"] = _object(execution, "--execution")
    found = Client.find().post("policy", "explain", body=asked)
    if json_:
        show.as_json(found)
    else:
        _told(found)
    if found["verdict"] == "deny":
        raise typer.Exit(1)


def _told(found: dict[str, Any]) -> None:
    verdict, rule = _verdict(found), show.clean(found["rule"])
    show.out.print(rule if rule.startswith(f"{verdict}: ") else f"{verdict}: {rule}", markup=False)
    rows = []
    for entry in found["entries"]:
        values = ", ".join(f"{name} = {canonical.dumps(value)}" for name, value in entry["values"].items())
        name = f"{entry['number']} {entry['server']}/{entry['tool']}"
        rules = [(f"deny: {entry['deny']}", entry["deny_says"])] if entry["deny"] else []
        if entry["group"]:
            when = f"when: {entry['when']}" if entry["when"] else "every call"
            rules.append((f"ask {entry['group']}, {when}", entry["when_says"]))
        rows += [(name, rule, says, values) for rule, says in rules or [("allow", "always")]]
    show.table(("ENTRY", "RULE", "SAYS", "OVER"), rows, empty="No entry of the flow speaks of this tool.")


def _verdict(ruled: dict[str, Any]) -> str:
    if ruled["verdict"] != "ask" or not ruled["group"]:
        return str(ruled["verdict"])
    return f"ask {ruled['group']}" + (f" ({ruled['quorum']} of them)" if ruled["quorum"] > 1 else "")


@app.command()
def replay(
    flow_file: Annotated[Path, typer.Argument(help="A changed flow file; it is not saved.")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest calls.")] = 1000,
    json_: Json = False,
) -> None:
    """What a changed flow file would have said about past calls, each over what its rules saw then."""
    asked = {"source": text_of(flow_file), "syntax": syntax_of(flow_file), "limit": limit}
    found = Client.find().post("policy", "replay", body=asked)
    if json_:
        show.as_json(found)
        return
    rows = [
        (one["call_id"], one["tool"], canonical.dumps(one["arguments"]), *map(_verdict, (one["before"], one["after"])))
        for one in found["changes"]
    ]
    show.table(("CALL", "TOOL", "ARGUMENTS", "WAS", "WOULD BE"), rows, empty="No verdict changes.")
    told = f"{len(rows)} of {found['calls']} past calls of {found['flow']} would be judged differently."
    if found["undecided"]:
        told += f" {found['undecided']} of them because a rule asks for what was not looked at then."
    show.talk.print(told, markup=False)


def _object(text: str, where: str) -> dict[str, Any]:
    found = json_of(text, where)
    if not isinstance(found, dict):
        raise Invalid(
            "json_invalid", f"{where}: {text[:60]!r} is no JSON object.", "Write --args '{\"amount\": 1500}'."
        )
    return found
