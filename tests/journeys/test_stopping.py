"""A plane that is asked to stop while agents wait for people: everybody is told, and it ends soon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.journeys.plane import PAYLOAD, Plane, plane
from tests.mcp_server.plane import ERAS, Era, text_of
from tests.waiting import until

EACH = 10
"""Open requests of one session."""
LIMIT_S = 20
"""Twice what either of the two graces before it would allow on a busy machine; a plane that hangs is met here."""


@asynccontextmanager
async def agent(running: Plane, name: str, era: Era) -> AsyncIterator[Client]:
    """An enrolled agent that is connected; on the older wire it holds a stream open that only listens."""
    async with running.http() as http:
        made = await http.post("/api/v1/tokens", json={"name": name, "flow": "process-payment", "days": 1})
    headers = {"Authorization": f"Bearer {made.raise_for_status().json()['token']}"}
    transport = streamable_http_client(
        f"{running.found['url']}/mcp/v1",
        http_client=httpx2.AsyncClient(verify=False, headers=headers, timeout=60, trust_env=False),
    )
    async with Client(transport, mode=era) as client:
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_a_stop_tells_everybody_who_waits_and_does_not_wait_for_them(tmp_path: Path, era: Era) -> None:
    said: list[str] = []

    async def pay(client: Client, amount: int) -> None:
        asked = {name: PAYLOAD[name] for name in ("recipient", "contract_id")} | {"amount": amount}
        said.append(text_of(await client.call_tool("pay", asked)))

    async with (
        plane(tmp_path) as (running, tools),
        agent(running, "one", era) as one,
        agent(running, "two", era) as two,
    ):
        async with anyio.create_task_group() as calls:
            for number in range(2 * EACH):
                calls.start_soon(pay, (one, two)[number % 2], 200 + number)

            async def all_asked() -> bool:
                return len(await pending(running)) == 2 * EACH

            await until(all_asked, 60, what="all calls to wait for a person")
            began = perf_counter()
            with anyio.fail_after(LIMIT_S):
                assert await running.stop() == 0
            print(f"stopped after {perf_counter() - began:.2f} s")
        assert tools.payments == []
    assert len(said) == 2 * EACH
    assert all("Call the tool again" in text for text in said)


async def pending(running: Plane) -> list[object]:
    return [one for one in (await running.get("/approvals?limit=100"))["items"] if one["status"] == "pending"]
