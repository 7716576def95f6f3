"""Blobs that are in the wrong place, or that nobody names: what was not sent when it was written, and what came back
after retention had taken it, from a process that died or a store that was down.

Only content that this database says was deleted is deleted here: blobs of executions that it does not know stay.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from control.tables import executions
from kit.blobs import Blobs
from kit.db import READ_LIMIT, Database

GONE = {"logs": executions.c.logs_deleted_at, "results": executions.c.results_deleted_at}
"""Folder → when retention took an execution's content in it."""

DRAFT_S = 86_400.0
"""No file is written for so long."""


async def ship(db: Database, blobs: Blobs) -> int:
    """Send what is still in this folder and should be in the far store; how many went. Unavailable when it is."""
    shipped = 0
    for folder in GONE if blobs.far else ():
        waiting = [name for name in await blobs.here(folder) if blobs.goes(name)]
        for first in range(0, len(waiting), READ_LIMIT):
            some = waiting[first : first + READ_LIMIT]
            taken = set(await _past(db, GONE[folder], some))
            for name in some:
                await (blobs.delete(name) if name in taken else blobs.ship(name))
            shipped += len(some) - len(taken)
    return shipped


async def tidy(db: Database, blobs: Blobs) -> int:
    """Delete what containers handed over to this process and nobody will read any more, and drafts that nobody writes;
    how many of the first went. Unavailable when the far store is."""
    handed = [name for name in await blobs.here("results") if "/handed." in name]
    went = 0
    for first in range(0, len(handed), READ_LIMIT):
        for name in await _past(db, executions.c.cleaned_at, handed[first : first + READ_LIMIT]):
            await blobs.delete(name)
            went += 1
    await blobs.drop_drafts("results", DRAFT_S)
    return went


async def sweep(db: Database, blobs: Blobs) -> int:
    """Delete what retention had taken, here and in the far store; how many went. Unavailable when it is."""
    swept = 0
    for folder in GONE if blobs.far else ():
        here = await blobs.here(folder)
        for first in range(0, len(here), READ_LIMIT):
            for name in await _past(db, GONE[folder], here[first : first + READ_LIMIT]):
                await blobs.delete(name)
                swept += 1
        if blobs.far:
            async for names in blobs.far.names(folder):
                taken = await _past(db, GONE[folder], names)
                if taken:
                    await blobs.far.delete(taken)
                swept += len(taken)
    return swept


async def _past(db: Database, moment: sa.Column[Any], names: Sequence[str]) -> list[str]:
    """Those of at most READ_LIMIT names whose execution has come to this moment of its life."""
    its = sorted({_execution(name) for name in names})
    rows = await db.read(sa.select(executions.c.id).where(executions.c.id.in_(its), moment.is_not(None)))
    past = {row.id for row in rows}
    return [name for name in names if _execution(name) in past]


def _execution(name: str) -> str:
    """results/exe_1/ab… and logs/exe_1.txt → exe_1"""
    return name.split("/")[1].removesuffix(".txt")
