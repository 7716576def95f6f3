"""The same delivery many times at once to two processes of role `web` over one database: one execution."""

import time
from pathlib import Path

import anyio
import httpx

from kit import webhooks
from tests.journeys.plane import FLOW, Plane, config
from tests.ports import free_port

HOOK = "/hooks/flows/process-payment"


async def delivered(folder: Path, database: str | None, *, deliveries: int, times: int) -> tuple[int, int, list[int]]:
    """So many deliveries, each so many times: (executions that answers name, executions there are, statuses other than
    202)."""
    async with anyio.create_task_group() as tasks:
        path = config(folder, "http://127.0.0.1:9", engine="process")
        twins = []
        for _ in range(2):
            does = ("serve", "web", "--port", str(free_port()), "--container-port", "0")
            twins.append(Plane(folder / "data", path, tasks, database, does=does))
        try:
            for twin in twins:
                await twin.start()
            await twins[0].apply(FLOW.read_text())
            found = await _race(twins, deliveries, times)
        finally:
            for twin in twins:
                if twin.process and twin.process.returncode is None:
                    await twin.stop()
            tasks.cancel_scope.cancel()
    return found


async def _race(twins: list[Plane], deliveries: int, times: int) -> tuple[int, int, list[int]]:
    urls = [(await twin.said("Preloop listens on")).split()[-1] for twin in twins]
    named: set[str] = set()
    odd: list[int] = []
    async with twins[0].http() as rest:
        secret = (await rest.post("/api/v1/flows/process-payment/webhook-secret")).raise_for_status().json()["secret"]
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None)) as http:

        async def send(url: str, message_id: str) -> None:
            body = b'{"amount": 1, "recipient": "a@example.com", "contract_id": "CONTRACT-2025-001"}'
            signed = webhooks.sign(secret, message_id=message_id, timestamp=int(time.time()), body=body)
            answer = await http.post(url + HOOK, content=body, headers=signed)
            if answer.status_code == 202:
                named.add(answer.json()["execution_id"])
            else:
                odd.append(answer.status_code)

        for number in range(deliveries):
            async with anyio.create_task_group() as tasks:
                for place in range(times):
                    tasks.start_soon(send, urls[place % 2], f"msg_{number}")
    made = (await twins[0].get("/executions?limit=100"))["items"]
    return len(named), len(made), odd
