"""Standing yeses: bounded, revocable, and never worth more than they say."""

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from control.approvals import recheck, standing
from control.approvals.standing import Scope
from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Principal
from control.tables import approvals, grants, tool_calls
from kit.db import Tx
from kit.errors import Conflict, Fault, Invalid, Refused
from tests.control.house import ACCOUNT, DIGESTS, House

EVERY = Scope(exact=False, uses=3)


async def granted(house: House, scope: Scope = EVERY, **gate: Any) -> Principal:
    """A run with one approved call and a standing yes."""
    principal = await house.gated(**gate)
    call = await house.call(principal)
    await house.decide(call, grant=scope)
    await house.claim(principal, call)
    await house.settle(call)
    await house.deliver(call)
    return principal


async def status(house: House, principal: Principal, **args: Any) -> str:
    call = await house.call(principal, **args)
    row = await house.call_row(call)
    await house.deliver(call)
    return str(row.status)


async def test_it_is_worth_exactly_its_uses_however_many_come_at_once(house: House) -> None:
    principal = await granted(house)
    seen: list[str] = []

    async def ask(amount: int) -> None:
        seen.append(await status(house, principal, amount=amount))

    async with anyio.create_task_group() as tasks:
        for amount in range(8):
            tasks.start_soon(ask, amount)
    assert sorted(seen) == ["ready"] * 3 + ["waiting"] * 5
    assert (await house.db.read(sa.select(grants)))[0].uses_left == 0


async def test_an_exact_one_covers_these_arguments_only(house: House) -> None:
    principal = await granted(house, Scope(uses=5))
    assert await status(house, principal, amount=1500) == "ready"
    assert await status(house, principal, amount=1501) == "waiting"


async def test_a_condition_is_asked_and_one_that_errs_covers_nothing(house: House) -> None:
    principal = await granted(house, Scope(exact=False, condition="args.amount < 200", uses=9))
    assert await status(house, principal, amount=199) == "ready"
    assert await status(house, principal, amount=200) == "waiting"
    assert await status(house, principal, other=1) == "waiting"


async def test_over_and_revoked_are_over(house: House) -> None:
    principal = await granted(house)
    grant = (await house.db.read(sa.select(grants)))[0]
    await house.db.write(lambda tx: standing.revoke(tx, ACCOUNT, grant.id, by="bob"))
    assert await status(house, principal, amount=1) == "waiting"
    late = await granted(house)
    past = sa.update(grants).values(expires_at=grant.created_at)
    await house.db.write(lambda tx: tx.execute(past))
    assert await status(house, late, amount=1) == "waiting"


async def test_a_later_standing_yes_covers_what_was_declined_before_and_an_earlier_one_does_not(house: House) -> None:
    principal = await house.gated(on_decline="continue")
    declined = await house.call(principal, amount=9000)
    await house.decide(declined, verdict="declined", reason="over budget")
    await house.deliver(declined)
    assert await status(house, principal, amount=9000) == "declined"
    other = await house.call(principal, amount=1)
    await house.decide(other, grant=EVERY)
    times = [(await house.call_row(call)).asked_at for call in (declined, other)]
    for given, expected in zip(times, ("declined", "ready"), strict=True):
        await house.db.write(partial(Tx.execute, statement=sa.update(grants).values(created_at=given)))
        assert await status(house, principal, amount=9000) == expected
    assert len(await house.db.read(sa.select(approvals))) == 2


async def test_a_later_standing_yes_that_does_not_cover_it_leaves_a_decline_as_it_is(house: House) -> None:
    principal = await house.gated(on_decline="continue")
    declined = await house.call(principal, amount=9000)
    await house.decide(declined, verdict="declined", reason="over budget")
    await house.deliver(declined)
    other = await house.call(principal, amount=1)
    await house.decide(other, grant=Scope(exact=False, condition="args.amount < 100", uses=9))
    assert await status(house, principal, amount=9000) == "declined"
    assert await status(house, principal, amount=99) == "ready"


async def test_another_session_has_nothing_of_it(house: House) -> None:
    await granted(house)
    assert await status(house, await house.gated(), amount=1500) == "waiting"


async def test_it_does_not_answer_for_another_gate(house: House) -> None:
    tools = (
        ToolGrant(server="payments", tool="pay", approval=Gate(group="finance", when="args.amount <= 10000")),
        ToolGrant(server="payments", tool="pay", approval=Gate(group="directors", when="args.amount > 10000")),
        ToolGrant(server="payments", tool="pay", deny="args.amount > 50000"),
    )
    principal = await house.running(tools=tools)
    call = await house.call(principal)
    await house.decide(call, grant=EVERY)
    assert await status(house, principal, amount=20_000) == "waiting"
    assert await status(house, principal, amount=60_000) == "denied"
    assert await status(house, principal, amount=5_000) == "ready"


