"""Processes of one plane that share PostgreSQL alone: each has a data folder of its own, and the keys it needs."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography.fernet import Fernet

from preloop.demo import decide
from tests.journeys.plane import Plane, Tools, config, payments
from tests.journeys.test_bad_input import preloop, told
from tests.ports import free_port

DOORS = ("web", "gateway", "mcp")


@dataclass
class Replicas:
    one: Plane
    other: Plane
    """Both with all doors; agents of the runner use the first one's."""
    runner: Plane
    tools: Tools


@asynccontextmanager
async def replicas(folder: Path, database: str, server: str = "") -> AsyncIterator[Replicas]:
    inner = free_port()
    async with payments(folder) as tools, anyio.create_task_group() as tasks:
        agents = f'mcp_url = "http://127.0.0.1:{inner}"\ngateway_url = "http://127.0.0.1:{inner}"'
        key = f'seal_key = "{Fernet.generate_key().decode()}"\n{server}'
        path = config(folder, tools.url, engine="process", runner=agents, more=key)

        def process(name: str, container_port: int, *roles: str) -> Plane:
            does = ("serve", *roles, "--port", str(free_port()), "--container-port", str(container_port))
            return Plane(folder / name, path, tasks, database, does=does)

        each = process("one", inner, *DOORS), process("other", 0, *DOORS), process("runner", 0, "runner")
        try:
            async with anyio.create_task_group() as starting:
                for one in each:
                    starting.start_soon(one.start)
            await each[0].apply()
            yield Replicas(*each, tools)
        finally:
            for one in each:
                if one.process and one.process.returncode is None:
                    await one.stop()
            tasks.cancel_scope.cancel()


@pytest.mark.postgres
async def test_a_run_whose_event_approval_and_agent_meet_different_replicas(
    tmp_path: Path, postgres_database: str
) -> None:
    async with replicas(tmp_path, postgres_database) as found:
        execution_id = await found.other.trigger()
        await found.other.waiting(execution_id)
        page = await link(found)
        await decide(page, "approved")
        row = await found.one.ended(execution_id)
        assert (row["state"], row["message"], len(found.tools.payments)) == ("SUCCEEDED", "", 1)
        keys = {
            one.folder.name: {file.name for file in (one.folder / "keys").glob("*")}
            for one in (found.one, found.other, found.runner)
        }
        assert keys == {"one": {"signing.pem"}, "other": {"signing.pem"}, "runner": set()}
        third = preloop(
            *("serve", "web", "--config", str(found.one.config), "--port", "0"),
            data=tmp_path / "third",
            PRELOOP_DATABASE=postgres_database,
            PRELOOP_SERVER__CONTAINER_PORT="0",
            PRELOOP_SERVER__SEAL_KEY=Fernet.generate_key().decode(),
        )
        assert told(third, 5, "server.seal_key does not open this database's secrets", "PRELOOP_SERVER__SEAL_KEY_FILE")


@pytest.mark.postgres
async def test_a_flow_s_deliveries_in_a_minute_are_counted_together(tmp_path: Path, postgres_database: str) -> None:
    async with replicas(tmp_path, postgres_database, "deliveries_per_minute = 20\n") as found:
        async with found.one.http() as http:
            secret = (await http.post("/api/v1/flows/process-payment/webhook-secret")).json()["secret"]
        codes: list[int] = []

        async def deliver(plane: Plane) -> None:
            async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}, trust_env=False) as http:
                answer = await http.post(f"{plane.found['url']}/hooks/flows/process-payment", json={"amount": 1})
                codes.append(answer.status_code)

        began = time.time() // 60
        async with anyio.create_task_group() as senders:
            for plane in (found.one, found.other) * 40:
                senders.start_soon(deliver, plane)
        minutes = int(time.time() // 60 - began) + 1
        assert set(codes) == {202, 429}
        assert 18 <= codes.count(202) <= 20 * minutes


async def link(found: Replicas) -> str:
    """Printed by whichever replica took the notice; opened at the other one."""
    line: dict[str, str] = {}
    async with anyio.create_task_group() as looking:

        async def look(at: str, plane: Plane) -> None:
            line[at] = await plane.link()
            looking.cancel_scope.cancel()

        looking.start_soon(look, "one", found.one)
        looking.start_soon(look, "other", found.other)
    [(at, url)] = line.items()
    elsewhere = found.other if at == "one" else found.one
    return f"{elsewhere.found['url']}/a/{url.rpartition('/a/')[2]}"
