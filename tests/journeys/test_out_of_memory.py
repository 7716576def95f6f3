"""Real containers whose memory is used up: by the agent, which is killed, and by a helper that its agent outlives."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.plane import FLOW, plane

PAYLOAD = {"amount": 5, "recipient": "contractor@example.com", "contract_id": "CONTRACT-2025-001"}


def flow(name: str, *command: str) -> str:
    """The example's job with little memory, by a command."""
    told = {"runtime": "command", "model": "default", "image": "preloop/scripted", "command": command}
    lines = [
        line
        for line in FLOW.read_text().splitlines()
        if not line.startswith(("name:", "agent:", "#", "limits:", "description:"))
    ]
    more = {"agent": told, "resources": {"memory": "160m"}}
    return "\n".join([*lines, f"name: {name}", *(f"{key}: {json.dumps(value)}" for key, value in more.items())])


@pytest.mark.docker
@pytest.mark.usefixtures("agent_images")
async def test_who_is_killed_for_want_of_memory_is_told_so_and_who_outlives_it_is_not(tmp_path: Path) -> None:
    async with plane(tmp_path, engine="docker") as (running, _):

        async def ran(name: str, *command: str) -> dict[str, Any]:
            return await running.ended(await running.trigger(await running.apply(flow(name, *command)), PAYLOAD))

        killed = await ran("killed", "tail", "/dev/zero")
        assert (killed["state"], killed["cause"], killed["exit_code"]) == ("FAILED", "out_of_memory", 137)
        assert "resources.memory" in killed["hint"]
        outlived = await ran("outlived", "sh", "-c", "tail /dev/zero; python3 /opt/agent/agent.py")
        assert (outlived["state"], outlived["cause"], outlived["exit_code"]) == ("SUCCEEDED", None, 0)
