"""Kills at random moments while executions begin, wait for people, are cancelled and end."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field

import anyio

from bench.chaos_house import Chaos, Kept

FINAL = {"SUCCEEDED", "FAILED", "TIMEOUT", "CANCELLED"}
EARLY = 0.25
"""How many of the kills hit a process that may not listen yet."""
LULL_S = 6.0
"""The longest a process that listens lives."""
AHEAD = 12
"""Executions that are begun before their part of the kills is done: so that there are always some to hit."""
LOOK_S = 0.3
DRAIN_S = 900.0


@dataclass(kw_only=True)
class Storm:
    """What is done to a plane. `kills` counts those that were alive, by process."""

    chaos: Chaos
    wanted: int
    executions: int
    seed: int
    limit_s: float
    kills: Counter[str] = field(default_factory=Counter)
    ids: dict[str, int] = field(default_factory=dict)
    """The number of each execution."""
    decided: Counter[str] = field(default_factory=Counter)
    """Verdicts that were given, and cancels."""
    _over: bool = False

    async def rage(self) -> None:
        """Until as many were killed as wanted, or the time is over; then until every execution is final."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._people)
            async with anyio.create_task_group() as storm:
                storm.start_soon(self._begin)
                with anyio.move_on_after(self.limit_s):
                    async with anyio.create_task_group() as killers:
                        killers.start_soon(self._kill, "doors", self.chaos.doors, self.wanted // 2)
                        killers.start_soon(self._kill, "worker", self.chaos.worker, self.wanted - self.wanted // 2)
                self._over = True
            with anyio.move_on_after(DRAIN_S):
                await self._all_final()
            tasks.cancel_scope.cancel()

    async def _kill(self, name: str, kept: Kept, wanted: int) -> None:
        chance = random.Random(f"{self.seed} {name}")
        while self.kills[name] < wanted:
            if chance.random() >= EARLY:
                await kept.up()
            await anyio.sleep(chance.uniform(0, LULL_S))
            self.kills[name] += kept.kill()

    async def _begin(self) -> None:
        for number in range(self.executions):
            due = number * self.wanted / self.executions - AHEAD
            while not self._over and self.kills.total() < due:  # noqa: ASYNC110 - a count, nobody tells of it
                await anyio.sleep(LOOK_S)
            payload = {"amount": 50 if number % 3 == 0 else 1500, "recipient": f"person-{number}@example.com"}
            headers = {"idempotency-key": f"chaos-{number}"}
            made = await self.chaos.ask("POST", "/flows/chaos/executions", json={"payload": payload}, headers=headers)
            self.ids[made["execution_id"]] = number

    async def _people(self) -> None:
        """Approve most of what is asked, decline some; cancel some runs that wait."""
        while True:
            for asked in (await self.chaos.ask("GET", "/approvals?state=pending"))["items"]:
                number = self.ids.get(asked["execution_id"])
                if number is None:
                    continue
                if number % 12 == 4:
                    verdict, path, body = "cancelled", f"/executions/{asked['execution_id']}/cancel", None
                else:
                    verdict = "declined" if number % 12 == 7 else "approved"
                    path = f"/approvals/{asked['id']}"
                    seen = await self.chaos.ask("GET", path)
                    body = {"verdict": verdict, "reason": "It is chaos.", "digest": seen["digest"]}
                    path += "/decide"
                if await self.chaos.ask("POST", path, (404, 409, 410), json=body) is not None:
                    self.decided[verdict] += 1
            await anyio.sleep(LOOK_S)

    async def _all_final(self) -> None:
        pages = math.ceil(self.executions / 100)
        while True:
            found: list[dict[str, str]] = []
            cursor = ""
            for _ in range(pages + 1):
                page = await self.chaos.ask("GET", f"/executions?limit=100{cursor}")
                found += page["items"]
                if not page["next"]:
                    break
                cursor = f"&cursor={page['next']}"
            if len(found) >= self.executions and all(row["state"] in FINAL for row in found):
                return
            await anyio.sleep(1)
