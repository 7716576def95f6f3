"""The scene of a conformance run: fixture servers, a real `preloop up` in front of them, an approver who says yes, and
the shim the suite talks to."""

import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx

from bench.conformance import parts
from bench.conformance.shim import Shim
from preloop.demo import decide
from tests.journeys.plane import Plane
from tests.mcp_server.plane import serve
from tests.ports import free_port

START_S = 60
GATED = "test_simple_text"
"""The fixture tool that needs a person's yes in every run."""
FIXTURES = Path(__file__).with_name("tasks_server.py")
CONFIG = """
[models.default]
provider = "scripted"
script = "payment"

[servers.everything]
url = "{everything}"
pin = "first-use"
may_ask = ["elicitation", "roots", "sampling"]

[servers.tasks]
url = "{tasks}"
pin = "first-use"
may_ask = ["elicitation"]
[approvers.alice]
name = "Alice"
notify = ["console"]

[groups]
finance = ["alice"]

[runner]
engine = "process"

[server]
port = {port}
container_port = {inner}
"""
FLOW = f"""
version: 1
name: conformance
agent: {{runtime: scripted, model: default}}
triggers: [{{type: manual}}]
prompt: Be tested.
tools:
  - {{server: "*", tool: "*"}}
  - {{server: everything, tool: {GATED}, approval: {{group: finance}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`agent` enrols a new one and returns where the suite meets it; `decided` is what the approver said yes to."""

    agent: Callable[[], Awaitable[str]]
    decided: list[str]


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """All of it, up inside of this context."""
    port = free_port()
    words = ["-m", "mcp_everything_server", "--port", str(port), "--log-level", "ERROR"]
    async with AsyncExitStack() as stack:
        said = stack.enter_context((folder / "servers.log").open("wb"))
        start = partial(anyio.open_process, stdout=said, stderr=said)
        everything = await start([sys.executable, *words], cwd=parts.everything())
        fixtures = await start([sys.executable, str(FIXTURES), str(other := free_port())])
        for process in (everything, fixtures):
            stack.push_async_callback(process.aclose)  # killed before, by the next line: here it is waited for
            stack.callback(process.kill)
        await _listens(port)
        await _listens(other)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        config = folder / "preloop.toml"
        urls = {"everything": f"http://127.0.0.1:{port}/mcp", "tasks": f"http://127.0.0.1:{other}/mcp"}
        config.write_text(CONFIG.format(**urls, port=free_port(), inner=free_port()))
        plane = Plane(folder / "data", config, tasks)
        await plane.start()
        stack.push_async_callback(plane.kill)
        await plane.apply(FLOW)
        decided: list[str] = []
        tasks.start_soon(_approve, plane, decided)
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=None))

        async def agent() -> str:
            url: str = await tasks.start(serve, Shim(http, f"{plane.found['url']}/mcp/v1", await _enrolled(plane)))
            return url

        yield Scene(agent=agent, decided=decided)


async def _enrolled(plane: Plane) -> str:
    """The token of a new agent."""
    async with plane.http() as http:
        answer = await http.post("/api/v1/tokens", json={"name": "suite", "flow": "conformance"})
        answer.raise_for_status()
        return str(answer.json()["token"])


async def _approve(plane: Plane, decided: list[str]) -> None:
    """Say yes to whatever is asked."""
    while True:
        for line in [line for line in plane.lines if "Approval needed" in line]:
            found = re.search(r"http\S+", line)
            if found and found[0] not in decided:
                decided.append(found[0])
                await decide(found[0], "approved")
        await plane.heard.wait()


async def _listens(port: int) -> None:
    with anyio.fail_after(START_S):
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await anyio.sleep(0.1)
