"""Executions under way at three replicas while one is killed, one is frozen past its lease, and people decide at two
replicas at once."""

import os
import random
import re
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from bench.scale_house import SEES_S, Fleet
from bench.scale_pages import Pages
from tests.journeys.plane import FINAL, Plane

LOOK_S = 0.4
DRAIN_S = 300.0
WAKES_S = 8.0
"""From the end of the frost until what was refused is counted: a heartbeat comes every ten seconds, and one is late."""
LAST_CALLS = 400
REFUSED = re.compile(r'^preloop_runner_refused_total\{write="(\w+)"\} ([\d.]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happens when, in seconds."""

    executions: int
    begin_s: float
    """Over so long they are begun."""
    kill_at: float
    back_after: float
    freeze_at: float
    frozen_s: float
    """Longer than a lease; a runner elsewhere takes its executions over."""
    freeze_again_at: float | None = None
    """Nobody takes over what this one leaves: it is frozen longer than that is waited for."""
    frozen_again_s: float = 0.0


@dataclass(kw_only=True)
class Storm:
    """`ids`: the number of each execution. `refused`: what was refused to whoever woke, by frost and write."""

    fleet: Fleet
    course: Course
    pages: Pages
    seed: int
    ids: dict[str, int] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    """Verdicts that were taken."""
    races: int = 0
    twice: int = 0
    """Requests where both of two opposite verdicts were taken."""
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    held_by: Counter[str] = field(default_factory=Counter)
    """How many executions were under way at a replica when it was killed or frozen."""

    async def rage(self) -> None:
        async with anyio.create_task_group() as people:
            people.start_soon(self._people)
            async with anyio.create_task_group() as course:
                course.start_soon(self._begin)
                course.start_soon(self._kill)
                course.start_soon(self._freeze)
                if self.course.freeze_again_at is not None:
                    course.start_soon(self._freeze_again, self.course.freeze_again_at)
            await self._all_final()
            await self._start("frugal", self.course.executions, calls=LAST_CALLS, lines=4, seconds=1)
            await self._all_final()
            people.cancel_scope.cancel()

    async def _begin(self) -> None:
        chance, began = random.Random(self.seed), anyio.current_time()
        for number in range(self.course.executions):
            await anyio.sleep_until(began + number * self.course.begin_s / self.course.executions)
            long = number % 6 == 5
            wanted = {"seconds": 40 if long else chance.uniform(3, 10), "lines": 80 if long else 30}
            await self._start("frugal" if number % 3 == 1 else "thrifty", number, calls=6, **wanted)

    async def _start(self, flow: str, number: int, **wanted: float) -> None:
        payload = {"alias": "paid", "amount": 50 if number % 3 == 0 else 1500, **wanted}
        payload["recipient"] = f"person-{number}@example.com"
        headers = {"idempotency-key": f"scale-{number}"}
        made = await self._ask("POST", f"/flows/{flow}/executions", json={"payload": payload}, headers=headers)
        self.ids[made["execution_id"]] = number
        if number % 3 == 0 or number % 6 == 5:
            self.pages.look(made["execution_id"])

    async def _ask(self, method: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - a JSON value
        """At whichever replica is alive, in turn, until one answers."""
        with anyio.fail_after(SEES_S):
            while True:
                with suppress(httpx.TransportError, OSError, IndexError):
                    answer = await self.fleet.ask(random.choice(self._doors), method, f"/api/v1{path}", **more)
                    if answer.status_code < 500:
                        return answer.raise_for_status().json()
                await anyio.sleep(LOOK_S)

    @property
    def _doors(self) -> list[str]:
        return [name for name in self.fleet.alive if "successor" not in name]

    async def _people(self) -> None:
        """Yes and no at the same moment, at two replicas where two are there."""
        while True:
            with suppress(httpx.HTTPError, OSError, TimeoutError):
                found = await self._ask("GET", "/approvals?state=pending&limit=100")
                async with anyio.create_task_group() as racing:
                    for asked in found["items"]:
                        racing.start_soon(self._race, asked["id"])
            await anyio.sleep(LOOK_S)

    async def _race(self, approval: str) -> None:
        with suppress(httpx.HTTPError, OSError, TimeoutError, IndexError):
            digest = (await self._ask("GET", f"/approvals/{approval}"))["digest"]
            doors = random.sample(self._doors, k=min(2, len(self._doors)))
            taken: list[str] = []

            async def decide(at: str, verdict: str) -> None:
                said = {"verdict": verdict, "reason": "It is a race.", "digest": digest}
                with suppress(httpx.HTTPError, OSError):
                    answer = await self.fleet.ask(at, "POST", f"/api/v1/approvals/{approval}/decide", json=said)
                    if answer.status_code == 200:
                        taken.append(verdict)

            async with anyio.create_task_group() as both:
                both.start_soon(decide, doors[0], "approved")
                both.start_soon(decide, doors[-1], "declined")
            self.races += 1
            self.twice += len(taken) > 1
            self.said.update(taken)

    async def _kill(self) -> None:
        await anyio.sleep(self.course.kill_at)
        self.held_by["killed"] = await self._under_way("one")
        self.fleet.alive.remove("one")
        await self.fleet.replicas["one"].kill()
        await anyio.sleep(self.course.back_after)
        await self.fleet.start("one")

    async def _freeze(self) -> None:
        await anyio.sleep(self.course.freeze_at)
        thaws = anyio.current_time() + self.course.frozen_s
        before = await self._stop_clock("two", "frozen")
        self.fleet.successor("two")
        await self.fleet.start("two-successor")
        await anyio.sleep_until(thaws)
        await self._thaw("two", "frozen", before)

    async def _freeze_again(self, at: float) -> None:
        await anyio.sleep(at)
        before = await self._stop_clock("one", "frozen_longer")
        await anyio.sleep(self.course.frozen_again_s)
        await self._thaw("one", "frozen_longer", before)

    async def _stop_clock(self, name: str, what: str) -> Counter[str]:
        before = await self._refused(name)
        self.held_by[what] = await self._under_way(name)
        self.fleet.alive.remove(name)
        _signal(self.fleet.replicas[name], signal.SIGSTOP)
        return before

    async def _thaw(self, name: str, what: str, before: Counter[str]) -> None:
        _signal(self.fleet.replicas[name], signal.SIGCONT)
        await anyio.sleep(WAKES_S)
        self.refused[what] = await self._refused(name) - before
        self.fleet.alive.append(name)

    async def _refused(self, name: str) -> Counter[str]:
        told = (await self.fleet.ask(name, "GET", "/metrics")).text
        return Counter({write: int(float(count)) for write, count in REFUSED.findall(told)})

    async def _under_way(self, name: str) -> int:
        told = (await self.fleet.ask(name, "GET", "/metrics")).text
        found = re.search(r"^preloop_runner_executions ([\d.]+)$", told, re.MULTILINE)
        return int(float(found[1])) if found else 0

    async def _all_final(self) -> None:
        with anyio.fail_after(DRAIN_S):
            for id_ in list(self.ids):
                while (await self._ask("GET", f"/executions/{id_}"))["state"] not in FINAL:  # noqa: ASYNC110
                    await anyio.sleep(LOOK_S)


def _signal(plane: Plane, what: signal.Signals) -> None:
    assert plane.process
    os.kill(plane.process.pid, what)
