"""Which upstream is asked next: order and weight, what is out of order, how long to wait before asking again.

`Routing` remembers how each upstream fared; it asks nobody. Its rules: an upstream that failed several times in a row
is left alone for a while, then one call tries it; one that said when to come back, or whose account is empty, is asked
after all that are free; whatever broke before the first token may be asked again or elsewhere, within the alias's
`retries`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from gateway.upstream import Key, Route, Target, UpstreamFailed
from kit.clock import Clock
from kit.errors import Fault

State = Literal["closed", "open", "half_open"]
Move = Literal["first", "retry", "fallback"]
WAIT_MOST_S = 5
"""An upstream that wants us to wait longer is not waited for."""
BACKOFF_S = 0.25
HERE_ONLY = (401, 403, 404)
"""Answers that mean this upstream is set up wrong: it would say the same again."""


@dataclass(slots=True)
class Health:
    """How one upstream fares, in this process. Times are the clock's monotonic seconds."""

    failures: int = 0  # in a row
    open_until: float | None = None
    trying: bool = False  # a call is finding out whether it is well again
    busy_until: float = 0.0
    last_error: str | None = None
    last_error_at: str | None = None
    answered: int = 0
    failed: int = 0

    def state(self, now: float) -> State:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half_open"

    def admits(self, now: float) -> bool:
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self.trying)


class Step(Struct, frozen=True, kw_only=True):
    """Ask this one, after a wait."""

    target: Target
    move: Move = "first"
    wait_s: float = 0.0


class Routing:
    """The memory of one process."""

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._health: dict[Key, Health] = {}

    def health(self, target: Target) -> Health:
        found = self._health.get(target.key)
        if found is None:
            found = self._health[target.key] = Health()
        return found

    def open(self, target: Target) -> bool:
        """Is it left alone at the moment?"""
        return self.health(target).state(self._clock.monotonic()) == "open"

    def first(self, route: Route) -> Step:
        """Whom to ask; UpstreamFailed when all of them are out of order."""
        if len(route.targets) == 1 and self._admits(route.targets[0]):
            return Step(target=route.targets[0])
        chosen = self._choose(route.targets)
        if chosen is None:
            raise self._closed(route)
        return Step(target=chosen)

    def take(self, target: Target) -> bool:
        """Right before it is asked: may it be? Whoever takes one that is half open tries it for all, until `went`,
        which must follow on every exit: nothing may wait in between."""
        if not self._admits(target):
            return False
        health = self.health(target)
        health.trying = health.open_until is not None
        return True

    def next(self, route: Route, tried: Sequence[Target], fault: Fault | None) -> Step | None:
        """Where to go on after the last of `tried` broke before its first token, or None."""
        if not isinstance(fault, UpstreamFailed) or fault.final or len(tried) > route.settings.retries:
            return None
        last, others = tried[-1], [target for target in route.targets if target not in tried]
        wait_s = self._wait(fault, len(tried))
        hopeless = fault.answered in HERE_ONLY or fault.code == "upstream_stalled" or fault.penniless
        says_when = fault.retry_after_s is not None and not fault.penniless
        chosen = self._choose(self._free(others))
        if chosen is None and says_when and wait_s is not None and (again := self._again(last, wait_s)):
            return again
        if chosen := chosen or self._choose(others):
            return Step(target=chosen, move="fallback")
        return None if wait_s is None or hopeless else self._again(last, wait_s)

    def _again(self, target: Target, wait_s: float) -> Step | None:
        return Step(target=target, move="retry", wait_s=wait_s) if self._admits(target) else None

    def went(self, target: Target, fault: Fault | None, *, ended: bool) -> None:
        """How a call went. Neither a fault of the upstream nor `ended`: it says nothing about the upstream."""
        health = self.health(target)
        health.trying = False
        if isinstance(fault, UpstreamFailed) and not fault.final:
            self._failed(health, target, fault)
        elif ended:
            health.failures, health.open_until = 0, None
            health.answered += 1

    def _failed(self, health: Health, target: Target, fault: UpstreamFailed) -> None:
        now = self._clock.monotonic()
        health.last_error, health.last_error_at = fault.message, self._clock.now().isoformat(timespec="seconds")
        health.failed += 1
        if fault.penniless:  # well, and of no use for a while: asked where no other is free
            health.busy_until = now + target.settings.breaker_s
            return
        if fault.answered == 429:  # well, but busy
            health.busy_until = now + (fault.retry_after_s or 1)
            return
        health.failures += 1
        if health.failures >= target.settings.breaker_failures:
            health.open_until = now + target.settings.breaker_s

    def _admits(self, target: Target) -> bool:
        return self.health(target).admits(self._clock.monotonic())

    def _choose(self, targets: Sequence[Target]) -> Target | None:
        """One of the lowest order that is well and not busy, by weight; else one that is busy."""
        free = self._free(targets) or [target for target in targets if self._admits(target)]
        if not free:
            return None
        order = min(target.settings.order for target in free)
        equal = [target for target in free if target.settings.order == order]
        left = self._chance() * sum(target.settings.weight for target in equal)
        for target in equal:
            left -= target.settings.weight
            if left < 0:
                return target
        return equal[-1]

    def _free(self, targets: Sequence[Target]) -> list[Target]:
        """Those that are well and not busy."""
        now = self._clock.monotonic()
        return [one for one in targets if self.health(one).admits(now) and self.health(one).busy_until <= now]

    def _wait(self, fault: UpstreamFailed, tries: int) -> float | None:
        """Seconds before the same upstream is asked again; None when it wants more than we wait."""
        if fault.retry_after_s is not None:
            return float(fault.retry_after_s) if fault.retry_after_s <= WAIT_MOST_S else None
        return float(BACKOFF_S * 2 ** (tries - 1) * (0.5 + self._chance() / 2))

    def _closed(self, route: Route) -> UpstreamFailed:
        now = self._clock.monotonic()
        soonest = min((self.health(target).open_until or now) - now for target in route.targets)
        return UpstreamFailed(
            f"The model behind {route.alias!r} is out of order: it failed several times in a row.",
            code="upstream_out_of_order",
            retry_after_s=max(1, round(soonest)),
        )
