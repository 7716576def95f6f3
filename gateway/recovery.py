"""What workers that died left open, settled at the next start from their journals.

Safe to run at any time and in several processes: a living worker's journal is locked, and an attempt has one entry.
"""

from pathlib import Path

from gateway.attempt import happened_from, intent_from, lost
from gateway.flush import BATCH, Happened, unit
from kit.db import Database, Lane, Tx
from kit.journal import Left, Remains, remains
from kit.observe import log
from ledger import budgets


async def settle_lost(db: Database, folder: Path) -> int:
    """Settle what dead workers left open; how many attempts that were."""
    with remains(folder) as dead:
        for one in dead:
            await _settle(db, one)
        return sum(len(one.left) for one in dead)


async def _settle(db: Database, one: Remains) -> None:
    settled = [_settled(left) for left in one.left]
    for start in range(0, len(settled), BATCH):
        await db.write(unit(settled[start : start + BATCH]), lane=Lane.BULK)

    def release(tx: Tx) -> int:
        return budgets.release_of(tx, one.journal)

    await db.write(release)
    one.remove()
    if settled:
        log.warning("settled what a dead worker left", attempts=len(settled), journal=one.journal)


def _settled(left: Left) -> Happened:
    """Exact when it had ended and only the commit was missing; else an estimate, marked as lost."""
    return happened_from(left.note) if left.note else lost(intent_from(left.record))
