"""A real control plane as a process of its own, with the example's files: what a journey drives through its doors."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import Process, TaskGroup

from tests.databases import elsewhere
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
FLOW = ROOT / "examples" / "flows" / "process-payment.yaml"
HANDING = ROOT / "tests" / "fakes" / "handing.py"
PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com", "contract_id": "CONTRACT-2025-001"}
START_S = 60
FINAL = {"SUCCEEDED", "FAILED", "TIMEOUT", "CANCELLED"}


@dataclass
class Plane:
    """`preloop up` in a folder of its own. It may be killed and started again; the folder stays, and so do `ports`."""

    folder: Path
    config: Path
    tasks: TaskGroup
    database: str | None = None
    ports: Mapping[str, socket.socket] = field(default_factory=dict)
    """Listening sockets that we keep and hand over to each process, as systemd would."""
    does: tuple[str, ...] = ("up",)
    """The command and its own options."""
    at: Path = ROOT
    """Where its code is."""
    lines: list[str] = field(default_factory=list)
    process: Process | None = None
    heard: anyio.Event = field(default_factory=anyio.Event)

    async def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "preloop",
            *self.does,
            "--config",
            str(self.config),
            "--data",
            str(self.folder),
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PRELOOP_")}
        if self.database:
            env["PRELOOP_DATABASE"] = self.database
        self.lines = []
        fds = {name: sock.fileno() for name, sock in self.ports.items()}
        if fds:
            command = [sys.executable, str(HANDING), ":".join(f"{name}={fd}" for name, fd in fds.items()), *command]
        self.process = await anyio.open_process(
            command, stderr=subprocess.STDOUT, cwd=self.at, env=env, pass_fds=tuple(fds.values())
        )
        self.tasks.start_soon(self._listen, self.process)
        await self.said("Preloop listens on")

    async def _listen(self, process: Process) -> None:
        assert process.stdout
        mine, rest = self.lines, ""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk.decode()).split("\n")
            mine.extend(lines)
            self._wake()
        code = await process.wait()
        mine.extend((rest, f"(ended with {code})"))
        self._wake()

    def _wake(self) -> None:
        self.heard.set()
        self.heard = anyio.Event()

    async def said(self, text: str) -> str:
        """The first line that contains a text, now or later."""
        with anyio.fail_after(START_S):
            while True:
                found = next((line for line in self.lines if text in line), None)
                if found is not None:
                    return found
                if any(line.startswith("(ended with") for line in self.lines):
                    raise AssertionError("\n".join(self.lines))
                await self.heard.wait()

    async def kill(self) -> None:
        """SIGKILL, as a machine that loses power would."""
        assert self.process
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(30):
            return await self.process.wait()

    @property
    def found(self) -> dict[str, Any]:
        """What a local command line finds: url and token."""
        told: dict[str, Any] = json.loads((self.folder / "plane.json").read_text())
        return told

    def http(self) -> httpx.AsyncClient:
        """REST as the admin."""
        headers = {"authorization": f"Bearer {self.found['token']}"}
        return httpx.AsyncClient(verify=False, base_url=self.found["url"], headers=headers, trust_env=False, timeout=30)

    async def get(self, path: str) -> Any:
        async with self.http() as http:
            answer = await http.get(f"/api/v1{path}")
            answer.raise_for_status()
            return answer.json()

    async def apply(self, source: str | None = None) -> str:
        """Save a flow; its name."""
        text = source or FLOW.read_text()
        name = re.search(r"^name: (\S+)", text, re.MULTILINE)
        assert name
        async with self.http() as http:
            (await http.put(f"/api/v1/flows/{name[1]}", content=text)).raise_for_status()
        return name[1]

    async def trigger(self, flow: str = "process-payment", payload: object = None) -> str:
        """Start an execution as a person does; its id."""
        async with self.http() as http:
            body = {"payload": PAYLOAD if payload is None else payload}
            answer = await http.post(f"/api/v1/flows/{flow}/executions", json=body)
            answer.raise_for_status()
            return str(answer.json()["execution_id"])

    async def until(
        self, execution_id: str, reached: Callable[[dict[str, Any]], bool], *, limit_s: float = 90
    ) -> dict[str, Any]:
        """Look at an execution until something is so."""
        with anyio.fail_after(limit_s):
            while True:
                row: dict[str, Any] = await self.get(f"/executions/{execution_id}")
                if reached(row):
                    return row
                if row["state"] in FINAL:
                    logs = await self.get(f"/executions/{execution_id}/logs")
                    raise AssertionError(f"{row}\n" + "\n".join(line["text"] for line in logs["items"]))
                await anyio.lowlevel.checkpoint()
                with anyio.move_on_after(0.1):
                    await self.heard.wait()

    async def waiting(self, execution_id: str) -> dict[str, Any]:
        return await self.until(execution_id, lambda row: row["state"] == "WAITING_FOR_APPROVAL")

    async def ended(self, execution_id: str, *, limit_s: float = 120) -> dict[str, Any]:
        return await self.until(execution_id, lambda row: row["state"] in FINAL, limit_s=limit_s)

    async def link(self) -> str:
        """The approval link that the console channel printed."""
        return (await self.said("Approval needed")).rsplit(" ", 1)[1]


@dataclass
class Tools:
    """The example's payments server as a process, and the payments that it really made."""

    url: str
    journal: Path

    @property
    def payments(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@asynccontextmanager
async def payments(folder: Path) -> AsyncIterator[Tools]:
    journal = folder / "payments.jsonl"
    command = [sys.executable, "examples/payments/server.py", "--port", "0", "--journal", str(journal)]
    async with await anyio.open_process(command, stderr=None, cwd=ROOT) as process:
        assert process.stdout
        with anyio.fail_after(START_S):
            said = (await process.stdout.receive()).decode()
        found = re.search(r"http://\S+", said)
        assert found, said
        try:
            yield Tools(found[0], journal)
        finally:
            process.kill()


def config(
    folder: Path,
    tools: str,
    *,
    engine: str,
    more: str = "",
    runner: str = "",
    ports: Mapping[str, socket.socket] | None = None,
) -> Path:
    """preloop.toml of a journey: the example's models and people on free ports, or on those that are kept. `runner` are
    further lines of that section, `more` further sections."""
    path = folder / "preloop.toml"
    example = (ROOT / "examples" / "preloop.toml").read_text()
    example = example.replace("http://127.0.0.1:8090/mcp", tools).replace(
        'engine = "process"', f'engine = "{engine}"\n{runner}\n'
    )
    people, inner = [sock.getsockname()[1] for sock in ports.values()] if ports else (free_port(), free_port())
    path.write_text(example + f"\n[server]\nport = {people}\ncontainer_port = {inner}\n{more}")
    return path


@contextmanager
def kept_ports() -> Iterator[dict[str, socket.socket]]:
    """Both listeners' sockets, open whether a plane runs or not."""
    with socket.create_server(("127.0.0.1", 0)) as people, socket.create_server(("127.0.0.1", 0)) as containers:
        yield {"people": people, "containers": containers}


def clear(instance: str) -> None:
    """Agents go on when their plane stops, which a test is not there to see."""
    removals = {"ps -a": "rm -f -v", "network ls": "network rm", "volume ls": "volume rm"}
    for listing, removal in removals.items():
        for label in ("preloop.relay", "preloop.instance"):
            words = ["docker", *listing.split(), "-q", "--filter", f"label={label}={instance.strip()}"]
            if found := subprocess.run(words, capture_output=True, text=True, check=True).stdout.split():
                subprocess.run(["docker", *removal.split(), *found], capture_output=True, check=True)


@asynccontextmanager
async def plane(
    folder: Path,
    *,
    engine: str = "process",
    more: str = "",
    runner: str = "",
    database: str | None = None,
    ports: Mapping[str, socket.socket] | None = None,
) -> AsyncIterator[tuple[Plane, Tools]]:
    """A running plane with the example's flow applied, and its tool server."""
    async with payments(folder) as tools, anyio.create_task_group() as tasks:
        path = config(folder, tools.url, engine=engine, more=more, runner=runner, ports=ports)
        running = Plane(folder / "data", path, tasks, database or elsewhere(folder / "data"), ports or {})
        await running.start()
        await running.apply()
        try:
            yield running, tools
        except BaseException:
            print("\n".join(running.lines))  # what the plane said is the first thing to read when a journey breaks
            raise
        finally:
            if running.process and running.process.returncode is None:
                await running.stop()
            if engine == "docker":
                clear((running.folder / "instance").read_text())
            tasks.cancel_scope.cancel()  # nothing is awaited between here and the group's end: no failure gets lost
