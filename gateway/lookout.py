"""Who watches over the calls that run: is the session alive, is the client still there?

One task for all calls of a listener, so that a short call costs next to nothing: only one that lasts gets a watcher for
its client. A revocation in this process ends a call at once, one elsewhere within a second; a stop ends all of them.
"""

import anyio
from anyio.abc import TaskGroup

from control.identity import endings, sessions
from control.identity.doorkeeper import Doorkeeper
from gateway.call import Call
from kit.bus import Bus, Watch
from kit.clock import Clock
from kit.db import Database
from kit.errors import Fault, Unauthorized, Unavailable
from kit.observe import log

ROUND_S = 0.1
"""Between two looks, and how long a call may last before its client is watched."""
SESSIONS_S = 0.4
"""Between two looks, in one question for all, which sessions another process revoked."""
LAST_WORD_S = 0.5
"""How long a client may take to read why we stop."""


class Lookout:
    """The calls of one listener. `run` while it is open."""

    def __init__(self, db: Database, doorkeeper: Doorkeeper, bus: Bus, clock: Clock, *, drain_s: float) -> None:
        self._db = db
        self._doorkeeper = doorkeeper
        self._bus = bus
        self._clock = clock
        self._drain_s = drain_s
        self._calls: dict[Call, float] = {}
        self._leaving: dict[Call, anyio.CancelScope] = {}
        self._sessions: dict[str, tuple[Watch, set[Call]]] = {}
        self._some = anyio.Event()
        self._stopping: Fault | None = None

    def begin(self, call: Call) -> None:
        """Watch over a call until it is finished."""
        if not self._calls:
            self._some.set()
        self._calls[call] = self._clock.monotonic()
        id_ = call.principal.session_id
        known = self._sessions.get(id_)
        if known is None:
            known = self._sessions[id_] = (self._bus.watch(sessions.topic(id_), then=self._hurry), set())
        known[1].add(call)
        if self._stopping:
            _stop(call, self._stopping)

    def stop(self) -> None:
        """End all calls, and those that are still to begin: their clients hear so in the words of their wires."""
        self._stopping = Unavailable("gateway_stopping", "The gateway stops.", "Ask again in a moment.")
        for call in self._calls:
            _stop(call, self._stopping)

    def finish(self, call: Call) -> None:
        del self._calls[call]
        id_ = call.principal.session_id
        watch, calls = self._sessions[id_]
        calls.discard(call)
        if not calls:
            watch.close()
            del self._sessions[id_]
        if leaving := self._leaving.pop(call, None):
            leaving.cancel()

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_regularly)
            while True:
                await self._round()
                self._watch_clients(tasks, self._clock.monotonic())
                await self._look([calls for watch, calls in self._sessions.values() if watch.pending])

    async def _round(self) -> None:
        """Wait until there are calls, then for a moment or until somebody hurries us."""
        if not self._calls:
            self._some = anyio.Event()
            await self._some.wait()
        self._some = anyio.Event()
        with anyio.move_on_after(ROUND_S):
            await self._some.wait()

    async def _look_regularly(self) -> None:
        """Whoever revokes in another process can't wake us: we wake ourselves, and all who trust what they read."""
        while True:
            await anyio.sleep(SESSIONS_S)
            try:
                for id_ in await endings.ended(self._db, tuple(self._sessions)):
                    self._bus.publish(sessions.topic(id_))
            except Exception:  # the database does not answer: that alone ends no stream
                log.exception("could not look after sessions")

    def _hurry(self) -> None:
        self._some.set()

    def _watch_clients(self, tasks: TaskGroup, now: float) -> None:
        for call, began in self._calls.items():
            if call not in self._leaving and now - began >= ROUND_S:
                self._leaving[call] = anyio.CancelScope()
                tasks.start_soon(self._until_left, call, self._leaving[call])

    async def _until_left(self, call: Call, leaving: anyio.CancelScope) -> None:
        """A client that left ends its call, at once or when there was time to read the answer to its end."""
        with leaving:
            await call.outlet.left()
            if call.drains:
                await anyio.sleep(self._drain_s)
            call.end(Fault("client_left", "The client left before the answer's end."))

    async def _look(self, groups: list[set[Call]]) -> None:
        """End the calls whose session has ended."""
        for token, calls in [(call.token, group) for group in groups for call in tuple(group)[:1]]:
            try:
                await self._doorkeeper.admit(token)
            except Unauthorized as fault:
                for call in tuple(calls):
                    call.end(fault)
            except Exception:  # the database does not answer: that alone ends no stream
                log.exception("could not look after a session")


def _stop(call: Call, fault: Fault) -> None:
    call.end(fault)
    call.outlet.hurry(LAST_WORD_S)
