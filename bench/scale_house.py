"""Replicas of a plane, each with all roles in a process and a data folder of its own, over one PostgreSQL; before them
a balancer for agents, behind them a provider and a tool server of ours.

Agents are processes that outlive their plane (`engine = "process"`). What stands for a cluster that several machines
reach is the folder of a replica's agents: `successor` is a runner elsewhere that was given the identity of a lost one.
"""

import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import Process, TaskGroup
from cryptography.fernet import Fernet

from bench.gateway_house import PRICES
from bench.processes import ROOT
from bench.scale_balancer import Balancer, balancing
from runner.process import ProcessEngine
from tests.fakes.providers import server
from tests.fakes.providers.server import Provider
from tests.journeys.plane import Plane, Tools, config, payments
from tests.ports import free_port

ROLES = ("web", "gateway", "mcp", "runner")
AGENT = ROOT / "bench" / "scale_agent.py"
FRUGAL_USD = "0.05"
SEES_S = 60.0
"""How long whoever asks the plane goes on asking."""
STOPS_S = 30.0
ANSWERS_S = 5.0
"""How long one replica may take: one that was frozen meanwhile answers later, to nobody."""
MORE = """
seal_key = "{key}"

[models.paid]
{paid}

[[budgets]]
scope = "account"
period = "total"
limit_usd = "100.00"

[[budgets]]
scope = "flow"
subject = "frugal"
period = "total"
limit_usd = "{frugal}"

[plans.pro]
slots = 1000
"""
FLOW = """
version: 1
name: {name}
agent: {{runtime: command, model: paid, image: preloop/base, command: [{python}, -I, {agent}]}}
triggers: [{{type: webhook}}, {{type: manual}}]
prompt: Work.
tools:
  - {{server: payments, tool: pay, approval: {{group: finance, when: args.amount > 100, timeout: 1h}}}}
init:
  - echo "$PRELOOP_EXECUTION_ID $$" >> {folder}/starts
  - ln ../../output {folder}/spools/$PRELOOP_EXECUTION_ID
limits: {{timeout: 1h, concurrency: 200, budget_usd: "2.00"}}
"""


@dataclass(kw_only=True)
class Fleet:
    """`replicas` by their names; those that may be asked now are in `alive`."""

    folder: Path
    database: str
    config: Path
    tasks: TaskGroup
    provider: Provider
    tools: Tools
    balancer: Balancer
    replicas: dict[str, Plane] = field(default_factory=dict)
    alive: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Exit codes of replicas that were asked to stop."""

    @property
    def journal(self) -> Path:
        return self.tools.journal

    def add(self, name: str, *roles: str, people: int, inner: int, at: Path = ROOT) -> Plane:
        does = ("serve", *roles, "--port", str(people), "--container-port", str(inner))
        made = Plane(self.folder / name, self.config, self.tasks, self.database, does=does, at=at)
        self.replicas[name] = made
        return made

    async def start(self, name: str) -> None:
        await self.replicas[name].start()
        self.alive.append(name)

    def successor(self, of: str) -> Plane:
        """A runner on another machine that got the volume of a lost one, and reaches the same agents."""
        lost, name = self.replicas[of].folder, f"{of}-successor"
        made = self.add(name, "runner", people=free_port(), inner=free_port())
        made.folder.mkdir()
        shutil.copy(lost / "instance", made.folder / "instance")
        (made.folder / "runs").symlink_to(lost / "runs")
        return made

    async def ask(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        async with self.replicas[name].http() as http:
            return await http.request(method, path, timeout=ANSWERS_S, **more)

    async def stop(self) -> None:
        """All of them, and what they left running."""
        for signal_ in (signal.SIGCONT, signal.SIGTERM):  # one that is frozen may hold what another waits for
            for process in self._running():
                process.send_signal(signal_)
        for process in self._running():
            with anyio.move_on_after(STOPS_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            self.codes.append(process.returncode or 0)

    def _running(self) -> list[Process]:
        each = [plane.process for plane in self.replicas.values()]
        return [process for process in each if process and process.returncode is None]


@asynccontextmanager
async def open_fleet(folder: Path, database: str, names: Sequence[str], at: Path = ROOT) -> AsyncIterator[Fleet]:
    """The replicas run inside of this, with both flows saved."""
    (folder / "spools").mkdir()
    ports = {name: (free_port(), free_port()) for name in names}
    async with (
        payments(folder) as tools,
        server.serve() as provider,
        balancing(free_port(), list(ports.values())) as balancer,
        anyio.create_task_group() as tasks,
    ):
        fleet = Fleet(
            folder=folder,
            database=database,
            config=_config(folder, tools, provider, balancer),
            tasks=tasks,
            provider=provider,
            tools=tools,
            balancer=balancer,
        )
        for name in names:
            fleet.add(name, *ROLES, inner=ports[name][0], people=ports[name][1], at=at)
        try:
            async with anyio.create_task_group() as starting:
                for name in names:
                    starting.start_soon(fleet.start, name)
            for flow in ("thrifty", "frugal"):
                await fleet.replicas[names[-1]].apply(_flow(flow, folder))
            yield fleet
        finally:
            with anyio.CancelScope(shield=True):
                await fleet.stop()
                for plane in fleet.replicas.values():
                    await _end_agents(plane.folder / "runs")
            tasks.cancel_scope.cancel()


def _config(folder: Path, tools: Tools, provider: Provider, balancer: Balancer) -> Path:
    every = {"model": "echo", "max_output_tokens": 100, "breaker_failures": 10**6, **PRICES}
    paid = provider.upstream("chat") | every
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in paid.items())
    more = MORE.format(key=Fernet.generate_key().decode(), paid=lines, frugal=FRUGAL_USD)
    agents = f'mcp_url = "{balancer.url}"\ngateway_url = "{balancer.url}"\nparallel = 40'
    return config(folder, tools.url, engine="process", runner=agents, more=more)


def _flow(name: str, folder: Path) -> str:
    return FLOW.format(name=name, python=json.dumps(sys.executable), agent=json.dumps(str(AGENT)), folder=folder)


async def _end_agents(runs: Path) -> None:
    """Of a show that was broken off; after a whole one there are none."""
    engine = ProcessEngine(runs)
    async for job in anyio.Path(runs).glob("*/"):
        await engine.remove(job.name)
