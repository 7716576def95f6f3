"""The migrations of this version, and how far a database may be brought while older processes use it.

A migration of phase `pre` only adds, so that older code goes on working; one of phase `post` takes away or tightens,
and waits until no older process is alive. What is said here is decided under one lock (`preloop/database`), in which
a process also announces itself. Neighbours: `migrating` runs Alembic, `planes` keeps the announcement fresh.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.tables import planes, schema_steps
from kit.db import Tx
from kit.errors import Unsuitable

MIGRATIONS = Path(__file__).with_name("migrations")
LOST = timedelta(seconds=30)
"""A process that was not seen for so long is none any more."""
_PHASE = re.compile(r'^phase = "(pre|post)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    number: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A process that serves."""

    id: str
    roles: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a database is, what this version would do to it yet, and which processes that keeps waiting."""

    at: str | None
    waiting: Sequence[Step]
    held: str | None = None
    """The first of these that may not be made now,"""
    older: Sequence[str] = ()
    """since these are alive."""


class Steps:
    """The migrations of a folder."""

    def __init__(self, folder: Path = MIGRATIONS) -> None:
        self.folder = folder
        self._files = sorted(folder.glob("versions/[0-9]*.py"))
        self.newest = self._files[-1].name[:4]

    @cached_property
    def all(self) -> list[Step]:
        return [Step(number=path.name[:4], phase=_phase(path)) for path in self._files]

    def after(self, at: str | None) -> list[Step]:
        if at == self.newest:
            return []
        return [step for step in self.all if at is None or step.number > at]


def _phase(path: Path) -> str:
    found = _PHASE.search(path.read_text())
    return found[1] if found else "post"


def version(connection: Connection) -> str | None:
    """The migration a database stands at; None when it has none of ours."""
    known = sa.inspect(connection).has_table("alembic_version")
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() if known else None


def standing(connection: Connection, steps: Steps) -> Standing:
    at = version(connection)
    waiting = steps.after(at)
    posts = [step.number for step in waiting if step.phase == "post"]
    if at is None or not posts or not sa.inspect(connection).has_table("planes"):
        return Standing(at=at, waiting=waiting)
    alive = planes.c.seen_at > Tx(connection).now() - LOST
    asked = sa.select(planes).where(planes.c.knows < posts[-1], alive).order_by(planes.c.knows, planes.c.id)
    rows = connection.execute(asked).all()
    first = next((number for number in posts if rows and number > rows[0].knows), None)
    older = [f"{row.id} ({row.roles}, knows {row.knows})" for row in rows if first and row.knows < first]
    return Standing(at=at, waiting=waiting, held=first, older=older)


def next_steps(connection: Connection, steps: Steps) -> Sequence[Step]:
    """What may be done now: all, or what comes before the first `post` that has to wait. Unsuitable when this version
    can't work with the database then."""
    found = standing(connection, steps)
    if found.at is not None and found.at > steps.newest:
        _check_newer(connection, steps, found.at)
    held = found.held
    if held is None:
        return found.waiting
    behind = [step.number for step in found.waiting if step.phase == "pre" and step.number > held]
    if behind:
        raise Unsuitable(
            "database_waits",
            f"This version needs migration {behind[0]}, which comes after {held}, and that takes away what processes "
            f"of an older version use: {', '.join(found.older)}.",
            "Upgrade through the versions between, or stop those processes; who was killed counts for 30 seconds more.",
        )
    return [step for step in found.waiting if step.number < held]


def _check_newer(connection: Connection, steps: Steps, at: str) -> None:
    """A newer version was here: that is well when all it did was adding."""
    asked = sa.select(schema_steps.c.number, schema_steps.c.phase).where(schema_steps.c.number > steps.newest)
    known = {row.number: row.phase for row in connection.execute(asked)}
    if at in known and "post" not in known.values():
        return
    tight = min((number for number, phase in known.items() if phase == "post"), default=at)
    raise Unsuitable(
        "database_newer",
        f"The database had migration {tight}, which this version does not know ({steps.newest} is its newest): it took "
        "away something that this version uses.",
        "Start the newer version of Preloop, the one that migrated it.",
    )


def announce(connection: Connection, plane: Plane, steps: Steps) -> None:
    """From now on no `post` migration that this process does not know is made, while it is seen."""
    tx = Tx(connection)
    now = tx.now()
    tx.execute(sa.delete(planes).where(planes.c.seen_at < now - LOST * 120))
    tx.execute(sa.insert(planes).values(id=plane.id, roles=plane.roles, knows=steps.newest, seen_at=now))
