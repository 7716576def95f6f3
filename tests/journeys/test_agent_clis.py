"""The supported agent CLIs in hardened containers, side by side, and a program of one's own: each thinks through the
gateway on its own wire, asks a person before it pays, and pays once."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from preloop.demo import decide
from tests.journeys.plane import FLOW, PAYLOAD, Plane, plane

pytestmark = [pytest.mark.docker, pytest.mark.node, pytest.mark.slow, pytest.mark.usefixtures("cli_images")]
WIRES = {"codex": "responses", "gemini": "gemini", "opencode": "chat", "claude": "messages", "command": "chat"}
OWN = "command, image: preloop/scripted, command: [python3, /opt/agent/agent.py]"
"""What somebody might bring: any program in any image."""
ASK_S = 120


async def started(running: Plane, runtime: str) -> str:
    agent = f"runtime: {OWN if runtime == 'command' else runtime}"
    text = FLOW.read_text().replace("runtime: scripted", agent).replace("process-payment", f"pay-{runtime}")
    name = await running.apply(text)
    return await running.trigger(name, PAYLOAD | {"recipient": f"{runtime}@example.com"})


async def asked(running: Plane, count: int) -> list[str]:
    """The approval links that the console printed, once there are that many."""
    with anyio.fail_after(ASK_S):
        while len(found := [line for line in running.lines if "Approval needed" in line]) < count:
            await running.heard.wait()
    return [line.rsplit(" ", 1)[1] for line in found]


async def record(running: Plane, execution_id: str) -> dict[str, Any]:
    """All that the plane tells about an execution."""
    path = f"/executions/{execution_id}"
    lists = ("logs", "tool-calls", "model-calls")
    told: dict[str, Any] = await running.get(path)
    return told | {name: (await running.get(f"{path}/{name}"))["items"] for name in lists}


@pytest.mark.timeout(480)
async def test_each_cli_asks_a_person_pays_once_and_is_billed(tmp_path: Path) -> None:
    async with plane(tmp_path, engine="docker") as (running, tools):
        ids = {runtime: await started(running, runtime) for runtime in WIRES}
        links = await asked(running, len(WIRES))
        assert tools.payments == []
        for link in links:
            await decide(link, "approved")
        for execution_id in ids.values():
            await running.ended(execution_id)
        told = {runtime: await record(running, execution_id) for runtime, execution_id in ids.items()}
        paid = sorted(payment["recipient"] for payment in tools.payments)
    for runtime, run in told.items():
        assert run["state"] == "SUCCEEDED", json.dumps(run, indent=1)
        assert [(call["tool"], call["status"]) for call in run["tool-calls"]] == [("pay", "succeeded")]
        assert {call["wire"] for call in run["model-calls"]} == {WIRES[runtime]}
        assert all(call["cost_usd"] for call in run["model-calls"])
    assert paid == sorted(f"{runtime}@example.com" for runtime in WIRES)
