"""Approved with other arguments: those go upstream, the agent hears of it, and the record keeps both."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from mcp_types import CallToolResult, TextContent
from sqlalchemy.engine import Row

from control import events
from control.approvals.desk import Verdict
from control.approvals.standing import Scope
from kit.errors import Invalid
from mcp_server.answers import RECEIPT
from tests.mcp_server.plane import ACCOUNT, ERAS, GATED, PAYMENT, Era, Payments, Plane


async def decide(house: Plane, approval: Row[Any], **more: Any) -> None:
    [call] = [call for call in await house.calls() if call.id == approval.call_id]
    given = {"approver": "alice", "verdict": Verdict.APPROVED, "reason": "", "digest": call.digest, "via": "test"}
    await house.db.write(lambda tx: house.desk.decide(tx, ACCOUNT, approval.id, **given | more))


async def confirmed(house: Plane, stream: str, meta: Mapping[str, Any]) -> bool:
    """Does the record hold what the receipt says?"""
    found = {event.seq: event for event in await events.read(house.db, ACCOUNT, stream)}
    receipt = meta[RECEIPT]
    return bool(receipt["stream"] == stream and found[receipt["seq"]].hash == receipt["hash"])


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_person_changed_goes_upstream_and_the_agent_is_told(
    house: Plane, payments: Payments, era: Era
) -> None:
    session, token = await house.enrolled(GATED)
    results: list[CallToolResult] = []
    async with house.client(token, era) as client, anyio.create_task_group() as agent:

        async def pay() -> None:
            results.append(await client.call_tool("pay", PAYMENT))

        agent.start_soon(pay)
        [approval] = await house.pending()
        with pytest.raises(Invalid, match="required argument 'recipient' missing"):
            await decide(house, approval, changed={"amount": 900})
        await decide(house, approval, changed=PAYMENT | {"amount": 900}, grant=Scope(exact=False, uses=1))
    assert [made["amount"] for made in payments.made()] == [900]
    [result] = results
    assert isinstance(result.content[0], TextContent)
    assert "changed the arguments" in result.content[0].text
    assert '"amount":900' in result.content[0].text
    assert result.meta
    assert await confirmed(house, session, result.meta)


@pytest.mark.parametrize("era", ERAS)
async def test_a_standing_yes_lets_the_next_call_pass_and_a_refusal_has_a_receipt_too(
    house: Plane, payments: Payments, era: Era
) -> None:
    session, token = await house.enrolled(GATED)
    results: list[CallToolResult] = []
    async with house.client(token, era) as client:

        async def pay(amount: int) -> None:
            results.append(await client.call_tool("pay", PAYMENT | {"amount": amount}))

        async with anyio.create_task_group() as agent:
            agent.start_soon(pay, 1500)
            [approval] = await house.pending()
            await decide(house, approval, grant=Scope(exact=False, uses=1))
        await pay(1600)
        async with anyio.create_task_group() as agent:
            agent.start_soon(pay, 1700)
            [approval] = await house.pending()
            await house.decide(approval, Verdict.DECLINED, "enough")
        await pay(1700)
    assert [made["amount"] for made in payments.made()] == [1500, 1600]
    assert [result.is_error for result in results] == [False, False, True, True]
    assert results[2].content == results[3].content
    for result in results:
        assert result.meta
        assert await confirmed(house, session, result.meta)
