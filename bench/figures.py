"""What a show says, as `name: value` lines, and what several of them need before they can say it."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.components import postgres_programs

Within = Callable[[str, float, float], None]
"""Says a figure with its limit: name, value, limit."""
Judged = Callable[[str, object, bool], None]
"""Says a figure and whether it holds."""


def say(name: str, value: object) -> None:
    print(f"{name}: {value}", flush=True)


class Sum:
    """What was shown so far, for one database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.held = True

    def say(self, name: str, value: object, holds: bool) -> None:
        self.held &= holds
        say(f"{self.database}_{name}", f"{value}{'' if holds else '  DOES NOT HOLD'}")


def postgres() -> Path | None:
    """Where PostgreSQL's server programs are; None after saying how to get them."""
    programs = postgres_programs()
    if programs is None:
        print("PostgreSQL's server programs are missing: apt-get install postgresql", file=sys.stderr)
    return programs
