"""`preloop settings`: what is in force and where it came from, of a plane that runs, else of this folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from kit.errors import Invalid, Unavailable
from preloop import show
from preloop.client import Client
from preloop.commands.options import Config, Json

NOBODY = "No control plane runs here: these are what one would start with."
FOREVER = "forever"


def settings(
    config: Config = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Of the account: plan, time_zone, or retention.KEY with a number or `forever`. May be repeated.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """What is in force, secrets masked: the settings with the source of each, and the account's plan and retention."""
    found = Client.find().patch("settings", body=_change(set_)) if set_ else _found(config)
    if json_:
        show.as_json(found)
        return
    if account := found["account"]:
        show.table(("ACCOUNT", ""), _lines(account), empty="")
        show.out.print()
    rows = ((each["key"], _text(each["value"]), each["source"]) for each in found["settings"])
    show.table(("KEY", "VALUE", "FROM"), rows, empty="This plane shows none.")


def _found(config: Path | None) -> Any:  # noqa: ANN401 - JSON
    if config:
        return _alone(config)
    try:
        client = Client.find()
    except Unavailable as fault:
        if fault.code != "plane_not_found":
            raise
        show.talk.print(NOBODY)
        return _alone(None)
    return client.get("settings")


def _alone(config: Path | None) -> dict[str, Any]:
    """Without a plane there is no account."""
    from preloop import in_force  # decision 0006
    from preloop.settings import load

    return {"account": None, "settings": [asdict(each) for each in in_force.told(load(config=config))]}


def _change(words: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for word in words:
        key, given, value = word.partition("=")
        room, _, name = key.partition(".")
        if not given or (room == "retention") != bool(name):
            raise Invalid("usage", f"--set {word[:60]}: that is no KEY=VALUE.", "Write --set retention.logs_days=30.")
        if name:
            body.setdefault(room, {})[name] = _kept(value)
        else:
            body[room] = value
    return body


def _kept(value: str) -> int | str | None:
    if value == FOREVER:
        return None
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else value


def _lines(account: dict[str, Any]) -> list[tuple[str, str]]:
    kept, used = account["retention"], account["storage"]
    mine = kept.pop("chosen")
    storage = _bytes(used["bytes"]) + (f" of {_bytes(used['limit'])}" if used["limit"] is not None else "")
    return [
        ("plan", account["plan"]),
        ("slots", _limit(account["slots"])),
        ("longest timeout", _limit(account["timeout_s"], " s")),
        ("time zone", account["time_zone"]),
        ("storage", storage),
        *(
            (f"retention.{key}", _rule(key, value) + (" (set here)" if key in mine else ""))
            for key, value in kept.items()
        ),
    ]


def _limit(value: int | None, unit: str = "") -> str:
    return "no limit" if value is None else f"{value}{unit}"


def _rule(key: str, value: int | None) -> str:
    if value is None:
        return FOREVER
    return _bytes(value) if key == "keep" else f"{value} day{'' if value == 1 else 's'}"


def _bytes(count: int) -> str:
    size, units = float(count), ["B", "KB", "MB", "GB", "TB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