async def test_it_does_not_answer_for_a_gate_that_would_only_go_on_to_its_giver_s_group(house: House) -> None:
    small = Gate(group="finance", when="args.amount <= 10000")
    big = Gate(group="directors", escalate="finance", when="args.amount > 10000")
    entries = (ToolGrant(server="payments", tool="pay", approval=gate) for gate in (small, big))
    principal = await house.running(tools=tuple(entries))
    await house.decide(await house.call(principal), grant=EVERY)
    assert await status(house, principal, amount=1_000_000) == "waiting"
    assert await status(house, principal, amount=9_000) == "ready"


async def test_whoever_stands_in_for_a_group_gives_none_and_decides_this_request(house: House) -> None:
    call = await house.call(await house.gated(escalate="directors"))
    await house.age(call, timedelta(minutes=8))
    await house.db.write(house.desk.climb)
    with pytest.raises(Refused, match="stand in"):
        await house.decide(call, approver="carol", grant=EVERY)
    assert (await house.approval(call)).status == "pending"
    await house.decide(call, approver="carol")
    assert (await house.approval(call)).status == "approved"


@pytest.mark.parametrize("more", [{"four_eyes": True}, {"quorum": 2}, {"confirm": "typed"}, {"sign_in": True}])
async def test_it_does_not_answer_for_a_stricter_gate_of_its_own_group(house: House, more: dict[str, Any]) -> None:
    small = Gate(group="finance", when="args.amount <= 10000")
    big = Gate(**{"group": "finance", "when": "args.amount > 10000"} | more)
    entries = (ToolGrant(server="payments", tool="pay", approval=gate) for gate in (small, big))
    principal = await house.running(tools=tuple(entries))
    await house.decide(await house.call(principal), grant=EVERY)
    assert await status(house, principal, amount=20_000) == "waiting"
    assert await status(house, principal, amount=9_000) == "ready"


async def test_revoked_before_its_call_was_sent_it_sends_nothing(house: House) -> None:
    principal = await granted(house)
    kept, call = [await house.call(principal, amount=amount) for amount in (1, 2)]
    assert await house.claim(principal, kept)
    grant = (await house.db.read(sa.select(grants)))[0]
    await house.db.write(lambda tx: standing.revoke(tx, ACCOUNT, grant.id, by="bob"))
    assert not await house.claim(principal, call)
    row = await house.call_row(call)
    assert (row.status, row.sent_at, row.error) == ("withdrawn", None, recheck.REVOKED)


async def test_it_does_not_answer_for_a_tool_that_is_not_the_one_of_the_yes(house: House) -> None:
    principal = await granted(house)
    other = sa.update(tool_calls).values(definition_digest="0" * 64)
    await house.db.write(lambda tx: tx.execute(other))
    assert await status(house, principal, amount=1) == "waiting"
    back = sa.update(tool_calls).values(definition_digest=DIGESTS["pay"])
    await house.db.write(lambda tx: tx.execute(back))
    assert await status(house, principal, amount=2) == "ready"


async def test_one_person_s_standing_yes_can_t_stand_for_two(house: House) -> None:
    call = await house.call(await house.gated(quorum=2))
    with pytest.raises(Refused):
        await house.decide(call, approver="alice", grant=EVERY)
    await house.decide(call, approver="alice")
    with pytest.raises(Refused):
        await house.decide(call, approver="bob", grant=EVERY)
    assert (await house.approval(call)).status == "pending"


@pytest.mark.parametrize(
    "scope",
    [Scope(uses=0), Scope(uses=101), Scope(lasts=timedelta(days=2)), Scope(exact=False, condition="args.amount <")],
    ids=["no-use", "too-many", "too-long", "no-rule"],
)
async def test_one_without_bounds_is_not_given_and_nothing_is_decided(house: House, scope: Scope) -> None:
    call = await house.call(await house.gated())
    with pytest.raises(Invalid):
        await house.decide(call, grant=scope)
    assert (await house.approval(call)).status == "pending"


async def test_it_follows_a_yes_of_somebody_who_was_asked(house: House) -> None:
    principal = await house.gated(on_decline="continue")
    call = await house.call(principal)
    approval = (await house.approval(call)).id

    async def give(approver: str) -> None:
        given: dict[str, Any] = {"approver": approver, "scope": EVERY, "directory": house.desk.directory, "via": "test"}
        await house.db.write(lambda tx: standing.give(tx, ACCOUNT, approval, **given))

    with pytest.raises(Conflict):
        await give("alice")
    await house.decide(call)
    with pytest.raises(Refused):
        await give("carol")
    await give("bob")
    assert await status(house, principal, amount=1) == "ready"
    await house.end(principal.execution_id, None)
    with pytest.raises(Fault):
        await give("bob")
    assert len(await house.db.read(sa.select(approvals))) == 1
