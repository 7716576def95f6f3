"""`preloop doctor`: what this machine can run."""

import shutil
import sys
from typing import TYPE_CHECKING

import anyio
import typer

from kit.errors import Fault
from preloop import show
from preloop.commands.options import Json

if TYPE_CHECKING:
    from preloop.settings import Settings

MACOS = sys.platform == "darwin"
PROGRAMS = {
    "node": ("nodejs", "node", "builds agent images"),
    "chromium": ("chromium", "--cask chromium", "runs the browser tests"),
}
"""Program → Debian's package, Homebrew's, and what it is good for."""


def doctor(json_: Json = False) -> None:
    """What this machine has of what Preloop can use, and how to get the rest; exit 1 when something is missing."""
    from preloop.settings import load  # decision 0006

    settings = load()
    rows = [("data folder", str(settings.data.resolve()), ""), anyio.run(_engine, settings)]
    if settings.database or (settings.data / "preloop.db").exists():
        rows.append(anyio.run(_database, settings))
    if settings.storage.url:
        rows.append(anyio.run(_storage, settings))
    for program, (package, formula, why) in PROGRAMS.items():
        found, how = shutil.which(program), f"brew install {formula}" if MACOS else f"apt-get install {package}"
        rows.append((program, found or "missing", "" if found else f"{how}: {why}"))
    if json_:
        show.as_json([{"part": part, "found": found, "hint": hint} for part, found, hint in rows])
    else:
        show.table(("PART", "FOUND", "HOW TO GET IT"), rows, empty="")
    if any(hint for *_, hint in rows):
        raise typer.Exit(1)


async def _engine(settings: "Settings") -> tuple[str, str, str]:
    from preloop.house import open_engine  # decision 0006

    try:
        async with open_engine(settings) as place:
            return ("engine", place if isinstance(place, str) else place.engine.name, "")
    except Fault as fault:
        return ("engine", fault.message, fault.hint)


async def _database(settings: "Settings") -> tuple[str, str, str]:
    """Where its migrations stand."""
    from preloop.commands import migrate  # decision 0006

    try:
        found = await migrate.look(settings)
    except Fault as fault:
        return ("database", fault.message, fault.hint)
    said = migrate.told(found)
    return ("database", said, "docs/service.md, Upgrades" if found.waiting else "")


async def _storage(settings: "Settings") -> tuple[str, str, str]:
    """What the object store does with something small: written, read, deleted."""
    from preloop.storing import open_objects  # decision 0006

    told = settings.storage
    try:
        await open_objects(told).tried()
    except Fault as fault:
        where = f"at {told.endpoint}" if told.endpoint else "of AWS"
        hint = f"[storage]: the store {where}, its bucket, and a key that may write, read, list and delete there"
        return ("object store", fault.message, fault.hint if fault.code == "s3_missing" else hint)
    return ("object store", f"{told.url}: written, read, deleted", "")
