"""The plane dies under real agents that wait for a person, and comes back: each gets its result, the tool ran once.

Codex, OpenCode, Gemini CLI and Claude Code are started as enrolled agents, as their users would, and wait together.
What keeps their connections while nobody serves is either whoever starts the plane and hands it the listening sockets,
as systemd does, or a relay as in front of every container. Claude Code speaks the older wire here: on 2026-07-28 it
gives a call up two minutes after its stream broke, and whether it is made again is the model's choice.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import anyio
import pytest

from preloop.demo import decide
from tests.clis.agents import Ended, Place, run
from tests.fakes.relay import relay
from tests.journeys.plane import Plane, Tools, kept_ports, plane

pytestmark = [pytest.mark.node, pytest.mark.slow]
DOWN_S = 20
ASK_S = 120
END_S = 150
"""Generous: agents start slowly where several do at once."""
AGENTS = ("codex", "opencode", "gemini", "claude")
HELD = re.compile(r"^preloop_holds_total\{.*\} (\d+)", re.MULTILINE)
PROMPT = "Use the pay tool to send {amount} USD to {recipient} for {contract_id}."


def call(name: str) -> dict[str, object]:
    """What an agent is to pay; the recipient tells whose payment it was."""
    mail = f"{name}@example.com"
    return {"recipient": mail, "amount": 1500, "currency": "USD", "contract_id": "CONTRACT-2025-001"}


@asynccontextmanager
async def reached(folder: Path, through: Literal["kept sockets", "relay"]) -> AsyncIterator[tuple[Plane, Tools, str]]:
    """A plane, its tools and the origin at which agents find it, which takes connections while the plane is down."""
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(kept_ports()) if through == "kept sockets" else None
        running, tools = await stack.enter_async_context(plane(folder, ports=ports))
        origin = str(running.found["url"])
        if through == "relay":
            origin = await stack.enter_async_context(relay(urlsplit(origin).port or 0))
        yield running, tools, origin


async def enroll(running: Plane, name: str) -> str:
    async with running.http() as http:
        answer = await http.post("/api/v1/tokens", json={"name": name, "flow": "process-payment"})
        answer.raise_for_status()
        return str(answer.json()["token"])


async def asked(running: Plane, count: int) -> list[str]:
    """The approval links that the console printed, once there are that many."""
    with anyio.fail_after(ASK_S):
        while len(found := [line for line in running.lines if "Approval needed" in line]) < count:
            await running.heard.wait()
    return [line.rsplit(" ", 1)[1] for line in found]


async def told(running: Plane, count: int) -> None:
    """Until so many agents were told that they wait. A plane that dies between a request and that is a failed call."""
    async with running.http() as http:
        with anyio.fail_after(ASK_S):
            while sum(map(int, HELD.findall((await http.get("/metrics")).text))) < count:
                await anyio.lowlevel.checkpoint()
        for _ in range(3):  # counted is not sent yet: the plane has one loop, and each answer is several turns of it
            await http.get("/metrics")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("through", ["kept sockets", "relay"])
async def test_agents_wait_through_the_death_of_the_plane_and_each_pays_once(
    tmp_path: Path, through: Literal["kept sockets", "relay"]
) -> None:
    ended: dict[str, Ended] = {}
    over = anyio.Event()
    async with reached(tmp_path, through) as (running, tools, origin):
        async with anyio.create_task_group() as agents:

            async def agent(name: str) -> None:
                home = tmp_path / name
                home.mkdir()
                prompt = PROMPT.format(**call(name))
                token = await enroll(running, name)
                ended[name] = await run(name, Place(home=home, origin=origin, token=token, prompt=prompt))
                if len(ended) == len(AGENTS):
                    over.set()

            for name in AGENTS:
                agents.start_soon(agent, name)
            links = await asked(running, len(AGENTS))
            await told(running, len(AGENTS))
            await running.kill()
            await anyio.sleep(DOWN_S)  # the outage is what is tested
            await running.start()
            assert tools.payments == []
            for link in links:
                await decide(link, "approved")
            with anyio.move_on_after(END_S):
                await over.wait()
            agents.cancel_scope.cancel()
        payments = sorted(payment["recipient"] for payment in tools.payments)
    for name in AGENTS:
        assert name in ended, f"{name} still waits: {(tmp_path / name / 'said').read_text()}"
    for name, how in ended.items():
        assert how, f"{name}: {how.said}"
    assert payments == sorted(f"{name}@example.com" for name in AGENTS), {name: how.said for name, how in ended.items()}
