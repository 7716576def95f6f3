"""compose.scale.yaml brought up by docker-compose 1.29, with stand-ins for the images that come from a registry."""

import json
import os
import re
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from runner.images import CACHE
from tests import stand_ins
from tests.journeys.plane import ROOT, Plane, clear
from tests.ports import free_port
from tests.waiting import until

UP_S = 300
IMAGE = "preloop-test/plane"
KEY = "sk-the-gateway-alone-has-this"
PAYMENTS = """
version: "3.8"
services:
  payments:
    image: ${PRELOOP_IMAGE}
    entrypoint: [/app/.venv/bin/python, /app/examples/payments/server.py, --host, 0.0.0.0, --journal, /tmp/paid]
    command: []
    networks: [front]
    depends_on:
      secrets: {condition: service_completed_successfully}
"""


@dataclass
class Composed(Plane):
    """The plane of a compose project: REST through its proxy, everything else by docker-compose."""

    url: str = ""
    project: str = ""
    variables: dict[str, str] | None = None

    told: dict[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> dict[str, Any]:
        """As web-1 left it at its start."""
        if not self.told:
            self.told = json.loads(self.inside("web-1", "cat", "/data/plane.json"))
        return self.told

    def compose(self, *words: str) -> str:
        files = ("-f", "compose.scale.yaml", "-f", str(self.folder / "payments.yaml"))
        return run("docker-compose", "-p", self.project, *files, *words, variables=self.variables)

    def inside(self, service: str, *words: str) -> str:
        return run("docker", "exec", self.container(service), *words)

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def payments(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.inside("payments", "cat", "/tmp/paid").splitlines()]

    @asynccontextmanager
    async def frozen(self, *services: str) -> AsyncIterator[None]:
        """They take connections and never answer, and the proxies have seen it."""
        self.compose("pause", *services)
        try:
            for name in services:
                await self.seen(name, "DOWN")
            yield
        finally:
            self.compose("unpause", *services)

    async def seen(self, service: str, state: str) -> None:
        """Until each proxy that leads there says of a plane that it is UP, or DOWN."""
        said = re.compile(rf"Server \w+/{service} is (\w+)")
        for proxy in ("proxy", "agents")[: 1 if service.startswith("web") else 2]:

            async def so(proxy: str = proxy) -> bool:
                told = await anyio.run_process(["docker", "logs", self.container(proxy)], stderr=subprocess.STDOUT)
                return said.findall(told.stdout.decode())[-1:] == [state]

            await until(so, 30, what=f"{proxy} to see that {service} is {state}")


def run(*words: str, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **(variables or {})}, capture_output=True, text=True, timeout=UP_S
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@asynccontextmanager
async def composed(folder: Path) -> AsyncIterator[Composed]:
    """Up by one command; down with its volumes, its agents and their relay."""
    for name in (stand_ins.PYTHON, stand_ins.POSTGRES, stand_ins.PROXY):
        await anyio.to_thread.run_sync(stand_ins.make, name, CACHE)
    (folder / "payments.yaml").write_text(PAYMENTS)
    example = (ROOT / "examples" / "preloop.toml").read_text()
    toml = example.replace("http://127.0.0.1:8090", "http://payments:8090")
    (folder / "preloop.toml").write_text(toml)
    (folder / "gateway.env").write_text(f"PRELOOP_MODELS__DEFAULT__API_KEY={KEY}\n")
    port = free_port()
    variables = {
        "PRELOOP_TOML": str(folder / "preloop.toml"),
        "PRELOOP_GATEWAY_ENV": str(folder / "gateway.env"),
        "PRELOOP_BASE": stand_ins.PYTHON,
        "POSTGRES_IMAGE": stand_ins.POSTGRES,
        "HAPROXY_IMAGE": stand_ins.PROXY,
        "PRELOOP_IMAGE": IMAGE,
        "PRELOOP_LISTEN": f"127.0.0.1:{port}",
        "PRELOOP_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DOCKER_GID": str(os.stat("/var/run/docker.sock").st_gid),
    }
    async with anyio.create_task_group() as tasks:
        project = f"preloop-test-{secrets.token_hex(3)}"
        running = Composed(folder, folder, tasks, url=f"http://127.0.0.1:{port}", project=project, variables=variables)
        try:
            await anyio.to_thread.run_sync(running.compose, "up", "-d", "--build")
            for name in ("web-1", "gateway-1", "mcp-1"):
                await running.seen(name, "UP")
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_down, running)


def _down(running: Composed) -> None:
    instance = running.inside("runner", "cat", "/data/instance")
    running.compose("stop", "-t", "10", "runner")
    clear(instance)
    running.compose("down", "-v", "-t", "1")
