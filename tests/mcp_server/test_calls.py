"""What an agent gets through the endpoint, in both eras of the protocol, in front of the real payments server."""

import anyio
import pytest
import sqlalchemy as sa
from anyio.abc import TaskGroup
from mcp.client import Client
from mcp_types import CallToolResult

from control import tables
from control.approvals.desk import Verdict
from control.identity import sessions
from control.identity.charter import Gate, ToolGrant
from control.identity.doorkeeper import Listener
from tests.mcp_server.plane import ERAS, FREE, GATED, PAYMENT, Era, Payments, Plane, text_of

pytestmark = pytest.mark.parametrize("era", ERAS)


async def test_an_agent_sees_only_the_tools_its_charter_lists(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(ToolGrant(server="payments", tool="get_*"))
    async with house.client(token, era) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["get_contract"]


async def test_a_listed_tool_runs_and_its_result_comes_back_whole(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(FREE)
    async with house.client(token, era) as client:
        result = await client.call_tool("pay", PAYMENT)
    [made] = payments.made()
    assert result.structured_content == {"transaction_id": made["transaction_id"], "status": "completed"}
    [call] = await house.calls()
    assert result.meta is not None
    assert result.meta["preloop/call"] == call.id
    assert (call.status, call.delivered_at is not None) == ("succeeded", True)


async def test_an_unlisted_tool_answers_like_an_unknown_one_and_never_reaches_the_upstream(
    house: Plane, payments: Payments, era: Era
) -> None:
    _, token = await house.enrolled(ToolGrant(server="payments", tool="get_contract"))
    async with house.client(token, era) as client:
        unlisted = await client.call_tool("pay", PAYMENT)
        unknown = await client.call_tool("deploy_production", {})
    assert unlisted.is_error
    assert text_of(unlisted) == "Tool 'pay' not found in allowed tools"
    assert text_of(unknown) == "Tool 'deploy_production' not found in allowed tools"
    assert payments.made() == []


async def test_a_gated_call_waits_and_runs_once_after_the_yes(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        [approval] = await house.pending()
        assert payments.made() == []
        await house.decide(approval)
        result = await answers.receive()
    assert not result.is_error
    assert len(payments.made()) == 1


async def test_the_waiting_client_hears_who_was_asked(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    heard: list[str | None] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def call(client: Client) -> None:
        await client.call_tool("pay", PAYMENT, progress_callback=progress)

    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        agent.start_soon(call, client)
        [approval] = await house.pending()
        await house.decide(approval)
    assert heard
    assert heard[0] is not None
    assert heard[0].startswith("Waiting for approval by alice@example.com until ")


async def test_a_client_that_dies_and_asks_again_finds_its_approval_and_pays_once(
    house: Plane, payments: Payments, era: Era
) -> None:
    _, token = await house.enrolled(GATED)
    async with anyio.create_task_group() as first:

        async def die() -> None:
            async with house.client(token, era) as client:
                await client.call_tool("pay", PAYMENT)

        first.start_soon(die)
        [approval] = await house.pending()
        first.cancel_scope.cancel()
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        await house.decide(approval)
        result = await answers.receive()
    assert not result.is_error
    assert len(payments.made()) == 1
    assert len(await house.calls()) == 1


async def test_an_answer_nobody_got_is_given_to_the_same_call_and_nothing_runs_again(
    house: Plane, payments: Payments, era: Era
) -> None:
    _, token = await house.enrolled(GATED)
    async with anyio.create_task_group() as first:

        async def die() -> None:
            async with house.client(token, era) as client:
                await client.call_tool("pay", PAYMENT)

        first.start_soon(die)
        [approval] = await house.pending()
        first.cancel_scope.cancel()
    await house.decide(approval)
    async with house.client(token, era) as client:
        result = await client.call_tool("pay", PAYMENT)
    assert not result.is_error
    assert [call.status for call in await house.calls()] == ["succeeded"]
    assert len(payments.made()) == 1


async def test_paying_twice_on_purpose_asks_twice(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client:
        for _ in range(2):
            async with anyio.create_task_group() as agent:
                answers = _start(agent, client)
                [approval] = await house.pending()
                await house.decide(approval)
                await answers.receive()
    assert len(payments.made()) == 2


async def test_one_changed_argument_is_another_approval(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        _start(agent, client)
        _start(agent, client, amount=1501)
        one, other = await house.pending(2)
        await house.decide(one)
        await house.decide(other)
    assert {made["amount"] for made in payments.made()} == {1500, 1501}


async def test_a_decline_is_read_by_the_agent_with_its_reason(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        [approval] = await house.pending()
        await house.decide(approval, Verdict.DECLINED, "over budget")
        result = await answers.receive()
    assert result.is_error
    for part in ("alice@example.com", "over budget", "Do not retry with the same arguments"):
        assert part in text_of(result)
    assert payments.made() == []


async def test_a_decline_that_ends_the_run_is_still_read_by_the_agent(house: Plane, era: Era) -> None:
    _, _, token = await house.execution(GATED)
    async with house.client(token, era, Listener.CONTAINERS) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        [approval] = await house.pending()
        await house.decide(approval, Verdict.DECLINED, "over budget")
        result = await answers.receive()
    [execution] = await house.db.read(sa.select(tables.executions))
    assert (execution.state, execution.cause) == ("FAILED", "approval_declined")
    assert "over budget" in text_of(result)


async def test_a_condition_that_is_false_asks_nobody(house: Plane, payments: Payments, era: Era) -> None:
    gate = Gate(group="finance", when="args.amount > 2000 || execution.tool_calls > 5")
    _, token = await house.enrolled(ToolGrant(server="payments", tool="pay", approval=gate))
    async with house.client(token, era) as client:
        result = await client.call_tool("pay", PAYMENT)
    assert not result.is_error
    assert len(payments.made()) == 1


async def test_a_rule_that_denies_is_told_and_nothing_runs(house: Plane, payments: Payments, era: Era) -> None:
    _, token = await house.enrolled(ToolGrant(server="payments", tool="pay", deny="args.currency != 'EUR'"))
    async with house.client(token, era) as client:
        result = await client.call_tool("pay", PAYMENT)
    assert result.is_error
    assert "args.currency != 'EUR'" in text_of(result)
    assert payments.made() == []


async def test_the_justification_is_kept_for_the_approver_and_not_sent_on(
    house: Plane, payments: Payments, era: Era
) -> None:
    _, token = await house.enrolled(ToolGrant(server="payments", tool="pay", justification="required"))
    async with house.client(token, era) as client:
        without = await client.call_tool("pay", PAYMENT)
        result = await client.call_tool("pay", PAYMENT | {"justification": "the invoice is due"})
    assert text_of(without) == "Tool 'pay' failed: required argument 'justification' missing"
    assert not result.is_error
    [call] = await house.calls()
    assert call.justification == "the invoice is due"
    assert "justification" not in payments.made()[0]


async def test_a_revoked_session_ends_the_wait_at_once_and_the_row_stays(house: Plane, era: Era) -> None:
    session, token = await house.enrolled(GATED)
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        await house.pending()
        with anyio.fail_after(2):
            await house.db.write(lambda tx: sessions.revoke(tx, session))
            result = await answers.receive()
    assert result.is_error
    assert "has ended" in text_of(result)
    assert [call.status for call in await house.calls()] == ["waiting"]


async def test_missing_and_wrong_arguments_are_told_before_anybody_is_asked(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client:
        missing = await client.call_tool("pay", {"recipient": "contractor@example.com"})
        wrong = await client.call_tool("pay", {"recipient": "contractor@example.com", "amount": "much"})
    assert missing.is_error
    assert text_of(missing) == "Tool 'pay' failed: required argument 'amount' missing"
    assert text_of(wrong) == "Tool 'pay' failed: argument 'amount': 'much' is not of type 'number'"
    assert await house.calls() == []


async def test_an_error_of_the_upstream_is_passed_on(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(FREE)
    async with house.client(token, era) as client:
        result = await client.call_tool("pay", PAYMENT | {"recipient": "nobody"})
    assert result.is_error
    assert "Invalid recipient email address" in text_of(result)
    [call] = await house.calls()
    assert (call.status, call.error) == ("failed", "Invalid recipient email address")


async def test_the_log_tells_the_story_in_the_page_s_own_lines(house: Plane, payments: Payments, era: Era) -> None:
    execution, _, token = await house.execution(GATED)
    async with house.client(token, era, Listener.CONTAINERS) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        [approval] = await house.pending()
        await house.decide(approval)
        await answers.receive()
    transaction = payments.made()[0]["transaction_id"]
    assert await house.story(execution) == [
        "Tool: pay",
        'Arguments: {"recipient": "contractor@example.com", "amount": 1500, "currency": "USD"}',
        "Status: Waiting for approval (tool is prelooped)",
        "Waiting for approval... (timeout: 10 minutes)",
        "Approval received from: alice@example.com",
        "Executing tool...",
        f'Tool result: {{"transaction_id": "{transaction}", "status": "completed"}}',
    ]


async def test_waiting_clients_are_told_to_call_again_when_we_stop(house: Plane, era: Era) -> None:
    _, token = await house.enrolled(GATED)
    async with house.client(token, era) as client, anyio.create_task_group() as agent:
        answers = _start(agent, client)
        await house.pending()
        house.endpoint.drain()
        with anyio.fail_after(2):
            result = await answers.receive()
    assert result.is_error
    assert "Call the tool again with the same arguments" in text_of(result)
    assert [call.status for call in await house.calls()] == ["waiting"]


class _Running:
    """A call of `pay` that was started beside the test."""

    def __init__(self) -> None:
        self._ended = anyio.Event()
        self._result: CallToolResult | None = None

    async def run(self, client: Client, arguments: dict[str, object]) -> None:
        self._result = await client.call_tool("pay", arguments)
        self._ended.set()

    async def receive(self) -> CallToolResult:
        with anyio.fail_after(10):
            await self._ended.wait()
        assert self._result is not None
        return self._result


def _start(agent: TaskGroup, client: Client, **changed: object) -> _Running:
    running = _Running()
    agent.start_soon(running.run, client, PAYMENT | changed)
    return running
