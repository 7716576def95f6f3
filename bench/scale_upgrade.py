"""Replicas of one version are replaced by those of the next, one after the other, while events are delivered, lists are
read, agents work and pages are open.

Whoever asks does as a load balancer: the next replica is asked where one refuses the connection, closes it without a
word, or says 503. Nothing else is asked again.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from bench.processes import PYTHON
from bench.scale_house import SEES_S, Fleet
from bench.scale_pages import Pages
from bench.scale_versions import Versions
from kit import webhooks
from tests.journeys.plane import FINAL

READ_EVERY_S, LOOK_S = 0.2, 0.4
CALM_S = 3.0
"""How long one sees it work before the first replica is replaced, between two, and after the last."""
DRAIN_S = 240.0
LISTENERS = 3
"""Agents that talk, with pages that are open, from the beginning to the end."""


@dataclass(kw_only=True)
class Upgrade:
    """`ids`: the number of each execution. `lost`: requests with no answer, or another one than they should have."""

    fleet: Fleet
    versions: Versions
    pages: Pages
    talk_s: float
    every_s: float
    ids: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    steps: list[tuple[str, tuple[str, list[str], int]]] = field(default_factory=list)
    """What the schema was, on the way."""
    older_code: int = 0
    """The exit code of the older version when it was started after the end."""
    _turn: int = 0
    _secret: str = ""
    _token: str = ""

    async def run(self) -> None:
        fleet = self.fleet
        async with fleet.replicas["one"].http() as http:  # a process takes its own token with it when it stops
            asked = await http.post("/api/v1/tokens", json={"name": "load"})
            self._token = str(asked.raise_for_status().json()["token"])
        self._secret = (await self._ask("secrets", "POST", "/api/v1/flows/thrifty/webhook-secret"))["secret"]
        for _ in range(LISTENERS):
            await self._deliver(lines=int(self.talk_s * 10), seconds=self.talk_s)
        async with anyio.create_task_group() as load:
            for some in (self._events, self._reads, self._people):
                load.start_soon(some)
            await anyio.sleep(CALM_S)
            for name in list(fleet.replicas):
                await self._replace(name)
                await anyio.sleep(CALM_S)
            self.steps.append(("after_the_last", await self._migrate("--post")))
            await anyio.sleep(CALM_S)
            load.cancel_scope.cancel()
        async with anyio.create_task_group() as people:
            people.start_soon(self._people)
            await self._all_final()
            people.cancel_scope.cancel()
        self.older_code = await self._start_older()

    async def _replace(self, name: str) -> None:
        plane = self.fleet.replicas[name]
        self.fleet.codes.append(await plane.stop())
        plane.at = self.versions.newer
        await plane.start()
        self.steps.append((f"with_{name}_new", await self._migrate()))

    async def _migrate(self, *more: str) -> tuple[str, list[str], int]:
        """What the newer version says: where it stands, what waits, and for how many older processes."""
        command = [PYTHON, "-m", "preloop", "migrate", "--json", *more, "--config", str(self.fleet.config)]
        env = {"PRELOOP_DATABASE": self.fleet.database, "PRELOOP_DATA": str(self.fleet.folder / "one")}
        done = await anyio.run_process(command, cwd=self.versions.newer, env=env, check=False)
        told = json.loads(done.stdout)
        return told["at"], [step["number"] for step in told["waiting"]], len(told["older"])

    async def _start_older(self) -> int:
        there = self.fleet.folder / "late"
        command = [PYTHON, "-m", "preloop", "serve", "web", "--port", "0", "--container-port", "0"]
        env = {"PRELOOP_DATABASE": self.fleet.database}
        more = ["--config", str(self.fleet.config), "--data", str(there)]
        done = await anyio.run_process([*command, *more], cwd=self.versions.older, env=env, check=False)
        return done.returncode

    # load ---------------------------------------------------------------------------------------------------------

    async def _events(self) -> None:
        while True:
            await self._deliver(lines=20, seconds=4)
            await anyio.sleep(self.every_s)

    async def _deliver(self, **wanted: float) -> None:
        number = len(self.ids)
        payload = {"alias": "paid", "amount": 50 if number % 3 == 0 else 1500, "calls": 3, **wanted}
        payload["recipient"] = f"person-{number}@example.com"
        body = json.dumps(payload).encode()
        signed = webhooks.sign(self._secret, message_id=f"msg_{number}", timestamp=int(time.time()), body=body)
        with anyio.CancelScope(shield=True):  # what was sent is counted
            made = await self._ask("deliveries", "POST", "/hooks/flows/thrifty", content=body, headers=signed)
            if made:
                self.ids[made["execution_id"]] = number
                if number < LISTENERS:
                    self.pages.look(made["execution_id"])

    async def _reads(self) -> None:
        while True:
            await self._ask("lists", "GET", "/api/v1/executions?limit=20")
            await anyio.sleep(READ_EVERY_S)

    async def _people(self) -> None:
        while True:
            for asked in (await self._ask("lists", "GET", "/api/v1/approvals?state=pending&limit=100"))["items"]:
                path = f"/api/v1/approvals/{asked['id']}"
                seen = await self._ask("approvals", "GET", path)
                said = {"verdict": "approved", "reason": "", "digest": seen.get("digest", "")}
                await self._ask("verdicts", "POST", f"{path}/decide", (409,), json=said)
            await anyio.sleep(LOOK_S)

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        fine: tuple[int, ...] = (),
        **more: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """One request at whichever replica it gets to; `fine` are refusals that one may meet."""
        self.asked[kind] += 1
        planes = list(self.fleet.replicas.values())
        with anyio.move_on_after(SEES_S):
            while True:
                self._turn += 1
                plane = planes[self._turn % len(planes)]
                url = f"http://127.0.0.1:{plane.does[plane.does.index('--port') + 1]}{path}"
                headers = {"authorization": f"Bearer {self._token}", **more.get("headers", {})}
                try:
                    async with httpx.AsyncClient(trust_env=False, timeout=SEES_S) as http:
                        answer = await http.request(method, url, **{**more, "headers": headers})
                except httpx.ConnectError:
                    self.again["refused"] += 1
                except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                    if "incomplete" in str(error):
                        self.lost.append(f"{method} {path}: {error}")
                        return {}
                    self.again["closed_without_a_word"] += 1
                else:
                    if answer.status_code < 400:
                        return dict(answer.json())
                    if answer.status_code != 503:
                        if answer.status_code not in fine:
                            self.lost.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                        return {}
                    self.again["said_503"] += 1
                await anyio.sleep(0.02)
        self.lost.append(f"{method} {path}: no answer")
        return {}

    async def _all_final(self) -> None:
        with anyio.fail_after(DRAIN_S):
            for id_ in list(self.ids):
                path = f"/api/v1/executions/{id_}"
                while (await self._ask("lists", "GET", path)).get("state") not in FINAL:  # noqa: ASYNC110
                    await anyio.sleep(LOOK_S)
