"""Processes of two versions on one database: what only adds is done at once, what takes away waits for older ones."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.tables import accounts, planes
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Unsuitable
from preloop.database import KNOWN, bring_up, open_database
from preloop.planes import seen
from preloop.steps import LOST, Plane, Step, Steps

NEXT, AFTER = f"{int(KNOWN.newest) + 1:04}", f"{int(KNOWN.newest) + 2:04}"
ADDS = 'op.add_column("accounts", sa.Column("motto_{number}", sa.Text(), nullable=True))'
TAKES = 'op.drop_column("accounts", "time_zone")'
MIGRATION = """import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", "{before}"
branch_labels = depends_on = None
phase = "{phase}"


def upgrade() -> None:
    {does}
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_tables")) if request.param == "postgres" else None


def newer(folder: Path, *phases: str) -> Steps:
    """A version of Preloop with so many migrations more."""
    at = folder / "-".join(("newer", *phases))
    shutil.copytree(KNOWN.folder, at)
    before = KNOWN.newest
    for phase in phases:
        number = f"{int(before) + 1:04}"
        does = (ADDS if phase == "pre" else TAKES).format(number=number)
        text = MIGRATION.format(number=number, before=before, phase=phase, does=does)
        (at / "versions" / f"{number}_next.py").write_text(text)
        before = number
    return Steps(at)


async def opened(folder: Path, url: str | None, steps: Steps = KNOWN, id_: str = "pln_old") -> Database:
    """What a start of that version does; it is alive from then on."""
    db = await open_database(folder, url, Bus(), plane=Plane(id=id_, roles="web"), steps=steps)
    await db.write(lambda tx: None)  # a start writes before it lets the next one in
    return db


async def columns(folder: Path, url: str | None) -> set[str]:
    names: set[str] = set()
    db = await open_database(folder, url, Bus(), steps=KNOWN)
    await db.write(lambda tx: names.update(one["name"] for one in sa.inspect(tx._connection).get_columns("accounts")))
    await db.close()
    return names


async def lost(db: Database) -> None:
    """As if nobody had been seen for as long as it takes."""
    await db.write(lambda tx: tx.execute(sa.update(planes).values(seen_at=tx.now() - LOST)))


async def test_what_only_adds_is_done_beside_an_older_process_which_goes_on(tmp_path: Path, url: str | None) -> None:
    old = await opened(tmp_path, url)
    new = await opened(tmp_path, url, newer(tmp_path, "pre"), "pln_new")
    assert f"motto_{NEXT}" in await columns(tmp_path, url)
    now = await old.write(lambda tx: tx.now())
    row = {"id": "acc_1", "name": "An account", "created_at": now}
    await old.write(lambda tx: tx.execute(sa.insert(accounts).values(row)))
    again = await opened(tmp_path, url, KNOWN, "pln_again")  # and an older one may start
    assert [row.id for row in await again.read(sa.select(accounts.c.id))] == ["acc_1"]
    for db in (old, new, again):
        await db.close()


async def test_what_takes_away_waits_for_older_processes(tmp_path: Path, url: str | None) -> None:
    old = await opened(tmp_path, url)
    steps = newer(tmp_path, "pre", "post")
    new = await opened(tmp_path, url, steps, "pln_new")
    assert {f"motto_{NEXT}", "time_zone"} <= await columns(tmp_path, url)
    found = await bring_up(tmp_path, url, steps=steps)  # what `preloop migrate --post` does
    assert (found.at, found.waiting, found.held) == (NEXT, [Step(number=AFTER, phase="post")], AFTER)
    assert found.older == [f"pln_old (web, knows {KNOWN.newest})"]
    async with seen(old, "pln_old"):
        pass  # it stops in good order, and is none any more
    assert (await bring_up(tmp_path, url, steps=steps)).at == AFTER
    with pytest.raises(Unsuitable, match=f"migration {AFTER}, which this version does not know") as refused:
        await opened(tmp_path, url, KNOWN, "pln_again")
    assert (refused.value.exit_code, refused.value.hint) == (
        5,
        "Start the newer version of Preloop, the one that migrated it.",
    )
    await old.close()
    await new.close()


async def test_an_older_process_that_is_lost_holds_nothing_up(tmp_path: Path, url: str | None) -> None:
    old = await opened(tmp_path, url)
    steps = newer(tmp_path, "post")
    assert (await bring_up(tmp_path, url, steps=steps)).held == NEXT
    await lost(old)
    assert (await bring_up(tmp_path, url, steps=steps)).at == NEXT
    await old.close()


async def test_a_process_that_knows_one_of_two_holds_up_the_other(tmp_path: Path, url: str | None) -> None:
    oldest = await opened(tmp_path, url)
    middle = await opened(tmp_path, url, newer(tmp_path, "post"), "pln_middle")
    async with seen(oldest, "pln_old"):
        pass
    found = await bring_up(tmp_path, url, steps=newer(tmp_path, "post", "post"))
    assert (found.at, found.held, found.older) == (NEXT, AFTER, [f"pln_middle (web, knows {NEXT})"])
    await oldest.close()
    await middle.close()


async def test_a_version_that_needs_what_comes_behind_does_not_start(tmp_path: Path, url: str | None) -> None:
    old = await opened(tmp_path, url)
    steps = newer(tmp_path, "post", "pre")
    with pytest.raises(Unsuitable, match=f"needs migration {AFTER}, which comes after {NEXT}") as refused:
        await opened(tmp_path, url, steps, "pln_new")
    assert refused.value.exit_code == 5
    assert "time_zone" in await columns(tmp_path, url)  # nothing was done
    await lost(old)
    await (await opened(tmp_path, url, steps, "pln_new")).close()
    await old.close()


def _ids(tx: Tx) -> list[str]:
    return list(tx.execute(sa.select(planes.c.id)).scalars())


async def test_a_look_changes_nothing(tmp_path: Path, url: str | None) -> None:
    db = await opened(tmp_path, url)
    found = await bring_up(tmp_path, url, steps=newer(tmp_path, "pre"), only_look=True)
    assert (found.at, [step.number for step in found.waiting], found.held) == (KNOWN.newest, [NEXT], None)
    assert await db.write(_ids) == ["pln_old"]
    await db.close()
