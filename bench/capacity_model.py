"""A discrete-event model of a plane: who waits for what, when so many agents work at once. Pure.

Stations take jobs in the order in which they come. What a job costs is measured (bench/capacity.toml); what a station
is, is said here: a process of ours is one server, as Python is, an engine starts two containers at a time, a database
has cores. Knows nothing of networks, disks that stall, and neighbours on the machine.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

Act = Callable[[], None]
SLICE_S, SIP_S, TICK_S = 0.1, 0.05, 0.05
"""How long lines are gathered for one chunk, a reader rests between two reads, and a talker between two bursts."""
GROUP = 64
"""Writes that SQLite's writer commits at once."""
STARTS_AT_ONCE = 2
START_S = 0.8
"""As bench/recovery_streams lets each have, before all talk."""
BUSY = 0.6
"""Of a station, at most: above it waiting grows faster than work does."""


class Clock:
    """What is due, by time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Act]] = []
        self._order = count()

    def at(self, when: float, act: Act) -> None:
        heappush(self._due, (when, next(self._order), act))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, act = heappop(self._due)
            act()


class Station:
    """So many servers, one queue."""

    def __init__(self, clock: Clock, servers: int = 1) -> None:
        self._clock = clock
        self._free = [0.0] * servers
        self.busy_s = 0.0

    def take(self, seconds: float, then: Act) -> None:
        end = max(self._clock.now, heappop(self._free)) + seconds
        heappush(self._free, end)
        self.busy_s += seconds
        self._clock.at(end, then)


class Writer:
    """Commits together whatever waits: a commit takes its time, and each write some more."""

    def __init__(self, clock: Clock, commit_s: float) -> None:
        self._clock, self._commit_s = clock, commit_s
        self._waiting: list[Act] = []
        self._under_way = False

    def take(self, then: Act) -> None:
        self._waiting.append(then)
        if not self._under_way:
            self._commit()

    def _commit(self) -> None:
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        self._under_way = bool(group)
        if group:
            self._clock.at(self._clock.now + self._commit_s, lambda: self._committed(group))

    def _committed(self, group: Sequence[Act]) -> None:
        for then in group:
            then()
        self._commit()


@dataclass(slots=True)
class Talk:
    """One container's lines on their way to rows. `unread` and `gathered` are (said at, how many)."""

    unread: list[tuple[float, int]] = field(default_factory=list)
    gathered: list[tuple[float, int]] = field(default_factory=list)
    reading: bool = False
    storing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What is expected of so many containers that talk at once."""

    starts_per_s: float
    lines_per_s: float
    p50_s: float
    p99_s: float
    cpu_s: float


class Runner:
    """Reads what containers say, gathers it and stores it, on one plane with SQLite."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self.clock = Clock()
        self.loop = Station(self.clock)
        self.writer = Writer(self.clock, costs["sqlite_commit_ms"] / 1000)
        self.line_s, self.write_s = costs["line_cpu_us"] / 1e6, costs["sqlite_write_cpu_ms"] / 1000
        self.late: list[tuple[float, int]] = []
        self.stored_at: list[float] = []

    def say(self, talk: Talk, lines: int) -> None:
        talk.unread.append((self.clock.now, lines))
        if not talk.reading:
            self._read(talk)

    def _read(self, talk: Talk) -> None:
        read, talk.unread = talk.unread, []
        talk.reading = bool(read)
        if read:
            self.loop.take(sum(lines for _, lines in read) * self.line_s, lambda: self._gather(talk, read))

    def _gather(self, talk: Talk, read: list[tuple[float, int]]) -> None:
        talk.gathered += read
        self.clock.at(self.clock.now + SIP_S, lambda: self._read(talk))
        if not talk.storing:
            talk.storing = True
            self.clock.at(self.clock.now + SLICE_S, lambda: self._store(talk))

    def _store(self, talk: Talk) -> None:
        chunk, talk.gathered = talk.gathered, []
        if not chunk:
            talk.storing = False
            return
        self.loop.take(self.write_s, lambda: self.writer.take(lambda: self._stored(talk, chunk)))

    def _stored(self, talk: Talk, chunk: list[tuple[float, int]]) -> None:
        self.late += [(self.clock.now - said, lines) for said, lines in chunk]
        self.stored_at.append(self.clock.now)
        self.clock.at(self.clock.now + SLICE_S, lambda: self._store(talk))


def streamed(costs: Mapping[str, float], containers: int, rate: int, seconds: int) -> Streamed:
    """Containers that begin one after the other and talk from one moment on."""
    runner, chance = Runner(costs), random.Random(containers)
    engine = Station(runner.clock, STARTS_AT_ONCE)
    begun: list[float] = []
    for _ in range(containers):
        engine.take(STARTS_AT_ONCE / costs["containers_per_s"], lambda: begun.append(runner.clock.now))
    burst = int(rate * TICK_S)
    begins = max(containers * START_S + 5, containers / costs["containers_per_s"])
    for _ in range(containers):
        talk, phase = Talk(), chance.uniform(0, TICK_S)
        for tick in range(round(seconds / TICK_S)):
            runner.clock.at(begins + phase + tick * TICK_S, lambda talk=talk: runner.say(talk, burst))  # type: ignore[misc]
    runner.clock.run(begins + 10 * seconds)
    lines, wall = containers * rate * seconds, begins + seconds
    return Streamed(
        starts_per_s=containers / begun[-1],
        lines_per_s=lines / (runner.stored_at[-1] - runner.stored_at[0]),
        p50_s=percentile(runner.late, 0.5),
        p99_s=percentile(runner.late, 0.99),
        cpu_s=runner.loop.busy_s + containers * costs["container_cpu_ms"] / 1000 + wall * costs["idle_cpu_ms"] / 1000,
    )


def percentile(weighed: Sequence[tuple[float, int]], share: float) -> float:
    """Of values that each count so many times."""
    left = share * sum(weight for _, weight in weighed)
    for value, weight in sorted(weighed):
        left -= weight
        if left <= 0:
            return value
    return 0.0
