"""Scenes that real agent CLIs go through in Docker, on one plane: what happens to them, and how each run has to end."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from bench.figures import say
from preloop.demo import decide
from tests.journeys.plane import FLOW, PAYLOAD, Plane, Tools

GONE_S = 15.0
HELD_S = 360.0
ASKED_S = 240.0
END_S = 900.0
PAY = {"recipient": "a@example.com", "amount": 5, "currency": "USD"}
PRICES = 'input_usd_per_mtok = "2.50"\noutput_usd_per_mtok = "10.00"\n'
ALONE = """
version: 1
name: {name}
agent: {{runtime: {runtime}, model: {name}}}
prompt: Use the pay tool once.
tools: [{{server: payments, tool: pay}}]
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Without `turns` the model plays a payment that a person decides on after `held_s`; with them it plays those, and
    the tool is open. `more` is of the flow."""

    state: str
    cause: str | None = None
    turns: tuple[Mapping[str, Any], ...] = ()
    more: str = ""
    verdict: str = "approved"
    held_s: float = 0.0


PAYS = Scene(state="SUCCEEDED")
DEAR = {"say": "One.", "call": [{"tool": "pay", "arguments": PAY}], "usage": {"input": 190_000, "output": 40}}
SCENES: Mapping[str, Scene] = {
    "held": Scene(state="SUCCEEDED", held_s=HELD_S),
    "declined": Scene(state="FAILED", cause="approval_declined", verdict="declined"),
    "cancelled": Scene(state="CANCELLED", cause="cancelled", verdict="cancelled"),
    "budget": Scene(
        state="FAILED",
        cause="budget_exceeded",
        turns=(DEAR, {"say": "Two."}),
        more='limits: {budget_usd: "0.45"}\n',
    ),
    "401": Scene(state="FAILED", cause="model_error", turns=({"status": 401},)),
    "429": Scene(state="FAILED", cause="model_error", turns=({"status": 429},)),
    "500": Scene(state="FAILED", cause="model_error", turns=({"status": 500},)),
    "cut": Scene(state="FAILED", cause="stream_cut", turns=({"say": "Words that break off.", "cut": True},) * 12),
    "timeout": Scene(state="TIMEOUT", cause="timeout", turns=({"delay_ms": 600_000},), more="limits: {timeout: 40s}\n"),
}


class Stage:
    """One plane, and the runs on it."""

    def __init__(self, running: Plane, tools: Tools) -> None:
        self._running = running
        self._tools = tools
        self.held = True

    async def play(self, runtime: str, name: str, scene: Scene) -> None:
        """One CLI through one scene; says how it went."""
        try:
            told, wrong = await self._played(runtime, f"{runtime}-{name}", scene)
        except (TimeoutError, AssertionError) as error:
            told, wrong = "broke off", [repr(error)[:1000]]
        self.held &= not wrong
        say(f"{runtime}_{name}", "  DOES NOT HOLD: ".join([told, *wrong]))

    async def _played(self, runtime: str, flow: str, scene: Scene) -> tuple[str, list[str]]:
        """What happened, and what of it should not have."""
        gated = FLOW.read_text().replace("runtime: scripted", f"runtime: {runtime}").replace("process-payment", flow)
        await self._running.apply(ALONE.format(name=flow, runtime=runtime) + scene.more if scene.turns else gated)
        began = time.monotonic()
        run = await self._running.trigger(flow, PAYLOAD | {"recipient": f"{flow}@example.com"})
        if not scene.turns:
            await self._person(run, flow, scene)
        row = await self._running.ended(run, limit_s=END_S)
        took_s, gone_s = time.monotonic() - began, await gone(run)
        calls = (await self._running.get(f"/executions/{run}/model-calls"))["items"]
        wrong = [] if (row["state"], row["cause"]) == (scene.state, scene.cause) else [f"said: {row['message']}"]
        wrong += [] if gone_s <= GONE_S else ["its container stayed"]
        if scene.state == "SUCCEEDED":
            wrong += self._paid(f"{flow}@example.com", calls)
        told = f"{row['state']} {row['cause'] or ''}".strip()
        return f"{told}, {took_s:.0f} s, {len(calls)} model calls, container gone after {gone_s:.1f} s", wrong

    async def _person(self, run: str, flow: str, scene: Scene) -> None:
        """Who is asked, waits, and decides; or ends the run instead."""
        await self._running.until(run, lambda row: row["state"] == "WAITING_FOR_APPROVAL", limit_s=ASKED_S)
        asked = await self._running.said(f"({flow})")
        await anyio.sleep(scene.held_s)  # the wait is what is shown
        if scene.verdict != "cancelled":
            await decide(asked.rsplit(" ", 1)[1], scene.verdict, "" if scene.verdict == "approved" else "Not this one.")
            return
        async with self._running.http() as http:
            (await http.post(f"/api/v1/executions/{run}/cancel")).raise_for_status()

    def _paid(self, recipient: str, calls: list[dict[str, Any]]) -> list[str]:
        """What is wrong with a payment that succeeded: it is made once, and its thoughts are in the ledger."""
        paid = [payment for payment in self._tools.payments if payment["recipient"] == recipient]
        billed = calls and all(call["cost_usd"] and call["input_tokens"] and call["output_tokens"] for call in calls)
        return [*([] if len(paid) == 1 else [f"paid {len(paid)} times"]), *([] if billed else ["not billed"])]


async def gone(run: str) -> float:
    """Seconds until nothing of a run is left on the engine, from now."""
    began = time.monotonic()
    ask = ["docker", "ps", "-aq", "--filter", f"label=preloop.execution={run}"]
    while (await anyio.run_process(ask)).stdout.strip() and time.monotonic() - began < 2 * GONE_S:
        with anyio.move_on_after(0.2):
            await anyio.sleep_forever()  # an engine tells nobody
    return time.monotonic() - began


def models(folder: Path, runtimes: tuple[str, ...]) -> str:
    """An alias for each scripted scene of each CLI, as its upstreams' health is its own; each is asked once."""
    text = ""
    for name, scene in SCENES.items():
        for alias in [f"{runtime}-{name}" for runtime in runtimes if scene.turns]:
            path = folder / f"{alias}.yaml"
            path.write_text(json.dumps({"version": 1, "turns": scene.turns}))
            text += f'[models.{alias}]\nprovider = "scripted"\nscript = "{path}"\nretries = 0\n'
            text += f"max_output_tokens = 90\n{PRICES}"
    return text
