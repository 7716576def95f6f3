"""`preloop audit`: the hash-linked record, read from the database itself."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import anyio
import typer

from control import audit
from kit.errors import Missing
from preloop import show
from preloop.commands.options import Json
from preloop.settings import Settings, load

app = typer.Typer(no_args_is_help=True, help="The hash-linked record.")


@app.command()
def verify(
    stream: Annotated[str | None, typer.Argument(metavar="[EXECUTION]", help="All by default.")] = None,
    json_: Json = False,
) -> None:
    """Walk the hash links of the record and compare it with its seals; exit 1 names the first broken link."""
    found = anyio.run(_verify, load(), stream)
    if json_:
        show.as_json([{"stream": name, **asdict(verdict), "unsealed": verdict.unsealed} for name, verdict in found])
    else:
        _told(found)
    if any(verdict.broken for _, verdict in found):
        raise typer.Exit(1)


def _told(found: Sequence[tuple[str, audit.Verdict]]) -> None:
    for name, verdict in found:
        if verdict.broken:
            show.out.print(f"{name}: {verdict.broken.reason}")
        elif verdict.unsealed:
            first, last = verdict.sealed + 1, verdict.events
            show.talk.print(f"{name}: whole; {first} to {last} are not sealed yet")
    whole = [verdict for _, verdict in found if not verdict.broken]
    events_, open_ = sum(v.events for v in whole), sum(v.unsealed for v in whole)
    told = "Every stream is whole" if len(whole) == len(found) else f"{len(found) - len(whole)} of {len(found)} broken"
    show.out.print(f"{told}: {len(whole)} whole streams with {events_} events, {open_} of them not sealed yet.")


async def _verify(settings: Settings, stream: str | None) -> list[tuple[str, audit.Verdict]]:
    from control import events  # decision 0006: only the commands that open the database pay for it
    from control.identity.accounts import DEFAULT
    from kit.bus import Bus
    from preloop.database import read_database

    url = settings.database.get_secret_value() if settings.database else None
    db = await read_database(settings.data, url, Bus())
    try:
        named = await events.streams_of(db, DEFAULT)
        if stream is not None and stream not in named:
            raise Missing("stream_unknown", f"There is no stream {stream}.", "`preloop executions list` names them.")
        return [(name, await events.inspect(db, DEFAULT, name)) for name in ([stream] if stream else named)]
    finally:
        await db.close()
