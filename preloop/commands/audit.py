"""`preloop audit`: the hash-linked record, read from the database itself."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from control import audit
from kit.errors import Invalid, Missing
from preloop import show
from preloop.commands.options import Json

if TYPE_CHECKING:
    from control.approvals import attest
    from kit.db import Database

Heads = dict[str, dict[int, str]]

app = typer.Typer(no_args_is_help=True, help="The hash-linked record.")


@app.command()
def export(file: Annotated[Path, typer.Argument(help="Written anew; keep it on another machine.")]) -> None:
    """Write the end of every stream into a file, for a later `verify --heads`."""
    heads = anyio.run(_heads)
    file.write_text(json.dumps(heads, indent=1) + "\n")
    show.out.print(f"The ends of {len(heads)} streams are in {file}.")


@app.command()
def verify(
    stream: Annotated[str | None, typer.Argument(metavar="[EXECUTION]", help="All by default.")] = None,
    heads: Annotated[Path | None, typer.Option(help="A file of `preloop audit export` that must still hold.")] = None,
    json_: Json = False,
) -> None:
    """Walk the hash links of the record, compare it with its seals and the approvals, their votes and arguments with
    it; exit 1 names what is broken first."""
    found, compared = anyio.run(_verify, stream, _read(heads) if heads else {})
    if json_:
        told = [{"stream": name, **asdict(verdict), "unsealed": verdict.unsealed} for name, verdict in found]
        show.as_json({"streams": told, "approvals": asdict(compared)})
    else:
        _told(found)
        _compared(compared)
    if compared.unlike or any(verdict.broken for _, verdict in found):
        raise typer.Exit(1)


def _read(path: Path) -> Heads:
    """The ends of streams that `export` wrote, or Invalid."""
    try:
        found = json.loads(path.read_text())
        return {name: {int(seq): str(hash_) for seq, hash_ in its.items()} for name, its in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise Invalid(
            "heads_invalid", f"{path} can't be read: {error}.", "`preloop audit export` writes it."
        ) from error


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


def _compared(compared: "attest.Compared") -> None:
    """What the approvals say; what could not be compared is no fault and goes to the reader's side."""
    for id_, differs in sorted(compared.unlike.items()):
        show.out.print(f"{id_}: this approval does not say what its events say of it: {', '.join(differs)}")
    if compared.absent:
        show.talk.print(
            f"The arguments of {compared.absent} approvals were deleted by retention; the record knows their digests."
        )
    if compared.older:
        told = "were recorded before digests and times of decisions were: these are not compared"
        show.talk.print(f"{compared.older} approvals {told}.")


@asynccontextmanager
async def _database() -> AsyncIterator["Database"]:
    from kit.bus import Bus  # decision 0006: only the commands that open the database pay for it
    from preloop.database import read_database
    from preloop.settings import load

    settings = load()
    url = settings.database.get_secret_value() if settings.database else None
    db = await read_database(settings.data, url, Bus())
    try:
        yield db
    finally:
        await db.close()


async def _heads() -> Heads:
    from control import events
    from control.identity.accounts import DEFAULT

    async with _database() as db:
        return await events.heads_of(db, DEFAULT)


async def _verify(stream: str | None, heads: Heads) -> tuple[list[tuple[str, audit.Verdict]], "attest.Compared"]:
    from control import events
    from control.approvals import attest
    from control.identity.accounts import DEFAULT

    async with _database() as db:
        sealed = await events.sealed_heads(db, DEFAULT)
        vouched = {name: sealed.get(name, {}) | heads.get(name, {}) for name in sealed.keys() | heads.keys()}
        named = sorted({*await events.streams_of(db, DEFAULT), *vouched})
        if stream is not None and stream not in named:
            raise Missing("stream_unknown", f"There is no stream {stream}.", "`preloop executions list` names them.")
        chosen = [stream] if stream else named
        found = [(name, await events.inspect(db, DEFAULT, name, vouched.get(name))) for name in chosen]
        return found, await attest.compare(db, DEFAULT)
