"""Starting and stopping: settle what dead workers left, run the flush, make one application per listener."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from control.identity.sessions import Doorkeeper
from gateway.app import GatewayApp
from gateway.attempt import happened_from, intent_from, lost
from gateway.flush import BATCH, Happened, open_flush, unit
from gateway.models import Models
from gateway.settings import GatewaySettings
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database, Lane, Tx
from kit.journal import Journal, Left, Remains, remains
from kit.observe import log
from ledger import budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway. `app(doorkeeper)` makes the application of one listener."""

    app: Callable[[Doorkeeper], GatewayApp]
    models: Models


@asynccontextmanager
async def open_gateway(
    *, db: Database, bus: Bus, settings: GatewaySettings, folder: Path, clock: Clock | None = None
) -> AsyncIterator[Gateway]:
    """Open before the listeners and close after them, while the database is open. `folder` holds the journals."""
    clock = clock or Clock()
    models = Models(settings)
    await recover(db, folder)
    journal = Journal(folder)
    try:
        async with open_flush(db, journal) as flush:

            def app(doorkeeper: Doorkeeper) -> GatewayApp:
                return GatewayApp(
                    db=db,
                    bus=bus,
                    doorkeeper=doorkeeper,
                    settings=settings,
                    models=models,
                    flush=flush,
                    journal=journal,
                    clock=clock,
                )

            yield Gateway(app=app, models=models)
    finally:
        journal.end()


async def recover(db: Database, folder: Path) -> int:
    """Settle what dead workers left open; how many attempts that were."""
    with remains(folder) as dead:
        for one in dead:
            await _settle(db, one)
        return sum(len(one.left) for one in dead)


async def _settle(db: Database, one: Remains) -> None:
    settled = [_settled(left) for left in one.left]
    for start in range(0, len(settled), BATCH):
        await db.write(unit(settled[start : start + BATCH]), lane=Lane.BULK)

    def release(tx: Tx) -> bool:
        return budgets.release_of(tx, one.journal)

    await db.write(release)
    one.remove()
    if settled:
        log.warning("settled what a dead worker left", attempts=len(settled), journal=one.journal)


def _settled(left: Left) -> Happened:
    """Exact when it had ended and only the commit was missing; else an estimate, marked as lost."""
    return happened_from(left.note) if left.note else lost(intent_from(left.record))
