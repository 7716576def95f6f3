"""A plane over Docker that is killed at random moments while agents of several kinds run, and what became of each run.

Counting agents print numbered lines; scripted ones and Codex pay, small sums without anybody's yes and large ones with
it. How many containers began is told by the engine's own events, not by us.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.journeys.plane import FINAL, FLOW, Plane, plane

LINES, PAUSE_MS = 300, 50
COUNT = (
    "let n = 0; const t = setInterval(() => {"
    f" console.log('line ' + n); if (++n === {LINES}) clearInterval(t) }}, {PAUSE_MS})"
)
COUNTING = f"""
version: 1
name: counting
agent: {{runtime: command, image: preloop/base, command: [node, -e, {json.dumps(COUNT)}]}}
triggers: [{{type: manual}}]
prompt: count
limits: {{concurrency: 20}}
"""
MOMENT_S = (0.2, 3.0)
SETTLE_S = 240.0
GONE_S = 60.0
UNVERIFIED = "counting FAILED agent_unverified"
"""The right verdict on an agent that never asked its model anything."""
KINDS = ("counting", "scripted", "counting", "codex")


@dataclass(kw_only=True)
class Seen:
    """What was found, to be compared with what was wanted."""

    kills: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    """Containers of each execution that began."""
    torn: list[str] = field(default_factory=list)
    """Executions whose stored lines are not those that were printed."""
    paid: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    """Containers, networks and volumes with our label a minute after the end."""

    @property
    def holds(self) -> bool:
        once = set(self.begun.values()) == {1} and set(self.paid.values()) == {1}
        return once and set(self.ends) <= {"SUCCEEDED", UNVERIFIED} and not self.torn and not self.left


async def killed(folder: Path, *, kills: int, abreast: int, seed: int) -> Seen:
    """So many kills, with so many runs under way."""
    seen, rng = Seen(), random.Random(seed)
    async with plane(folder, engine="docker") as (running, tools):
        text = FLOW.read_text().replace("concurrency: 1", "concurrency: 20")
        for flow in (COUNTING, text.replace("process-payment", "scripted"), _codex(text)):
            await running.apply(flow)
        instance = (running.folder / "instance").read_text().strip()
        async with _overheard(instance, seen.begun), anyio.create_task_group() as tasks:
            tasks.start_soon(_approve, running)
            ids: dict[str, str] = {}
            while seen.kills < kills:
                await _fill(running, ids, abreast)
                with anyio.move_on_after(rng.uniform(*MOMENT_S)):
                    await anyio.sleep_forever()
                await running.kill()
                await running.start()
                seen.kills += 1
            await _settled(running, ids)
            tasks.cancel_scope.cancel()
        await _compare(running, ids, seen)
        seen.paid = Counter(payment["recipient"] for payment in tools.payments)
        seen.left = await _left(instance)
    return seen


def _codex(text: str) -> str:
    return text.replace("process-payment", "codex").replace("runtime: scripted", "runtime: codex")


async def _fill(running: Plane, ids: dict[str, str], abreast: int) -> None:
    """As many runs under way as wanted; `ids`: execution → its flow."""
    rows = (await running.get("/executions?limit=200"))["items"]
    for _ in range(abreast - sum(row["state"] not in FINAL for row in rows)):
        flow = KINDS[len(ids) % len(KINDS)]
        amount = 50 if len(ids) % 3 else 1500
        payload = {"amount": amount, "recipient": f"r{len(ids)}@example.com", "contract_id": "CONTRACT-2025-001"}
        ids[await running.trigger(flow, payload)] = flow


async def _approve(running: Plane) -> None:
    """Say yes to whatever waits, whatever becomes of the plane meanwhile."""
    while True:
        with suppress(httpx.HTTPError, OSError, ValueError):
            for asked in (await running.get("/approvals?state=pending&limit=200"))["items"]:
                detail = await running.get(f"/approvals/{asked['id']}")
                said = {"verdict": "approved", **{k: detail[k] for k in ("digest",) if k in detail}}
                async with running.http() as http:
                    await http.post(f"/api/v1/approvals/{asked['id']}/decide", json=said)
        with anyio.move_on_after(0.5):
            await anyio.sleep_forever()


async def _settled(running: Plane, ids: dict[str, str]) -> None:
    with anyio.fail_after(SETTLE_S):
        for id_ in ids:
            await running.ended(id_, limit_s=SETTLE_S)


async def _compare(running: Plane, ids: dict[str, str], seen: Seen) -> None:
    for id_, flow in ids.items():
        row = await running.get(f"/executions/{id_}")
        seen.ends["SUCCEEDED" if row["state"] == "SUCCEEDED" else f"{flow} {row['state']} {row['cause']}"] += 1
        lines = [line async for line in _lines(running, id_)]
        said = [line["text"] for line in lines if line["source"] == "agent"]
        gapless = [line["number"] for line in lines] == list(range(1, len(lines) + 1))
        whole = flow != "counting" or said == [f"line {number}" for number in range(LINES)]
        if not (gapless and whole):
            seen.torn.append(id_)
        seen.begun[id_] += 0


async def _lines(running: Plane, id_: str) -> AsyncIterator[dict[str, Any]]:
    after = 0
    while found := (await running.get(f"/executions/{id_}/logs?after={after}"))["items"]:
        for line in found:
            yield line
        after = found[-1]["number"]


@asynccontextmanager
async def _overheard(instance: str, begun: Counter[str]) -> AsyncIterator[None]:
    """Count the containers of agents that begin inside of this."""
    label = ["--filter", f"label=preloop.instance={instance}", "--filter", "event=start"]
    command = ["docker", "events", *label, "--format", '{{index .Actor.Attributes "preloop.execution"}}']
    async with await anyio.open_process(command, stderr=sys.stderr) as process, anyio.create_task_group() as tasks:

        async def listen() -> None:
            rest = ""
            assert process.stdout
            async for chunk in process.stdout:
                *whole, rest = (rest + chunk.decode()).split("\n")
                begun.update(filter(None, whole))

        tasks.start_soon(listen)
        yield
        process.terminate()


async def _left(instance: str) -> list[str]:
    """What carries our label still, a minute after the end at the latest; the relay stays with its plane."""
    label = f"label=preloop.instance={instance}"
    found: list[str] = []
    with anyio.move_on_after(GONE_S):
        while True:
            found = []
            for kind in (["ps", "-a"], ["network", "ls"], ["volume", "ls"]):
                done = await anyio.run_process(["docker", *kind, "-q", "--filter", label])
                found += [f"{kind[0]} {one}" for one in done.stdout.decode().split()]
            if not found:
                break
            await anyio.sleep(1)
    return found
