"""Waking whoever waits. A topic is a name and carries no data: the reader goes back to the database after its number.

Publishing happens on the event loop's thread only. A lost wake-up makes a page late, never wrong: each waiter also
looks again after a time limit of its own.
"""

from collections.abc import Callable
from types import TracebackType

import anyio


class Watch:
    """One waiter on some topics, until closed. Wake-ups that come while nobody waits are kept as one."""

    def __init__(self, bus: "Bus", topics: tuple[str, ...], then: Callable[[], None] | None = None) -> None:
        self._bus = bus
        self._topics = topics
        self._then = then
        self._event = anyio.Event()

    @property
    def pending(self) -> bool:
        """Was there a wake-up that nobody has waited for yet?"""
        return self._event.is_set()

    def poke(self) -> None:
        self._event.set()
        if self._then:
            self._then()

    async def changed(self, limit_s: float) -> bool:
        """Wait for a wake-up; False when `limit_s` seconds passed without one."""
        with anyio.move_on_after(limit_s):
            await self._event.wait()
        woken = self._event.is_set()
        if woken:
            self._event = anyio.Event()
        return woken

    def close(self) -> None:
        self._bus.leave(self, self._topics)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Bus:
    """Topics of one process; what a commit of another one publishes comes by its database (`Database.hear`)."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    def publish(self, topic: str) -> None:
        for watch in tuple(self._watches.get(topic, ())):
            watch.poke()

    def publish_all(self) -> None:
        """Wake everybody: some wake-up was lost, and nobody knows which."""
        for watch in {watch for waiting in self._watches.values() for watch in waiting}:
            watch.poke()

    def watch(self, *topics: str, then: Callable[[], None] | None = None) -> Watch:
        """Subscribe first, then read, then wait: so no change falls between. `then` is called at every wake-up."""
        watch = Watch(self, topics, then)
        for topic in topics:
            self._watches.setdefault(topic, set()).add(watch)
        return watch

    def leave(self, watch: Watch, topics: tuple[str, ...]) -> None:
        for topic in topics:
            waiting = self._watches.get(topic, set())
            waiting.discard(watch)
            if not waiting:
                self._watches.pop(topic, None)
