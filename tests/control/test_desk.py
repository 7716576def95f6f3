"""The desk: one row per call, one decision, one sending."""

from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from control import events
from control.executions import lifecycle, toolcalls
from control.executions.states import Cause
from control.executions.toolcalls import Call
from control.identity.principals import Principal
from control.tables import approvals, links, outbox, tool_calls
from kit.db import Tx
from kit.errors import Conflict, Fault, Invalid, Refused
from tests.control.house import ACCOUNT, House


async def test_a_gated_call_waits_and_the_run_is_shown_as_waiting(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    assert (await house.call_row(call)).status == "waiting"
    assert (await house.row(principal.execution_id)).open_approvals == 1


async def test_a_call_under_the_threshold_is_ready_at_once(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal, amount=50)
    assert (await house.call_row(call)).status == "ready"
    assert (await house.row(principal.execution_id)).open_approvals == 0


async def test_the_same_call_attaches_and_a_changed_argument_asks_anew(house: House) -> None:
    principal = await house.running()
    first = await house.call(principal, amount=1500)
    assert await house.call(principal, amount=1500) == first
    assert await house.call(principal, amount=1501) != first
    assert (await house.row(principal.execution_id)).open_approvals == 2


async def test_a_yes_is_worth_one_sending(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    assert not await house.claim(principal, call)
    await house.decide(call)
    assert [await house.claim(principal, call), await house.claim(principal, call)] == [True, False]
    assert (await house.approval(call)).status == "consumed"
    assert (await house.row(principal.execution_id)).open_approvals == 0


async def test_an_undelivered_answer_is_found_again_and_a_delivered_one_is_history(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await house.decide(call)
    await house.claim(principal, call)
    await house.settle(call, transaction_id="tx_1")
    assert await house.call(principal) == call
    await house.deliver(call)
    assert await house.call(principal) != call


async def test_the_time_before_a_process_began_does_not_count_for_whoever_comes_back(house: House) -> None:
    principal = await house.running()
    held = await house.call_row(await house.call(principal, amount=50))
    await house.claim(principal, held.id)
    await house.settle(held.id, transaction_id="tx_1")
    its = {"server": held.server, "tool": held.tool, "name": held.name, "definition_digest": held.definition_digest}
    call = Call(args=held.args, digest=held.digest, **its)

    async def found(settled_ago: timedelta, began_ago: timedelta) -> bool:
        def unit(tx: Tx) -> bool:
            mine = tool_calls.c.id == held.id
            tx.execute(sa.update(tool_calls).where(mine).values(settled_at=tx.now() - settled_ago))
            return toolcalls.reattach(tx, principal, call, began=tx.now() - began_ago) is not None

        return await house.db.write(unit)

    long, short = timedelta(minutes=10), timedelta(seconds=5)
    assert [await found(*ago) for ago in ((short, long), (long, short), (long, long))] == [True, True, False]
    assert not await found(timedelta(hours=2), short)


async def broke(house: House, principal: Principal) -> tuple[str, str]:
    """The stage in which its run broke, and the tool."""
    told = await events.read(house.db, ACCOUNT, principal.stream)
    [data] = [event.data for event in told if event.type == events.DIAGNOSED]
    return data["stage"], data["tool"]


async def test_a_decline_ends_the_run_in_the_same_unit_and_withdraws_the_rest(house: House) -> None:
    principal = await house.running()
    call, other = await house.call(principal), await house.call(principal, amount=9999)
    await house.decide(call, verdict="declined", reason="over budget")
    row = await house.row(principal.execution_id)
    assert (row.state, row.cause, row.open_approvals) == ("FAILED", "approval_declined", 0)
    assert "declined by Alice" in row.message and "over budget" in row.message
    assert await broke(house, principal) == ("approval", "pay")
    assert (await house.approval(other)).status == "withdrawn"
    assert (await house.call_row(other)).status == "withdrawn"


async def test_a_decline_under_continue_lets_the_agent_go_on(house: House) -> None:
    principal = await house.running(on_decline="continue")
    call = await house.call(principal)
    await house.decide(call, verdict="declined", reason="no")
    assert (await house.row(principal.execution_id)).state == "RUNNING"
    assert "Do not retry" in (await house.call_row(call)).error


async def test_declining_needs_a_reason(house: House) -> None:
    call = await house.call(await house.running())
    with pytest.raises(Invalid, match="Say why"):
        await house.decide(call, verdict="declined")


async def test_other_arguments_than_the_page_showed_are_not_approved(house: House) -> None:
    call = await house.call(await house.running())
    with pytest.raises(Conflict, match="other arguments"):
        await house.decide(call, digest="0" * 64)
    assert (await house.approval(call)).status == "pending"


async def test_somebody_outside_the_group_decides_nothing(house: House) -> None:
    call = await house.call(await house.running())
    with pytest.raises(Refused):
        await house.decide(call, approver="mallory")


async def test_the_same_click_twice_is_fine_and_a_different_one_learns_who_decided(house: House) -> None:
    call = await house.call(await house.running())
    await house.decide(call, approver="alice")
    assert (await house.decide(call, approver="alice")).repeated
    with pytest.raises(Conflict, match="approved by alice"):
        await house.decide(call, approver="bob", verdict="declined", reason="no")


async def test_of_two_opposite_verdicts_exactly_one_wins(house: House) -> None:
    for round_ in range(20):
        principal = await house.running(on_decline="continue")
        call = await house.call(principal, amount=1000 + round_)
        won: list[str] = []

        async def vote(approver: str, verdict: str, call: str = call, won: list[str] = won) -> None:
            try:
                await house.decide(call, approver=approver, verdict=verdict, reason="because")
                won.append(verdict)
            except Fault:
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(vote, "alice", "approved")
            tasks.start_soon(vote, "bob", "declined")
        assert len(won) == 1
        assert (await house.approval(call)).status == won[0]
        await house.end(principal.execution_id, Cause.CANCELLED)


async def test_of_many_senders_exactly_one_sends(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await house.decide(call)
    sent: list[bool] = []

    async def send() -> None:
        sent.append(await house.claim(principal, call))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(send)
    assert sorted(sent) == [False] * 19 + [True]


async def test_nobody_in_time_means_declined(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    past = (await house.approval(call)).asked_at - timedelta(seconds=1)
    await house.db.write(lambda tx: tx.execute(sa.update(approvals).values(expires_at=past)))
    await house.db.write(house.desk.expire)
    row = await house.row(principal.execution_id)
    assert (row.state, row.cause) == ("FAILED", "approval_expired")
    assert await broke(house, principal) == ("approval", "pay")
    assert (await house.call_row(call)).status == "expired"
    with pytest.raises(Conflict, match="expired"):
        await house.decide(call)


async def test_a_yes_after_a_cancel_is_not_spent(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await house.decide(call)
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, principal.execution_id or "", by="test"))
    assert not await house.claim(principal, call)


async def test_a_notice_is_queued_for_each_approver_and_holds_no_link(house: House) -> None:
    await house.call(await house.running())
    rows = await house.db.read(sa.select(outbox))
    assert sorted(row.target for row in rows) == ["alice", "bob"]
    assert not any("apl_" in row.payload or "1500" in row.payload for row in rows)
    assert not await house.db.read(sa.select(links))


async def test_every_step_is_in_the_chain_and_the_chain_holds(house: House) -> None:
    principal = await house.running()
    call = await house.call(principal)
    await house.decide(call)
    await house.claim(principal, call)
    await house.settle(call)
    told = [event.type for event in await events.read(house.db, ACCOUNT, principal.stream)]
    wanted = ["approval.asked", "wait.entered", "approval.voted", "approval.closed", "wait.left", "tool.sent"]
    assert [type_ for type_ in told if type_ in wanted] == wanted
    assert await events.verify(house.db, ACCOUNT, principal.stream) is None
