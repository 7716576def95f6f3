"""The command line's nouns for whoever looks after a plane: people, tokens, sessions, webhooks, spend, images, the
chain."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import anyio
import typer

from control import audit, events
from control.identity.accounts import DEFAULT
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault, Invalid, Missing
from preloop import show
from preloop.client import Client
from preloop.database import read_database
from preloop.house import open_engine
from preloop.nouns import Id, Json, printed
from preloop.settings import Settings, load

users = typer.Typer(no_args_is_help=True, help="People.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens for programs and for agents of your own.")
sessions = typer.Typer(no_args_is_help=True, help="Runtime sessions: which agents may speak to us now.")
webhooks = typer.Typer(no_args_is_help=True, help="Secrets of webhooks.")
images = typer.Typer(no_args_is_help=True, help="Images of agents.")
chain = typer.Typer(no_args_is_help=True, help="The hash-linked record.")


@users.command("add")
def users_add(
    email: Annotated[str, typer.Argument()],
    name: Annotated[str, typer.Option()] = "",
    role: Annotated[str, typer.Option(help="admin, operator, approver or viewer")] = "viewer",
    json_: Json = False,
) -> None:
    """Add a person and print a sign-in link for them, good once and for an hour."""
    added = Client.find().post("/users", {"email": email, "name": name, "role": role})
    show.as_json(added) if json_ else show.out.print(added["sign_in"])


@users.command("list")
def users_list(json_: Json = False) -> None:
    """Everybody who can sign in."""
    found = list(Client.find().items("/users"))
    if json_:
        show.as_json(found)
        return
    show.table(("EMAIL", "NAME", "ROLE"), ((u["email"], u["name"], u["role"]) for u in found), empty="Nobody yet.")


@tokens.command("create")
def tokens_create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    flow: Annotated[str | None, typer.Option(help="Enroll an agent of your own with this flow's tools.")] = None,
    days: Annotated[int, typer.Option(min=1, max=365)] = 30,
    json_: Json = False,
) -> None:
    """Print a new token, once."""
    made = Client.find().post("/tokens", {"name": name, "flow": flow, "days": days})
    show.as_json(made) if json_ else show.out.print(made["token"])


@tokens.command("list")
def tokens_list(json_: Json = False) -> None:
    """Tokens of programs and of agents of your own, without their secrets."""
    found = list(Client.find().items("/tokens"))
    if json_:
        show.as_json(found)
        return
    rows = ((t["id"], t["kind"], t["name"], show.ago(t["created_at"]), show.ago(t["revoked_at"])) for t in found)
    show.table(("ID", "KIND", "NAME", "MADE", "REVOKED"), rows, empty="None yet: `preloop tokens create NAME`.")


@tokens.command("revoke")
def tokens_revoke(id_: Id, json_: Json = False) -> None:
    """End a token; it is worth nothing at once."""
    found = Client.find().post(f"/tokens/{id_}/revoke")
    show.as_json(found) if json_ else show.out.print(f"{id_} is revoked")


@sessions.command("list")
def sessions_list(json_: Json = False) -> None:
    """Sessions, newest first."""
    found = list(Client.find().items("/sessions"))
    if json_:
        show.as_json(found)
        return
    rows = ((s["id"], s["kind"], s["principal"], show.ago(s["created_at"]), show.ago(s["revoked_at"])) for s in found)
    show.table(("ID", "KIND", "PRINCIPAL", "OPENED", "REVOKED"), rows, empty="None yet.")


@sessions.command("revoke")
def sessions_revoke(id_: Id, json_: Json = False) -> None:
    """End a session; its token is worth nothing at once."""
    found = Client.find().post(f"/sessions/{id_}/revoke")
    show.as_json(found) if json_ else show.out.print(f"{id_} is revoked")


@webhooks.command("rotate")
def webhooks_rotate(flow: Id, json_: Json = False) -> None:
    """Print a new secret for a flow's webhook, once; the old one is worth nothing from now on."""
    made = Client.find().post(f"/flows/{flow}/webhook-secret")
    printed(made, json_)


def spend(
    by: Annotated[str, typer.Option(help="flow, alias, execution, …")] = "flow",
    since: Annotated[str, typer.Option(help="How far back: 1d, 7d, 30d.")] = "30d",
    json_: Json = False,
) -> None:
    """What model calls cost."""
    days = since.removesuffix("d")
    if not days.isdecimal() or not int(days):
        raise Invalid("since_invalid", f"{since!r} is not a number of days.", "Write 7d.")
    found = Client.find().get("/spend", by=by, days=int(days))
    if json_:
        show.as_json(found)
        return
    rows = ((line["name"], line["calls"], line["cost_usd"] or "unpriced") for line in found["items"])
    show.table((by.upper(), "CALLS", "USD"), rows, empty=f"Nothing was spent in {since}.")


@images.command("build")
def images_build(
    name: Annotated[str, typer.Argument(help="base, scripted or codex")],
    base: Annotated[str | None, typer.Option(help="An image to build on instead of our own base.")] = None,
) -> None:
    """Build an agent's image on this machine's engine; unchanged inputs build nothing."""
    from runner import images as recipes

    built = anyio.run(recipes.build, name, base, show.talk.print)
    show.out.print(built)


@images.command("list")
def images_list(json_: Json = False) -> None:
    """Agent images on this machine's engine."""
    from runner import images as recipes

    found = anyio.run(recipes.images_list)
    if json_:
        show.as_json([str(image) for image in found])
        return
    for image in found:
        show.out.print(str(image))


@chain.command("verify")
def audit_verify(
    stream: Annotated[str | None, typer.Argument(help="An execution; all by default.")] = None, json_: Json = False
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
    url = settings.database.get_secret_value() if settings.database else None
    db: Database = await read_database(settings.data, url, Bus())
    try:
        named = await events.streams_of(db, DEFAULT)
        if stream is not None and stream not in named:
            raise Missing("stream_unknown", f"There is no stream {stream}.", "`preloop executions list` names them.")
        return [(name, await events.inspect(db, DEFAULT, name)) for name in ([stream] if stream else named)]
    finally:
        await db.close()


def doctor(json_: Json = False) -> None:
    """What this machine has of what Preloop can use, and how to get the rest; exit 1 when something is missing."""
    settings = load()
    rows = [("data folder", str(settings.data.resolve()), ""), anyio.run(_engine, settings)]
    for program, why in (("node", "builds agent images"), ("chromium", "runs the browser tests")):
        found = shutil.which(program)
        rows.append((program, found or "missing", "" if found else f"apt-get install {program}: {why}"))
    if json_:
        show.as_json([{"part": part, "found": found, "hint": hint} for part, found, hint in rows])
    else:
        show.table(("PART", "FOUND", "HOW TO GET IT"), rows, empty="")
    if any(hint for *_, hint in rows):
        raise typer.Exit(1)


async def _engine(settings: Settings) -> tuple[str, str, str]:
    try:
        async with open_engine(settings) as place:
            return ("engine", place if isinstance(place, str) else place.engine.name, "")
    except Fault as fault:
        return ("engine", fault.message, fault.hint)


GROUPS = {
    "users": users,
    "tokens": tokens,
    "sessions": sessions,
    "webhooks": webhooks,
    "images": images,
    "audit": chain,
}
