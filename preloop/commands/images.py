"""`preloop images`: agents' images on this machine's engine."""

from dataclasses import asdict
from typing import Annotated

import anyio
import typer

from preloop import show
from preloop.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="Images of agents.")


@app.command()
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="base, scripted, codex, gemini, opencode or claude.")],
    base: Annotated[str | None, typer.Option(help="An image to build on instead of our own base.")] = None,
    json_: Json = False,
) -> None:
    """Build an agent's image on this machine's engine; unchanged inputs build nothing."""
    from runner import images as recipes  # decision 0006

    built = anyio.run(recipes.build, name, base, show.talk.print)
    show.done({"image": built}, built, json_wanted=json_)


@app.command("list")
def list_all(json_: Json = False) -> None:
    """Agent images on this machine's engine."""
    from runner import images as recipes

    found = anyio.run(recipes.images_list)
    show.items(
        map(asdict, found),
        ("NAME", "MB", "ID"),
        lambda image: (image["name"], image["size_bytes"] // 1_000_000, image["id"]),
        empty="None yet: `preloop images build NAME`.",
        json_wanted=json_,
    )
