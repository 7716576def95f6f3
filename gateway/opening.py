"""Starting and stopping: settle what dead workers left, run the flush, make one application per listener."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from control.identity.sessions import Doorkeeper
from gateway.admission import Admission
from gateway.app import GatewayApp
from gateway.client import open_client
from gateway.flush import open_flush
from gateway.holds import Holds
from gateway.keys import Keys
from gateway.lookout import Lookout
from gateway.models import Models
from gateway.recovery import settle_lost
from gateway.relay import Relay
from gateway.routing import Routing
from gateway.settings import GatewaySettings
from gateway.voices import Voices
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database
from kit.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway. `app(doorkeeper)` makes the application of one listener."""

    app: Callable[[Doorkeeper], GatewayApp]
    models: Models
    routing: Routing
    settled: Callable[[], Awaitable[None]]
    """Wait until what happened so far is in the ledger: before a figure is read that must be whole."""


@asynccontextmanager
async def open_gateway(
    *, db: Database, bus: Bus, settings: GatewaySettings, folder: Path, clock: Clock | None = None
) -> AsyncIterator[Gateway]:
    """Open before the listeners and close after them, while the database is open. `folder` holds the journals."""
    clock = clock or Clock()
    keys, routing = Keys(), Routing(clock)
    models = Models(settings, keys)
    await settle_lost(db, folder)
    journal = Journal(folder)
    try:
        async with open_flush(db, journal) as flush, open_client() as client, anyio.create_task_group() as tasks:
            holds = Holds(db=db, flush=flush, journal=journal)
            admission = Admission(models=models, holds=holds, flush=flush, clock=clock)
            voices = Voices(models, client, keys)

            def app(doorkeeper: Doorkeeper) -> GatewayApp:
                lookout = Lookout(doorkeeper, bus, clock, drain_s=settings.drain_s)
                tasks.start_soon(lookout.run)
                relay = Relay(
                    admission=admission,
                    routing=routing,
                    voices=voices,
                    holds=holds,
                    flush=flush,
                    lookout=lookout,
                    settings=settings,
                    clock=clock,
                )
                return GatewayApp(doorkeeper=doorkeeper, settings=settings, models=models, relay=relay)

            try:
                yield Gateway(app=app, models=models, routing=routing, settled=flush.settled)
            finally:
                tasks.cancel_scope.cancel()
    finally:
        journal.end()
