"""What workers that died left open, settled from their journals: at a start, and by whoever lives on beside them.

Safe to run at any time and in several processes: a living worker's journal is locked, and an attempt has one entry.
"""

import json
from pathlib import Path
from typing import Any

import anyio

from gateway.attempt import happened_from, lost, opened_from
from gateway.flush import BATCH, Happened, unit
from kit.db import Database, Lane, Tx
from kit.journal import Remains, remains
from kit.observe import log
from ledger import book, budgets

EVERY_S = 1.0


async def settle_lost(db: Database, folder: Path) -> int:
    """Settle what dead workers left open; how many attempts that were."""
    with remains(folder) as dead:
        return sum([await _settle(db, one) for one in dead])


async def watch_for_lost(db: Database, folder: Path) -> None:
    """Settle what a worker left that died beside us."""
    while True:
        await anyio.sleep(EVERY_S)
        try:
            await settle_lost(db, folder)
        except Exception:
            log.exception("could not settle what a dead worker left")


async def _settle(db: Database, one: Remains) -> int:
    """All its attempts, then its leases. One that can't be settled keeps the journal, and what was held for it."""
    found = {left.key: (left.record, left.note) for left in one.left}
    for id_, body in (await db.write(lambda tx: book.intents_of(tx, one.journal))).items():
        found.setdefault(id_, (json.loads(body), None))  # a power cut may have taken the journal's last lines
    settled = [_settled(record, note) for record, note in found.values()]
    for start in range(0, len(settled), BATCH):
        await db.write(unit(settled[start : start + BATCH], worker=one.journal), lane=Lane.BULK)

    def release(tx: Tx) -> int:
        return budgets.release_of(tx, one.journal)

    await db.write(release)
    one.remove()
    if settled:
        log.warning("settled what a dead worker left", attempts=len(settled), journal=one.journal)
    return len(settled)


def _settled(record: dict[str, Any], note: dict[str, Any] | None) -> Happened:
    """Exact when it had ended and only the commit was missing; else an estimate, marked as lost."""
    return happened_from(note) if note else lost(opened_from(record))
