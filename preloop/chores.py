"""What happens by the clock, apart from notices (`sending`). Each chore is a named unit of conditional UPDATEs, so that
several processes may run it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from control import events
from control.approvals.desk import Desk
from control.executions import archive, queue, scheduled, storage
from control.executions.lifecycle import Lifecycle
from control.flows import timetable
from control.retention import deletion, of_flows, strays
from control.retention.rules import Rules
from kit.blobs import Blobs
from kit.clock import Clock
from kit.db import Database
from kit.errors import Unavailable
from kit.metrics import Counter
from kit.observe import log

FAILED = Counter("preloop_chore_failures_total", "Work by the clock that failed and is tried again.", "chore")
EVERY_S = 1.0
CLIMB_S = 5.0
"""How late a reminder may be."""
SEAL_S = 60.0
"""How old the last seal of a stream may be."""
METER_S = 5.0
"""How old the figures may be that a plan is full by: what is written meanwhile may pass it."""
FORGET_S = 60.0
"""How late what is too old goes."""
SHIP_S = 30.0
"""How late what a far store did not take at once goes there, and lines of long logs,"""
STRAYS_S = 3600.0
TIDY_S = 600.0
"""and how often it is looked through for what retention had taken."""


class Chores:
    """The clock's work of one process."""

    def __init__(
        self,
        db: Database,
        *,
        desk: Desk,
        lifecycle: Lifecycle,
        blobs: Blobs,
        retention: Rules,
        logs_from: int = archive.LEAST,
        max_pending: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Logs of `logs_from` bytes go to the blobs' far store. `max_pending` executions of one schedule may wait; it
        starts no more until then. `retention` are the rules of preloop.toml."""
        self._db = db
        self._blobs = blobs
        self._logs_from = logs_from
        self._retention = retention
        self._clock = clock or Clock()
        self._max_pending = max_pending
        self._desk = desk
        self._lifecycle = lifecycle

    def start(self, tasks: TaskGroup, adopted: anyio.Event) -> None:
        """`adopted` is set when workers had their first chance to take over what was lost."""
        tasks.start_soon(self._each, "approval deadlines", self._expire)
        tasks.start_soon(self._each, "reminders", self._climb, CLIMB_S)
        tasks.start_soon(self._each, "seals", self._seal, SEAL_S)
        tasks.start_soon(self._each, "time limits", self._overdue)
        tasks.start_soon(self._each, "schedules", self.fire)
        tasks.start_soon(self._each, "withdrawals", self._withdraw)
        tasks.start_soon(self._each, "storage", self._count, METER_S)
        tasks.start_soon(self._each, "retention", self.forget, FORGET_S)
        if self._blobs.far:
            tasks.start_soon(self._each, "files for the object store", self.ship, SHIP_S)
            tasks.start_soon(self._each, "strays in the object store", self.strays, STRAYS_S)
        tasks.start_soon(self._sweep_after, adopted)

    def start_tidying(self, tasks: TaskGroup) -> None:
        """Of a process to which containers hand over what is left."""
        tasks.start_soon(self._each, "what was handed over", self.tidy, TIDY_S)

    async def _each(self, name: str, chore: Callable[[], Awaitable[object]], every_s: float = EVERY_S) -> None:
        while True:
            await self._try(name, chore)
            await anyio.sleep(every_s)

    async def _try(self, name: str, chore: Callable[[], Awaitable[object]]) -> None:
        try:
            await chore()
        except Exception:
            FAILED.add(name.partition(" of ")[0])
            log.exception("a chore failed and will be tried again", chore=name)

    async def _expire(self) -> None:
        await self._db.write(self._desk.expire)

    async def _climb(self) -> None:
        await self._db.write(self._desk.climb)

    async def _seal(self) -> None:
        await events.seal(self._db)

    async def _overdue(self) -> None:
        await self._db.write(queue.overdue)

    async def fire(self) -> None:
        """Start what schedules say is due; one that fails stops no other."""
        for row in await self._db.write(timetable.due):
            start = partial(scheduled.fire, row=row, most_pending=self._max_pending)
            await self._try(f"schedule of {row.name}", partial(self._db.write, start))

    async def _count(self) -> None:
        await storage.count(self._db)

    async def forget(self) -> None:
        """Delete what the accounts' rules say is too old, or too much."""
        await of_flows.delete_due(self._db, self._blobs, self._clock.now())
        await deletion.delete_due(self._db, self._blobs, self._retention, self._clock.now())

    async def ship(self) -> None:
        """To the far store: files that it did not take before, and lines of long logs that are over."""
        with _unless_away():
            await strays.ship(self._db, self._blobs)
            await archive.move_due(self._db, self._blobs, self._logs_from)

    async def tidy(self) -> None:
        """Delete what was handed over and read."""
        with _unless_away():
            await strays.tidy(self._db, self._blobs)

    async def strays(self) -> None:
        """Delete blobs whose content retention had taken."""
        with _unless_away():
            await strays.sweep(self._db, self._blobs)

    async def _withdraw(self) -> None:
        await self._db.write(lambda tx: queue.withdraw(tx, self._lifecycle))

    async def _sweep_after(self, adopted: anyio.Event) -> None:
        await adopted.wait()
        await self._each("lost executions", self._sweep)

    async def _sweep(self) -> None:
        await self._db.write(lambda tx: queue.sweep(tx, self._lifecycle))


@contextmanager
def _unless_away() -> Iterator[None]:
    """A far store that does not answer is asked again later: nothing of ours failed, and nothing is lost."""
    try:
        yield
    except Unavailable as fault:
        log.warning("content waits for the object store", why=fault.message)
