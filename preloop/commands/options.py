"""What many commands take: options, files and texts, refused by name when they can't be read."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kit import canonical
from kit.errors import Invalid

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[Path | None, typer.Option(help="The settings file; default preloop.toml in this folder.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As the list prints it.")]
FlowName = Annotated[str, typer.Argument(metavar="FLOW", help="The flow's name.")]


def text_of(path: Path) -> str:
    """A file as text; `-` is what comes in by a pipe."""
    try:
        return (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode()
    except OSError as error:
        raise Invalid("file_unreadable", f"{path} can't be read: {error.strerror}.", "Is the path right?") from error
    except UnicodeDecodeError as error:
        raise Invalid("file_unreadable", f"{path} is not UTF-8.", "Save it as UTF-8.") from error


def syntax_of(path: Path) -> str:
    """`toml` for a file that is called so, else `yaml`."""
    return "toml" if path.suffix.lower() == ".toml" else "yaml"


def json_of(text: str, where: str) -> Any:  # noqa: ANN401 - a JSON value
    """A JSON text; `where` it stands is named when it is none."""
    try:
        return canonical.parse(text)
    except Invalid as error:
        raise Invalid(error.code, f"{where}: {error.message}", error.hint) from error
