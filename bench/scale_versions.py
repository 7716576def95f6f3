"""Two versions of this code whose schemas differ, made from the working tree: a clone of any depth has it, and the
newer one takes a column away that the older one reads with every row.

The older is the tree and one migration more, which adds `executions.old_note`. The newer knows that one too, adds
`new_note` (phase `pre`) and drops `old_note` (phase `post`).
"""

import compileall
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ROOT
from preloop.steps import Steps

PARTS = (
    "access",
    "control",
    "gateway",
    "kit",
    "ledger",
    "mcp_server",
    "preloop",
    "runner",
    "web",
    "examples",
    "images",
)
MIGRATION = '''"""{what} a column of executions: made by bench/scale_versions"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", "{before}"
branch_labels = depends_on = None
phase = "{phase}"


def upgrade() -> None:
    op.{act}
'''
ADD = 'add_column("executions", sa.Column("{name}", sa.Text(), server_default="yes"))'
DROP = 'drop_column("executions", "{name}")'
COLUMN = '\nexecutions.append_column(sa.Column("{name}", sa.Text, server_default="yes"))\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Where their code is; `between` is the newest migration that both can live with, `last` the one that waits."""

    older: Path
    newer: Path
    between: str
    last: str


@contextmanager
def versions(folder: Path) -> Iterator[Versions]:
    """They are there inside of this; so is what Python compiled of them, wherever it keeps that."""
    try:
        yield _lay(folder)
    finally:
        if sys.pycache_prefix:
            shutil.rmtree(f"{sys.pycache_prefix}{folder.resolve()}", ignore_errors=True)


def _lay(folder: Path) -> Versions:
    head = int(Steps().newest)
    older, newer = folder / "older", folder / "newer"
    for part in PARTS:
        shutil.copytree(ROOT / part, older / part, ignore=shutil.ignore_patterns("node_modules"))
    compileall.compile_dir(older, quiet=2)  # as an installed version is: replicas need not do it at each start
    shutil.copytree(older, newer)
    for at in (older, newer):
        _write(at, head + 1, "pre", ADD.format(name="old_note"))
    _write(newer, head + 2, "pre", ADD.format(name="new_note"))
    _write(newer, head + 3, "post", DROP.format(name="old_note"))
    for at, name in ((older, "old_note"), (newer, "new_note")):
        with (at / "control" / "tables.py").open("a") as tables:
            tables.write(COLUMN.format(name=name))
    return Versions(older=older, newer=newer, between=f"{head + 2:04}", last=f"{head + 3:04}")


def _write(at: Path, number: int, phase: str, act: str) -> None:
    what = "adds" if phase == "pre" else "drops"
    text = MIGRATION.format(what=what, number=f"{number:04}", before=f"{number - 1:04}", phase=phase, act=act)
    (at / "preloop" / "migrations" / "versions" / f"{number:04}_made_for_a_show.py").write_text(text)
