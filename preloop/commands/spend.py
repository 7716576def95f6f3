"""`preloop spend`: what model calls cost, and whether the provider says the same."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from kit.errors import Invalid
from preloop import exports, reconcile, show
from preloop.client import PAGE, Client
from preloop.commands.options import Json, text_of
from preloop.commands.reprice import reprice
from preloop.exports import Export, Key, Used
from preloop.reconcile import Line

SHOWN = 40
"""Lines of a table; JSON and CSV have all."""
MOST = 10_000
app = typer.Typer(invoke_without_command=True)
Only = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only these calls: flow=pay, wire=chat, …")]
Rename = Annotated[
    list[str] | None, typer.Option(metavar="THEIRS=OURS", help="With --against: a model that they name otherwise.")
]


@app.callback()
def spend(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            help="day, hour, flow, execution, session, principal, alias, provider, model, wire or status; "
            "up to three, with commas."
        ),
    ] = "flow",
    since: Annotated[str, typer.Option(help="today, month, 7d (at most 366d) or a date; days are in UTC.")] = "30d",
    until: Annotated[str, typer.Option(help="The last day; today if left out.")] = "",
    only: Only = None,
    against: Annotated[
        Path | None, typer.Option(help="A provider's usage export: say what differs, by day and model.")
    ] = None,
    tolerance: Annotated[str, typer.Option(help="With --against: percent that may differ.")] = "0",
    rename: Rename = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json_: Json = False,
) -> None:
    """What model calls cost. With --against: whether the provider's account says the same; exit 1 if not."""
    if context.invoked_subcommand:
        return
    filters = _pairs("--only", only)
    if against:
        export = exports.read(text_of(against))
        _against(export, filters, tolerance=_percent(tolerance), names=_pairs("--rename", rename), json_=json_)
    elif csv:
        _print_csv(by=by, since=since, until=until or None, **filters)
    else:
        found = _all(by=by, since=since, until=until or None, **filters)
        show.as_json(found) if json_ else _table(found)


app.command("reprice")(reprice)


def _all(**query: Any) -> dict[str, Any]:  # noqa: ANN401 - the answer is JSON
    """The totals, and the lines of all pages."""
    client = Client.find()
    found: dict[str, Any] = client.get("spend", limit=PAGE, **query)
    while found["next"] and len(found["items"]) < MOST:
        further = client.get("spend", limit=PAGE, cursor=found["next"], **query)
        found["items"] += further["items"]
        found["next"] = further["next"]
    return found


def _table(found: dict[str, Any]) -> None:
    lines = found["items"]
    rows = [(line["name"], *_figures(line, line["cost_usd"])) for line in lines[:SHOWN]]
    if len(lines) > 1:
        rows.append(("TOTAL", *_figures(found, found["total_usd"])))
    columns = (found["by"].upper().replace(",", " · "), "CALLS", "TOKENS IN", "TOKENS OUT", "USD", "")
    days = f"from {found['first']} to {found['last']}"
    show.table(columns, rows, empty=f"No model was called through the gateway {days}.")
    if unmetered := found["unmetered_executions"]:
        what = "1 execution was" if unmetered == 1 else f"{unmetered} executions were"
        show.talk.print(f"{what} not metered: the agents went past the gateway. What they spent is not in it.")
    if len(lines) > SHOWN:
        show.talk.print(f"{len(lines) - SHOWN} more; --csv has all.")


def _figures(counted: dict[str, Any], cost: str | None) -> Sequence[object]:
    notes = []
    if counted["estimated_calls"]:
        notes.append(f"{counted['estimated_calls']} estimated, {counted['estimated_usd']} USD of it")
    if counted["hosted_calls"]:
        notes.append(f"{counted['hosted_calls']} uses of tools at the provider, {counted['hosted_usd']} USD of it")
    if counted["unpriced_calls"]:
        notes.append(f"{counted['unpriced_calls']} unpriced, not in it")
    tokens = (f"{counted[name]:,}" for name in ("input_tokens", "output_tokens"))
    return counted["calls"], *tokens, cost or "unpriced", "; ".join(notes)


def _print_csv(**query: Any) -> None:  # noqa: ANN401 - the query
    client, cursor = Client.find(), None
    while True:
        text, further = client.text("spend", format="csv", cursor=cursor, **query)
        sys.stdout.write(text if cursor is None else text.split("\r\n", 1)[1])
        if further is None:
            return
        cursor = parse_qs(urlsplit(further).query)["cursor"][0]


def _against(
    export: Export, filters: dict[str, str], *, tolerance: Decimal, names: dict[str, str], json_: bool
) -> None:
    if export.provider:
        filters = {"provider": export.provider} | filters
    found = _all(by="day,model", since=export.first.isoformat(), until=export.last.isoformat(), **filters)
    theirs = reconcile.renamed(export.used, names)
    lines = reconcile.compare({_key(line): _used(line) for line in found["items"]}, theirs, tolerance)
    differing = [line for line in lines if line.differs]
    if json_:
        show.as_json({"first": str(export.first), "last": str(export.last), "lines": [_shown(line) for line in lines]})
    else:
        _print_lines(differing, len(lines))
    if differing:
        raise typer.Exit(1)


def _print_lines(differing: Sequence[Line], count: int) -> None:
    columns = ("DAY", "MODEL", "", "TOKENS IN", "TOKENS OUT", "USD")
    rows: list[Sequence[object]] = []
    for line in differing:
        rows.append((line.day, line.model, "ours", *_cells(line.ours)))
        rows.append(("", "", "theirs", *_cells(line.theirs)))
    if rows:
        show.table(columns, rows, empty="")
    show.talk.print(f"{len(differing)} of {count} lines differ." if rows else f"All {count} lines agree.")


def _cells(used: Used | None) -> Sequence[object]:
    return ("none", "none", "none") if used is None else (f"{used.input:,}", f"{used.output:,}", used.cost_usd)


def _key(line: dict[str, Any]) -> Key:
    return line["keys"]["day"], line["keys"]["model"]


def _used(line: dict[str, Any]) -> Used:
    """Ours; a cost that leaves out unpriced calls is none."""
    whole = line["cost_usd"] is not None and not line["unpriced_calls"]
    cost = Decimal(line["cost_usd"]) if whole else None
    return Used(input=line["input_tokens"], output=line["output_tokens"], cost_usd=cost)


def _shown(line: Line) -> dict[str, Any]:
    sides = {}
    for name, used in (("ours", line.ours), ("theirs", line.theirs)):
        sides[name] = used and asdict(used) | {"cost_usd": None if used.cost_usd is None else str(used.cost_usd)}
    return {"day": line.day, "model": line.model, "differs": line.differs, **sides}


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise Invalid("option_invalid", f"{option} {pair!r} is not NAME=VALUE.", f"Write {option} model=gpt-4o.")
        found[name] = value
    return found


def _percent(text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= 100:
        raise Invalid("option_invalid", f"--tolerance {text!r} is no percentage.", "Write 0.5.")
    return found
