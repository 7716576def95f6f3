"""A plane of two processes that somebody kills: doors (`serve web gateway mcp`) and a worker (`serve runner`).

`Kept` starts again what died. Who asks the plane asks until it answers: its ports stay the same, its local token does
not. Agents are scripted ones as processes; each notes its start in a file and links its spool, so that both outlive it.
"""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from bench.processes import PYTHON, ROOT
from runner.process import ProcessEngine
from tests.journeys.plane import config, payments
from tests.ports import free_port

UP = "Preloop listens on"
END_S = 30.0
AGAIN_S = 0.2
PATIENCE_S = 180.0
FLOW = """
version: 1
name: chaos
agent: {{runtime: scripted, model: default}}
triggers: [{{type: webhook}}, {{type: manual}}]
prompt: |
  Use the pay tool to send {{{{trigger_event.payload.amount}}}} USD to {{{{trigger_event.payload.recipient}}}} for CONTRACT-2025-001.
tools:
  - {{server: payments, tool: pay, approval: {{group: finance, when: args.amount > 100, timeout: 1h}}}}
init:
  - echo "$PRELOOP_EXECUTION_ID $$" >> {folder}/starts
  - ln ../../output {folder}/spools/$PRELOOP_EXECUTION_ID
limits: {{timeout: 1h, concurrency: {abreast}}}
"""  # noqa: E501


class Kept:
    """One process after the other of the same roles, until the end."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._command, self._env, self._log = command, env, log
        self._process: anyio.abc.Process | None = None
        self._killed: anyio.abc.Process | None = None
        self._ending = False
        self._from = 0
        self.broke: list[int] = []
        """Exit codes of processes that ended by themselves."""

    async def keep(self) -> None:
        while not self._ending:
            with self._log.open("ab") as log:
                self._from = log.tell()
                self._process = await anyio.open_process(
                    self._command, stdout=log, stderr=subprocess.STDOUT, env=self._env, cwd=ROOT
                )
            code = await self._process.wait()
            if code != -signal.SIGKILL and not self._ending:
                self.broke.append(code)

    async def up(self) -> None:
        """Until the process of this moment, or one after it, listens."""
        while UP not in self._log.read_text()[self._from :]:  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.05)

    async def living(self) -> None:
        """Until a process that nobody has killed listens."""
        while self._process is self._killed:  # noqa: ASYNC110 - `keep` has not heard of its end yet
            await anyio.sleep(0.05)
        await self.up()

    def kill(self) -> bool:
        """SIGKILL, once for each process; was there anybody?"""
        process = self._process
        if process is None or process is self._killed or process.returncode is not None:
            return False
        self._killed = process
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Process.kill would reap it, and nobody heard its exit code
        return True

    async def end(self) -> bool:
        """SIGTERM; did it end well?"""
        self._ending = True
        assert self._process
        with suppress(ProcessLookupError):
            self._process.terminate()
        with anyio.move_on_after(END_S):
            return await self._process.wait() == 0
        self._process.kill()
        return False


@dataclass(kw_only=True)
class Chaos:
    """The plane, and what outlives it."""

    folder: Path
    database: str | None
    doors: Kept
    worker: Kept
    journal: Path
    env: dict[str, str]
    http: httpx.AsyncClient
    ended_well: list[bool] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    async def ask(self, method: str, path: str, refused: tuple[int, ...] = (), **more: Any) -> Any:  # noqa: ANN401
        """The answer, whatever becomes of the plane meanwhile; None for a status that is expected."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                with suppress(httpx.TransportError, OSError, ValueError):
                    told = json.loads((self.data / "plane.json").read_text())
                    headers = {"authorization": f"Bearer {told['token']}", **more.get("headers", {})}
                    url = f"{told['url']}/api/v1{path}"
                    answer = await self.http.request(method, url, **{**more, "headers": headers})
                    if answer.status_code in refused:
                        return None
                    if answer.status_code < 400:
                        return answer.json()
                    if answer.status_code != 401 and answer.status_code < 500:
                        raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
                await anyio.sleep(AGAIN_S)

    async def settle(self) -> None:
        for kept in (self.worker, self.doors):
            await kept.living()  # one that is still starting ends at once, and says so by its exit code
            self.ended_well.append(await kept.end())


@asynccontextmanager
async def open_chaos(folder: Path, database: str | None, *, abreast: int) -> AsyncIterator[Chaos]:
    """The plane with its flow; its processes run, and are started again, inside of this."""
    (folder / "spools").mkdir()
    people, inner = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PRELOOP_")}
    env |= {"PRELOOP_DATA": str(folder / "data")} | ({"PRELOOP_DATABASE": database} if database else {})
    async with (
        payments(folder) as tools,
        anyio.create_task_group() as tasks,
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
    ):
        path = config(folder, tools.url, engine="process")
        agents = f'mcp_url = "http://127.0.0.1:{inner}"\ngateway_url = "http://127.0.0.1:{inner}"'
        path.write_text(path.read_text().replace('engine = "process"', f'engine = "process"\n{agents}'))

        def kept(name: str, *roles: str, ports: tuple[int, int]) -> Kept:
            at = ["--config", str(path), "--port", str(ports[0]), "--container-port", str(ports[1])]
            return Kept([PYTHON, "-m", "preloop", "serve", *roles, *at], env, folder / f"{name}.log")

        made = Chaos(
            folder=folder,
            database=database,
            doors=kept("doors", "web", "gateway", "mcp", ports=(people, inner)),
            worker=kept("worker", "runner", ports=(free_port(), free_port())),
            journal=tools.journal,
            env=env,
            http=http,
        )
        for one in (made.doors, made.worker):
            tasks.start_soon(one.keep)
        try:
            await made.ask("PUT", "/flows/chaos", content=FLOW.format(folder=folder, abreast=abreast))
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                if not made.ended_well:
                    await made.settle()
                await _end_agents(made.data / "runs")
            tasks.cancel_scope.cancel()


async def _end_agents(runs: Path) -> None:
    """Of a storm that was broken off; after a whole one there are none."""
    engine = ProcessEngine(runs)
    async for job in anyio.Path(runs).glob("*/"):
        await engine.remove(job.name)
