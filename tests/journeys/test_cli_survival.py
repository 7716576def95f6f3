"""The plane dies under real agents that wait for a person, and comes back: each gets its result, the tool ran once.

Codex, OpenCode, Gemini CLI and Claude Code are started as enrolled agents, as their users would. Between them and the
plane stands a relay that holds connections, as in front of every container. Claude Code speaks the older wire here: on
2026-07-28 it gives a call up when its stream breaks, and whether it is made again is the model's choice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from preloop.demo import decide
from tests.clis.agents import Ended, Place, run
from tests.fakes import anthropic_model, gemini_model
from tests.fakes.relay import relay
from tests.journeys.plane import Plane, plane
from tests.mcp_server.plane import serve

pytestmark = [pytest.mark.node, pytest.mark.slow]
DOWN_S = 20
ASK_S = 120
END_S = 150
"""Generous: agents start slowly where several do at once."""
CALL = {"recipient": "contractor@example.com", "amount": 1500, "currency": "USD", "contract_id": "CONTRACT-2025-001"}
PROMPT = "Use the pay tool to send {amount} USD to {recipient} for {contract_id}."


@asynccontextmanager
async def models() -> AsyncIterator[dict[str, str]]:
    """Model servers for the wires our gateway does not speak yet."""
    fakes = {"gemini": gemini_model.app("mcp_preloop_pay", CALL), "anthropic": anthropic_model.app(CLAUDES, CALL)}
    async with anyio.create_task_group() as serving:
        urls = {name: await serving.start(serve, app) for name, app in fakes.items()}
        yield {name: url.removesuffix("/mcp/v1") for name, url in urls.items()}
        serving.cancel_scope.cancel()


CLAUDES = "mcp__preloop__pay"


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


async def survive(folder: Path, name: str, *, down_s: float = DOWN_S) -> tuple[Ended | None, list[dict[str, Any]]]:
    """One agent through the whole story: how it ended (None: it did not), and the payments that were made."""
    ended: list[Ended] = []
    async with models() as wires, plane(folder) as (running, tools):
        async with relay(urlsplit(running.found["url"]).port or 0) as origin, anyio.create_task_group() as agents:
            home = folder / name
            home.mkdir()
            token = await enroll(running, name)
            at = Place(home=home, origin=origin, token=token, prompt=PROMPT.format(**CALL), **wires)

            async def agent() -> None:
                ended.append(await run(name, at))

            agents.start_soon(agent)
            [link] = await asked(running, 1)
            await running.kill()
            await anyio.sleep(down_s)  # the outage is what is tested
            await running.start()
            assert tools.payments == []
            await decide(link, "approved")
            with anyio.move_on_after(END_S):
                while not ended:  # noqa: ASYNC110 - the agent's end is all there is to see
                    await anyio.sleep(0.1)
            agents.cancel_scope.cancel()
        return (ended[0] if ended else None), tools.payments


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["codex", "opencode", "gemini", "claude"])
async def test_an_agent_waits_through_the_death_of_the_plane_and_pays_once(tmp_path: Path, name: str) -> None:
    ended, payments = await survive(tmp_path, name)
    assert ended is not None, "it still waits"
    assert ended, ended.said
    assert len(payments) == 1
