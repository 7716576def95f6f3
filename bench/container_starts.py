"""From the trigger to the agent's first moment in a container, beside a bare container of its image on a new network.

Rounds take turns, so that whatever else the machine does falls on both. Both moments are the engine's own: when it read
the line.
"""

import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiodocker
import aiohttp
import anyio
import httpx

from bench.figures import Judged
from runner.docker_network import body, subnets
from runner.settings import RunnerSettings
from runner.watch import START
from tests.journeys.plane import PAYLOAD, Plane, plane
from tests.waiting import until

IMAGE = "preloop/scripted"
SOCKET = "/var/run/docker.sock"
LIMIT = 1.5
"""How many times as long as the bare one."""


async def compared(folder: Path, rounds: int, say: Judged) -> None:
    ours: list[float] = []
    bare: list[float] = []
    async with (
        plane(folder, engine="docker") as (running, _),
        aiohttp.UnixConnector(SOCKET) as connector,
        aiodocker.Docker("unix://localhost", connector) as docker,
        running.http() as http,
    ):
        await _ours(running, http, docker)  # the first of each warms the page cache
        await _bare(docker)
        for _round in range(rounds):
            ours.append(await _ours(running, http, docker))
            bare.append(await _bare(docker))
    ratio = median(ours) / median(bare)
    say("trigger_to_agent_s", f"{median(ours):.2f} median of {rounds}", True)
    say("bare_network_and_container_s", f"{median(bare):.2f} median of {rounds}", True)
    say("times_the_bare_one", f"{ratio:.2f} (at most {LIMIT})", ratio <= LIMIT)


async def _ours(running: Plane, http: httpx.AsyncClient, docker: aiodocker.Docker) -> float:
    """Seconds from a trigger over REST to the line that opens the agent's phase."""
    began = time.time()
    answer = await http.post("/api/v1/flows/process-payment/executions", json={"payload": PAYLOAD})
    id_ = answer.raise_for_status().json()["execution_id"]
    await running.waiting(id_)
    filters = {"label": [f"preloop.execution={id_}"]}
    (held,) = await docker.containers.list(filters=filters)
    took = await _told(held) - began
    (await http.post(f"/api/v1/executions/{id_}/cancel")).raise_for_status()
    await running.ended(id_)

    async def gone() -> bool:
        return not await docker.networks.list(filters=filters)

    await until(gone, 60, what="the run to be cleaned up")
    return took


async def _bare(docker: aiodocker.Docker) -> float:
    """Seconds for a network as ours, and a container that says the line at once."""
    name = f"preloop-bare-{secrets.token_hex(4)}"
    subnet = next(subnets(RunnerSettings().agent_networks, name))
    began = time.time()
    network = await docker.networks.create(body(name, subnet, {}, (0, 0)))
    config: Mapping[str, Any] = {"Image": IMAGE, "Cmd": ["echo", START], "HostConfig": {"NetworkMode": name}}
    held = await docker.containers.create(config, name=name)
    await held.start()
    with anyio.fail_after(60):
        await held.wait()
    took = await _told(held) - began
    await held.delete(force=True, v=True)
    await network.delete()
    return took


async def _told(held: aiodocker.containers.DockerContainer) -> float:
    """When the line was read."""
    lines = await held.log(stdout=True, timestamps=True)
    stamp = next(line for line in lines if line.strip().endswith(START)).partition(" ")[0]
    return datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()
