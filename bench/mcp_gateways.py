"""The gateways that are compared, each as a process of its own in front of one echo server: ours, FastMCP's default
proxy, ContextForge. Peers live in venvs of their own under `BENCH_PEERS` (default /tmp/preloop-peers); nothing here
installs anything.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import PEERS
from tests.ports import free_port

INSTALL = {
    "fastmcp": "python -m venv {at} && {at}/bin/pip install fastmcp httptools uvloop",
    "contextforge": "python -m venv {at} && {at}/bin/pip install mcp-contextforge-gateway",
}
KEY = "bench-key-bench-key-bench-key-0123456789"
MODERN, LEGACY = "2026-07-28", "2025-11-25"

CONFIG = """
[server]
port = 0
container_port = 0
session_calls = 100000
session_requests_per_second = 1000000
[runner]
engine = "process"
[servers.echo]
url = "{upstream}"
pin = "first-use"

[models.default]
provider = "scripted"
script = "payment"
[approvers.alice]
name = "Alice"
email = "admin@localhost"
notify = ["console"]
[groups]
people = ["alice"]
"""
FLOW = """
version: 1
name: {name}
agent: {{runtime: scripted, model: default, gateway: true}}
triggers: [{{type: manual}}]
prompt: echo
tools:
  - server: echo
    tool: echo
    deny: "args.text == 'never'"
    approval: {{group: people, when: "{when}"}}
on_decline: continue
"""
PROXY = """
import sys, uvicorn
from fastmcp.server import create_proxy
app = create_proxy(sys.argv[1], name="proxy").http_app(path="/mcp")
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
"""
FORGE = {
    "JWT_SECRET_KEY": KEY,
    "AUTH_ENCRYPTION_SECRET": KEY,
    "PLATFORM_ADMIN_EMAIL": "admin@example.com",
    "PLATFORM_ADMIN_PASSWORD": "Bench-Pass-0123!",
    "BASIC_AUTH_PASSWORD": "Bench-Pass-0123!",
    "DEFAULT_USER_PASSWORD": "Bench-Pass-0123!",
    "MCPGATEWAY_UI_ENABLED": "false",
    "LOG_LEVEL": "ERROR",
    "CACHE_TYPE": "memory",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    "RATE_LIMITING_ENABLED": "false",
}
"""Its defaults, but for what the machine needs and the limits that would stop a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where to call one tool, as which wire, and the process whose tree is measured."""

    name: str
    url: str
    tool: str
    wire: str
    pid: int
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Ours: `free` runs what it is told, `asks` needs a person; `api` speaks REST as the admin."""

    free: Gateway
    asks: Gateway
    api: str
    admin: str

    def rest(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:  # noqa: ANN401
        return processes.rest(method, self.api + path, self.admin, body, kind)


def missing() -> dict[str, str]:
    """Peer → the command that installs it, for those that are not there."""
    absent = [name for name in INSTALL if not (PEERS / name / "bin" / "python").exists()]
    return {name: INSTALL[name].format(at=PEERS / name) for name in absent}


@contextmanager
def echo() -> Iterator[str]:
    with processes.running([sys.executable, "-m", "bench.echo_server"]) as running:
        yield processes.told(running, r"http://\S+")


@contextmanager
def ours(upstream: str, folder: Path) -> Iterator[Plane]:
    """`preloop up` on an empty folder, with two enrolled agents: policy, audit and durable rows as always."""
    (folder / "preloop.toml").write_text(CONFIG.format(upstream=upstream))
    command = [sys.executable, "-m", "preloop", "up", "--config", str(folder / "preloop.toml")]
    with processes.running([*command, "--data", str(folder / "data")]) as running:
        origin = processes.told(running, r"listens on (http://\S+)")
        processes.wait_for(f"{origin}/healthz")
        found = json.loads(processes.eventually(folder / "data" / "plane.json"))
        api = f"{origin}/api/v1"
        gateways = {}
        for name, when in (("free", "args.text == 'ask'"), ("asks", "true")):
            flow = FLOW.format(name=name, when=when)
            processes.rest("PUT", f"{api}/flows/{name}", found["token"], flow.encode(), "application/yaml")
            token = processes.rest("POST", f"{api}/tokens", found["token"], {"name": name, "flow": name})["token"]
            gateways[name] = Gateway(
                name="preloop", url=f"{origin}/mcp/v1", tool="echo", wire=MODERN, pid=running.pid, token=token
            )
        yield Plane(free=gateways["free"], asks=gateways["asks"], api=api, admin=found["token"])


@contextmanager
def fastmcp(upstream: str, folder: Path) -> Iterator[Gateway]:
    port = free_port()
    script = folder / "proxy.py"
    script.write_text(PROXY)
    with processes.running([str(PEERS / "fastmcp/bin/python"), str(script), upstream, str(port)]) as running:
        processes.wait_for(f"http://127.0.0.1:{port}/mcp")
        yield Gateway(name="fastmcp", url=f"http://127.0.0.1:{port}/mcp", tool="echo", wire=MODERN, pid=running.pid)


@contextmanager
def contextforge(upstream: str, folder: Path) -> Iterator[Gateway]:
    port, programs = free_port(), PEERS / "contextforge/bin"
    settings = os.environ | FORGE | {"DATABASE_URL": f"sqlite:///{folder}/forge.db"}
    command = [str(programs / "mcpgateway"), "--host", "127.0.0.1", "--port", str(port)]
    with processes.running(command, settings, folder) as running:
        origin = f"http://127.0.0.1:{port}"
        processes.wait_for(f"{origin}/health")
        mint = [str(programs / "python"), "-m", "mcpgateway.utils.create_jwt_token", "--admin", "--exp", "600"]
        mint += ["--username", "admin@example.com", "--secret", KEY]
        made = subprocess.run(mint, env=settings, cwd=folder, capture_output=True, text=True, check=True)
        token = made.stdout.split()[-1]
        entry = {"name": "echo", "url": upstream, "transport": "STREAMABLEHTTP"}
        processes.rest("POST", f"{origin}/gateways", token, entry)
        yield Gateway(
            name="contextforge", url=f"{origin}/mcp/", tool="echo-echo", wire=LEGACY, pid=running.pid, token=token
        )
