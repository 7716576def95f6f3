"""Calls as tasks (SEP-2663): the row is the task, so it outlives the connection that made it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from control.approvals.desk import Verdict
from control.identity.doorkeeper import Listener
from mcp_server.tasks import EXTENSION
from tests.mcp_server.plane import FREE, GATED, PAYMENT, Payments, Plane
from tests.waiting import until

VERSION = "2026-07-28"
Message = dict[str, Any]


class Agent:
    """A client that says what it wants in raw messages."""

    def __init__(self, http: httpx2.AsyncClient, *, knows_tasks: bool) -> None:
        self._http = http
        self._capabilities: Message = {"extensions": {EXTENSION: {}}} if knows_tasks else {}

    async def ask(self, method: str, header: str, **params: object) -> Message:
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": self._capabilities,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": meta}}
        headers = {"MCP-Protocol-Version": VERSION, "Mcp-Method": method, "Mcp-Name": header}
        answer: Message = (await self._http.post("", json=body, headers=headers)).json()
        return answer

    async def pay(self) -> Message:
        return await self.ask("tools/call", "pay", name="pay", arguments=PAYMENT)

    async def task(self, method: str, task_id: str) -> Message:
        result: Message = (await self.ask(f"tasks/{method}", task_id, taskId=task_id))["result"]
        return result

    async def ended(self, task_id: str) -> Message:
        """Poll, as the wire has it, until a task is over."""

        async def over() -> Message | None:
            found = await self.task("get", task_id)
            return None if found["status"] == "working" else found

        found = await until(over, what="the task to end")
        assert found
        return found


@asynccontextmanager
async def agent(house: Plane, token: str, *, knows_tasks: bool = True) -> AsyncIterator[Agent]:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(
        verify=False, base_url=house.urls[Listener.PEOPLE], headers=headers, timeout=30
    ) as http:
        yield Agent(http, knows_tasks=knows_tasks)


async def test_a_call_that_waits_for_a_person_is_a_task_and_pays_once(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as first:
        created = (await first.pay())["result"]
    assert (created["resultType"], created["status"]) == ("task", "working")
    [approval] = await house.pending()
    assert created["taskId"] == approval.call_id
    async with agent(house, token) as second:  # another connection, perhaps another day
        await house.decide(approval)
        ended = await second.ended(created["taskId"])
    assert ended["status"] == "completed"
    assert ended["result"]["structuredContent"]["status"] == "completed"
    assert len(payments.made()) == 1


async def test_a_decline_is_the_result_of_a_task_that_completed(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as asking:
        task_id = (await asking.pay())["result"]["taskId"]
        [approval] = await house.pending()
        await house.decide(approval, Verdict.DECLINED, "over budget")
        ended = await asking.ended(task_id)
    assert ended["status"] == "completed"
    assert ended["result"]["isError"]
    assert payments.made() == []


async def test_a_quick_call_is_answered_plainly(house: Plane) -> None:
    _, token = await house.enrolled(FREE)
    async with agent(house, token) as asking:
        result = (await asking.pay())["result"]
    assert result["resultType"] == "complete"
    assert "taskId" not in result


async def test_a_cancelled_task_asks_nobody_any_more_and_never_runs(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as asking:
        task_id = (await asking.pay())["result"]["taskId"]
        await house.pending()
        assert "status" not in await asking.task("cancel", task_id)
        assert (await asking.task("get", task_id))["status"] == "cancelled"
    [call] = await house.calls()
    assert call.status == "withdrawn"
    assert payments.made() == []


async def test_a_task_is_nobody_elses(house: Plane) -> None:
    _, owner = await house.enrolled(GATED)
    _, other = await house.enrolled(GATED)
    async with agent(house, owner) as asking:
        task_id = (await asking.pay())["result"]["taskId"]
    async with agent(house, other) as asking:
        for method in ("get", "cancel"):
            assert (await asking.ask(f"tasks/{method}", task_id, taskId=task_id))["error"]["code"] == -32602
    assert len(await house.pending()) == 1


@pytest.mark.parametrize("method", ["get", "cancel"])
async def test_a_client_that_knows_no_tasks_is_told_what_it_lacks(house: Plane, method: str) -> None:
    _, token = await house.enrolled(FREE)
    async with agent(house, token, knows_tasks=False) as asking:
        error = (await asking.ask(f"tasks/{method}", "tcl_any", taskId="tcl_any"))["error"]
    assert error["code"] == -32021
    assert EXTENSION in error["data"]["requiredCapabilities"]["extensions"]
