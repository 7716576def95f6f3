"""So many agents at once on roles of their own over PostgreSQL: how many of each role they need, and who then waits for
what, by the same kind of model as `capacity_model`. Pure.

An agent goes in steps: it asks its model, calls a tool, says some lines. How it works is an assumption, written in
bench/capacity.toml beside what was measured; another one gives another page.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from bench.capacity_model import BUSY, SLICE_S, Act, Clock, Station, percentile

Costs = Mapping[str, float]
SIMULATED_S, WARM_S = 30.0, 5.0
PIECES = 40
"""A start is not one long job: the engine is asked so often, and others have their turn between."""
ROLES = ("runner", "gateway", "mcp", "database")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What so many agents ask for, each second: seconds of each role's processor, and things."""

    starts: float
    steps: float
    lines: float
    writes: float
    cpu: Mapping[str, float]
    hosts: float
    """Engines that only start containers, all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """So many agents on processes that are busy for at most BUSY of their time."""

    agents: int
    load: Load
    needs: Mapping[str, int]
    """Processes of each role; of the database processors; hosts that start containers."""
    busy: Mapping[str, float]
    line_p99_s: float
    model_p99_s: float
    tool_p99_s: float


def load(costs: Costs, agents: int) -> Load:
    steps, starts = agents / costs["step_s"], agents / (costs["run_minutes"] * 60)
    chunks, beats = steps * costs["step_chunks"], agents / costs["heartbeat_s"]
    write = costs["postgres_write_cpu_ms"] / 1000
    more = write - costs["sqlite_write_cpu_ms"] / 1000  # calls were measured on SQLite, their writes within
    lines = steps * costs["step_lines"]
    flushes = min(steps, 10 * math.ceil(steps * model_s(costs) / BUSY))  # ten a second of each gateway at most
    writes = chunks + beats + steps * costs["tool_call_writes"] + flushes + starts * costs["execution_writes"]
    cpu = {
        "runner": chunks * write
        + beats * write
        + lines * costs["line_cpu_us"] / 1e6
        + starts * costs["container_cpu_ms"] / 1000,
        "gateway": steps * model_s(costs) + flushes * more,
        "mcp": steps * (costs["tool_call_cpu_ms"] / 1000 + costs["tool_call_writes"] * more),
        "database": writes * costs["postgres_database_cpu_ms"] / 1000,
    }
    hosts = starts / costs["containers_per_s"]
    return Load(starts=starts, steps=steps, lines=lines, writes=writes, cpu=cpu, hosts=hosts)


def model_s(costs: Costs) -> float:
    """Of a gateway, for one call that streams."""
    return costs["model_call_cpu_ms"] / 1000 + costs["step_events"] * costs["stream_event_cpu_us"] / 1e6


def scaled(costs: Costs, agents: int) -> Scaled:
    wanted = load(costs, agents)
    needs = {role: math.ceil(wanted.cpu[role] / BUSY) for role in ROLES}
    needs["runner"] = max(needs["runner"], math.ceil(wanted.hosts / BUSY))  # each has an engine of its own
    plane = _Plane(costs, needs, wanted)
    plane.run(agents)
    return Scaled(
        agents=agents,
        load=wanted,
        needs=needs,
        busy={role: wanted.cpu[role] / needs[role] for role in ROLES},
        line_p99_s=percentile(plane.lines, 0.99),
        model_p99_s=percentile(plane.models, 0.99),
        tool_p99_s=percentile(plane.tools, 0.99),
    )


def wall(costs: Costs, role: str) -> int:
    """How many agents one process of a role holds, or one processor of the database."""
    each = load(costs, 100_000)
    return int(100_000 * BUSY / each.cpu[role])


class _Plane:
    """Steps come as they like; their parts are served in turn."""

    def __init__(self, costs: Costs, needs: Mapping[str, int], wanted: Load) -> None:
        self.costs, self.wanted = costs, wanted
        self.clock, self.chance = Clock(), random.Random(1)
        self.of = {role: [Station(self.clock) for _ in range(needs[role])] for role in ROLES[:3]}
        self.database = Station(self.clock, needs["database"])
        self.lines: list[tuple[float, int]] = []
        self.models: list[tuple[float, int]] = []
        self.tools: list[tuple[float, int]] = []

    def run(self, agents: int) -> None:
        self._come(self.wanted.steps, self._step)
        self._come(agents / self.costs["heartbeat_s"], lambda: self._write("runner", lambda: None))
        self._come(self.wanted.starts, self._start)
        self.clock.run(SIMULATED_S)

    def _come(self, per_s: float, act: Act) -> None:
        def next_() -> None:
            act()
            self.clock.at(self.clock.now + self.chance.expovariate(per_s), next_)

        self.clock.at(self.chance.expovariate(per_s), next_)

    def _step(self) -> None:
        began = self.clock.now
        answered = lambda: self._note(self.models, began)  # noqa: E731
        self._serve("gateway", model_s(self.costs), answered)
        self.clock.at(began + self.chance.uniform(0, self.costs["step_s"]) % 1, self._tool)
        for _ in range(int(self.costs["step_chunks"])):
            said = began + self.chance.uniform(0, 1)
            self.clock.at(said + self.chance.uniform(0, SLICE_S), lambda said=said: self._chunk(said))  # type: ignore[misc]

    def _tool(self) -> None:
        began, writes = self.clock.now, int(self.costs["tool_call_writes"])
        each = self.wanted.cpu["mcp"] / self.wanted.steps / (writes + 1)

        def on(left: int) -> None:
            if left:
                self._serve("mcp", each, lambda: self._commit(lambda: on(left - 1)))
            else:
                self._serve("mcp", each, lambda: self._note(self.tools, began))

        on(writes)

    def _chunk(self, said: float) -> None:
        lines = self.costs["step_lines"] / self.costs["step_chunks"] * self.costs["line_cpu_us"] / 1e6
        self._serve("runner", lines, lambda: self._write("runner", lambda: self._note(self.lines, said)))

    def _start(self) -> None:
        piece_s = self.costs["container_cpu_ms"] / 1000 / PIECES
        for _ in range(PIECES):
            self.clock.at(
                self.clock.now + self.chance.uniform(0, 2), lambda: self._serve("runner", piece_s, lambda: None)
            )
        for _ in range(int(self.costs["execution_writes"])):
            self.clock.at(self.clock.now + self.chance.uniform(0, 1), lambda: self._commit(lambda: None))

    def _write(self, role: str, then: Act) -> None:
        self._serve(role, self.costs["postgres_write_cpu_ms"] / 1000, lambda: self._commit(then))

    def _serve(self, role: str, seconds: float, then: Act) -> None:
        self.chance.choice(self.of[role]).take(seconds, then)

    def _commit(self, then: Act) -> None:
        rest = self.costs["postgres_commit_ms"] / 1000
        self.database.take(
            self.costs["postgres_database_cpu_ms"] / 1000, lambda: self.clock.at(self.clock.now + rest, then)
        )

    def _note(self, seen: list[tuple[float, int]], began: float) -> None:
        if began > WARM_S:
            seen.append((self.clock.now - began, 1))
