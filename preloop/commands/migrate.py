"""`preloop migrate`: where the database stands, and what waits until no older process is alive."""

from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from kit.errors import Missing
from preloop import show
from preloop.commands.options import Config, Json

if TYPE_CHECKING:
    from preloop.settings import Settings
    from preloop.steps import Standing


def migrate(
    post: Annotated[bool, typer.Option("--post", help="Do what may be done now, as a start does.")] = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Which migrations the database lacks, and what they wait for; exit 1 while some wait."""
    from preloop.settings import load  # decision 0006

    found = anyio.run(look, load(config=config), post)
    waiting = [{"number": step.number, "phase": step.phase} for step in found.waiting]
    if json_:
        show.as_json({"at": found.at, "waiting": waiting, "held": found.held, "older": list(found.older)})
    else:
        show.out.print(told(found))
    if waiting:
        raise typer.Exit(1)


async def look(settings: "Settings", post: bool = False) -> "Standing":
    from preloop.database import bring_up  # decision 0006

    url = settings.database.get_secret_value() if settings.database else None
    if url is None and not await anyio.Path(settings.data / "preloop.db").exists():
        raise Missing(
            "database_missing", f"There is no database in {settings.data}.", "PRELOOP_DATA names the data folder."
        )
    return await bring_up(settings.data, url, only_look=not post)


def told(found: "Standing") -> str:
    waiting = ", ".join(f"{step.number} ({step.phase})" for step in found.waiting)
    if not waiting:
        return f"The database is at {found.at}; nothing waits."
    said = f"The database is at {found.at}; waiting: {waiting}."
    if found.held:
        return f"{said} {found.held} takes away what older processes use; stop them: {', '.join(found.older)}."
    return f"{said} `preloop migrate --post` or the next start does it."
