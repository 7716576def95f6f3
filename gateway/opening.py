"""Starting and stopping: settle what dead workers left, run the flush, make one application per listener."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from control.identity.sessions import Doorkeeper
from gateway.app import GatewayApp
from gateway.flush import open_flush
from gateway.models import Models
from gateway.recovery import settle_lost
from gateway.settings import GatewaySettings
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database
from kit.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway. `app(doorkeeper)` makes the application of one listener."""

    app: Callable[[Doorkeeper], GatewayApp]
    models: Models
    settled: Callable[[], Awaitable[None]]
    """Wait until what happened so far is in the ledger: before a figure is read that must be whole."""


@asynccontextmanager
async def open_gateway(
    *, db: Database, bus: Bus, settings: GatewaySettings, folder: Path, clock: Clock | None = None
) -> AsyncIterator[Gateway]:
    """Open before the listeners and close after them, while the database is open. `folder` holds the journals."""
    clock = clock or Clock()
    models = Models(settings)
    await settle_lost(db, folder)
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

            yield Gateway(app=app, models=models, settled=flush.settled)
    finally:
        journal.end()
