"""What an agent left: the files of `artifacts/`, its `result.json` and what it changed, each a row and a blob.

Rows are written by whoever reads the work folder (`runner/results`): the checked result with the verdict, the rest when
the execution is final and before its engine forgets it. Retention deletes both with the class `results`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import logs
from control.executions.states import FINAL
from control.tables import artifacts, executions
from control.tables import events as recorded
from kit.canonical import digest
from kit.db import Database, Tx
from kit.errors import Missing

FOLDER = "artifacts"
"""Of the work folder: what an agent puts here is kept."""
RESULT = "result.json"
"""What an agent says its work came to, for its flow's `result_schema`."""
CHANGES = "changes.patch"
"""What changed in the work folder, as git tells it."""
KEPT = "results.kept"
"""The type of the event that says how many files and bytes, with a digest over their names and sums."""
HANDED = (FOLDER, RESULT, CHANGES)
"""What a container hands over itself where its engine can't read it, each as a tar."""
HANDING = ("kubernetes", "swarm")
"""Engines, as an execution's `engine` names them, that read no file of a container."""
HANDED_MOST = 104 << 20
"""Bytes of one such tar: what is kept at most (`runner/results`), and its headers."""
AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """`name` is a path in the work folder, but for `CHANGES`; `sha256` is over the bytes that are kept."""

    name: str
    size: int
    sha256: str


def folder_of(execution_id: str) -> str:
    """Where the blobs of one execution are."""
    return f"results/{execution_id}"


def file_of(execution_id: str, sha256: str) -> str:
    return f"{folder_of(execution_id)}/{sha256}"


def handed_of(execution_id: str, name: str) -> str:
    """Where one of `HANDED` waits until it is read; it goes with the folder at the latest."""
    return f"{folder_of(execution_id)}/handed.{name}.tar"


def hands_over(tx: Tx, execution_id: str) -> bool:
    """Does the container of this execution hand over itself what is left?"""
    engine = tx.execute(sa.select(executions.c.engine).where(executions.c.id == execution_id)).scalar()
    return str(engine).partition(":")[0] in HANDING


def add(tx: Tx, row: Row[Any], left: Sequence[Artifact]) -> None:
    """What was kept under a name first stays."""
    its = {"execution_id": row.id, "account_id": row.account_id, "at": tx.now()}
    rows = [its | asdict(one) for one in left]
    for first in range(0, len(rows), AT_ONCE):
        tx.execute(tx.insert(artifacts).values(rows[first : first + AT_ONCE]).on_conflict_do_nothing())


def keep(tx: Tx, row: Row[Any], left: Sequence[Artifact], notes: Sequence[str]) -> None:
    """All that a final execution left, once, until the engine has forgotten it or retention took it; `notes` say in the
    log what was not kept."""
    mine = (executions.c.id == row.id) & executions.c.state.in_(FINAL)
    open_ = mine & executions.c.cleaned_at.is_(None) & executions.c.results_deleted_at.is_(None)
    if tx.execute(sa.select(executions.c.id).where(open_).with_for_update()).first() is None or _told(tx, row):
        return
    add(tx, row, left)
    if notes:
        logs.story(tx, row.account_id, row.id, "warning", *notes)
    if left:
        listed = [[one.name, one.size, one.sha256] for one in left]
        size = sum(one.size for one in left)
        events.append(tx, row.account_id, row.id, KEPT, files=len(left), bytes=size, digest=digest(listed))


def _told(tx: Tx, row: Row[Any]) -> bool:
    its = (recorded.c.account_id == row.account_id) & (recorded.c.stream == row.id) & (recorded.c.type == KEPT)
    return tx.execute(sa.select(recorded.c.seq).where(its)).first() is not None


async def one(db: Database, account_id: str, execution_id: str, name: str) -> Row[Any]:
    """The row of one artifact, or Missing."""
    its = (artifacts.c.account_id == account_id) & (artifacts.c.execution_id == execution_id)
    rows = await db.read(sa.select(artifacts).where(its, artifacts.c.name == name))
    if not rows:
        raise Missing("artifact_unknown", f"{execution_id} has no artifact of that name.", "Its list has their names.")
    return rows[0]
