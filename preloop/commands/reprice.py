"""`preloop spend reprice`: bill calls of a model anew. Only `--write` does it."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from kit.errors import Fault, Invalid
from preloop import show
from preloop.client import Client
from preloop.commands.options import Json

Which = Annotated[
    str, typer.Argument(metavar="PROVIDER/MODEL", help="As `preloop spend --by provider,model` has them.")
]
Rate = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS=USD", help="Dollars per million tokens of another class: cache_read=0.03, …"),
]


def reprice(
    which: Which,
    since: Annotated[str, typer.Option(help="today, month, 7d (at most 366d) or a date; days are in UTC.")] = "month",
    until: Annotated[str, typer.Option(help="The last day; today if left out.")] = "",
    input_: Annotated[str, typer.Option("--input", metavar="USD", help="Dollars per million tokens in.")] = "",
    output: Annotated[str, typer.Option(metavar="USD", help="Dollars per million tokens out.")] = "",
    rate: Rate = None,
    write: Annotated[bool, typer.Option("--write", help="Do it. Without this nothing is written.")] = False,
    json_: Json = False,
) -> None:
    """Bill a model's calls anew, at a price or at the list price. Shows what would change; --write does it.

    Old entries stay: each correction is a new one that names it. Doing it again changes nothing.
    """
    provider, _, model = which.partition("/")
    if not provider or not model:
        raise Invalid("usage", f"{which!r} is not PROVIDER/MODEL.", "Write openai/gpt-4o.")
    asked: dict[str, Any] = {"provider": provider, "model": model, "since": since, "until": until}
    found = _all(asked | {"usd_per_mtok": _rates(input_, output, rate), "dry_run": not write})
    show.as_json(found) if json_ else _tell(which, found)
    if not found["calls"]:
        raise typer.Exit(1)


def _rates(input_: str, output: str, more: list[str] | None) -> dict[str, str] | None:
    """None for the list price."""
    if not (input_ or output or more):
        return None
    if not (input_ and output):
        raise Invalid("usage", "A price needs both --input and --output.", "Leave all out for the list price.")
    found = {"input": input_, "output": output}
    for pair in more or ():
        name, equals, usd = pair.partition("=")
        if not equals or name in found:
            raise Invalid("usage", f"--rate {pair!r} is not CLASS=USD of another class.", "Write cache_read=0.03.")
        found[name] = usd
    return found


def _all(asked: dict[str, Any]) -> dict[str, Any]:
    """What all requests that it takes came to together."""
    client = Client.find()
    found: dict[str, Any] = client.post("spend", "reprice", body=asked)
    while found["next"]:
        try:
            more = client.post("spend", "reprice", body=asked | {"cursor": found["next"]})
        except Fault as fault:
            if found["corrected"] and not found["dry_run"]:
                show.talk.print(f"{found['corrected']:,} corrections are written; the same command does the rest.")
            raise fault
        for name in ("calls", "corrected"):
            more[name] += found[name]
        for name in ("billed_usd", "delta_usd"):
            more[name] = _usd(Decimal(more[name]) + Decimal(found[name]))
        found = more
    return found


def _tell(which: str, found: dict[str, Any]) -> None:
    period = f"from {found['first']} to {found['last']} (UTC)"
    if not found["calls"]:
        show.talk.print(f"{which} was not called {period}. `preloop spend --by provider,model` has what was.")
        return
    before, delta = Decimal(found["billed_usd"]), Decimal(found["delta_usd"])
    written = "" if found["dry_run"] else " now"
    rows = [
        ("Calls", f"{found['calls']:,} of {which} {period}"),
        ("Price", found["price_version"]),
        ("Billed so far", f"{_usd(before)} USD"),
        (f"At this price{written}", f"{_usd(before + delta)} USD"),
        ("Difference", f"{'+' if delta > 0 else ''}{_usd(delta)} USD in {found['corrected']:,} corrections"),
    ]
    show.table(("", ""), rows, empty="")
    if not found["corrected"]:
        show.talk.print("Nothing to correct: every call is billed at this price, or at what the provider charged.")
    elif found["dry_run"]:
        show.talk.print("Nothing is written yet. The same command with --write does it; budgets stay as they are.")
    else:
        show.talk.print("Written. Running it again changes nothing; the record has it as `spend.repriced`.")


def _usd(amount: Decimal) -> str:
    """Every digit that counts, and two after the point at least."""
    whole, _, part = f"{amount:.9f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
