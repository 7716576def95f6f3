"""Starting and stopping: settle what dead workers left, run the flush, make one application per listener."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from control.identity.caps import Caps
from control.identity.doorkeeper import Doorkeeper
from control.paces import Rates, rates
from gateway.admission import Admission
from gateway.app import GatewayApp
from gateway.checks import Checks
from gateway.client import Client, open_client
from gateway.flush import Flush, open_flush
from gateway.holds import Holds
from gateway.keys import Keys
from gateway.lender import Lender, open_lender
from gateway.lookout import Lookout
from gateway.models import Models
from gateway.recovery import settle_lost, watch_for_lost
from gateway.relay import Relay
from gateway.routing import Routing
from gateway.settings import GatewaySettings, limits
from gateway.voices import Voices
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database
from kit.journal import Journal
from ledger.purse import Purse

END_S = 10.0


class Opened(Protocol):
    """Makes the application of one listener; `caps` are what one session may do in this process, None is no limit."""

    def __call__(self, doorkeeper: Doorkeeper, caps: Caps | None = None) -> GatewayApp: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway. `app(doorkeeper, caps)` makes the application of one listener."""

    app: Opened
    models: Models
    checks: Checks
    settled: Callable[[], Awaitable[None]]
    """Wait until what happened so far is in the ledger: before a figure is read that must be whole."""
    drain: Callable[[float], None]
    """Calls may go on for so many seconds; then each ends with a word to its client. Called once, when we stop."""


@asynccontextmanager
async def open_gateway(
    *,
    db: Database,
    bus: Bus,
    settings: GatewaySettings,
    folder: Path,
    clock: Clock | None = None,
    shared: bool = False,
) -> AsyncIterator[Gateway]:
    """Open before the listeners and close after them, while the database is open. `folder` holds the journals.
    `shared`: other processes of the database answer calls too, and paces count for all of them."""
    clock = clock or Clock()
    await settle_lost(db, folder)
    journal, purse = Journal(folder), Purse()
    lender = Lender(db=db, purse=purse, worker=journal.name, clock=clock)
    try:
        async with (
            open_flush(db, journal, strict=settings.strict) as flush,
            open_lender(lender),
            open_client(clock) as client,
            anyio.create_task_group() as tasks,
        ):
            holds = Holds(
                limits=limits(settings.budgets),
                purse=purse,
                lender=lender,
                flush=flush,
                journal=journal,
                clock=clock,
                reclaim=partial(settle_lost, db, folder),
                strict=settings.strict,
            )
            tasks.start_soon(watch_for_lost, db, folder)
            try:
                yield _built(db, settings, bus, clock, tasks, holds, flush, client, rates(db, shared=shared))
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(END_S, shield=True):
            await _end(lender, journal)


def _built(
    db: Database,
    settings: GatewaySettings,
    bus: Bus,
    clock: Clock,
    tasks: TaskGroup,
    holds: Holds,
    flush: Flush,
    client: Client,
    paced: Rates,
) -> Gateway:
    keys, routing = Keys(), Routing(clock)
    models = Models(settings, keys)
    admission = Admission(models=models, holds=holds, flush=flush, rates=paced, clock=clock)
    voices = Voices(models, client, keys)
    lookouts: list[Lookout] = []

    def app(doorkeeper: Doorkeeper, caps: Caps | None = None) -> GatewayApp:
        lookout = Lookout(db, doorkeeper, bus, clock, drain_s=settings.drain_s)
        lookouts.append(lookout)
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
        return GatewayApp(doorkeeper=doorkeeper, settings=settings, models=models, relay=relay, caps=caps)

    return Gateway(
        app=app,
        models=models,
        checks=Checks(models=models, routing=routing, client=client, keys=keys, clock=clock),
        settled=holds.settled,
        drain=partial(_drain, tasks, lookouts),
    )


def _drain(tasks: TaskGroup, lookouts: Sequence[Lookout], within_s: float) -> None:
    tasks.start_soon(_stop, lookouts, within_s)


async def _stop(lookouts: Sequence[Lookout], within_s: float) -> None:
    await anyio.sleep(within_s)
    for lookout in lookouts:
        lookout.stop()


async def _end(lender: Lender, journal: Journal) -> None:
    """Leases go back when all is in the ledger that was spent of them; else the next start does both."""
    returned = False
    try:
        returned = not journal.pending and await lender.end()
    finally:
        journal.end(keep=not returned)
