"""Several entries that ask about one call: each group's gate must be passed, and nobody is asked who isn't needed."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from control.approvals import policy, requests, rules
from control.approvals.policy import Ask
from control.approvals.standing import Scope
from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Principal
from control.tables import approvals
from kit.errors import Refused
from tests.control.house import House
from tests.control.test_bounds import fail_notices
from tests.control.test_ladder import told


def entries(*gates: Gate) -> tuple[ToolGrant, ...]:
    return tuple(ToolGrant(server="payments", tool="pay", approval=gate) for gate in gates)


async def both(house: House, **directors: Any) -> Principal:
    """A run whose every payment both finance and the directors must agree to."""
    return await house.running(tools=entries(Gate(group="finance"), Gate(group="directors", **directors)))


async def lacking(house: House, call: str, *yes: str) -> list[str]:
    row = await house.approval(call)
    return [gate.group for gate in requests.lacking(house.desk.directory, row, yes)]


def asks(*gates: Gate) -> Ask:
    verdict = policy.decide(entries(*gates), {"args": {"amount": 1500}}, rules.evaluate)
    assert isinstance(verdict, Ask)
    return verdict


@pytest.mark.parametrize("order", [("alice", "carol"), ("carol", "alice")])
async def test_one_group_s_yes_is_not_the_other_s(house: House, order: Sequence[str]) -> None:
    principal = await both(house)
    call = await house.call(principal)
    assert (await house.decide(call, approver=order[0])).open
    assert (await house.call_row(call)).status == "waiting"
    assert not await house.claim(principal, call)
    assert not (await house.decide(call, approver=order[1])).open
    assert await house.claim(principal, call)
    assert len(await house.db.read(sa.select(approvals))) == 1


async def test_two_of_one_group_are_not_one_of_each(house: House) -> None:
    call = await house.call(await both(house))
    await house.decide(call, approver="alice")
    assert (await house.decide(call, approver="bob")).open
    assert await lacking(house, call, "alice", "bob") == ["directors"]
    assert await lacking(house, call, "carol") == ["finance"]
    assert await lacking(house, call, "carol", "bob") == []


async def test_either_group_s_no_is_enough(house: House) -> None:
    principal = await both(house)
    call = await house.call(principal)
    await house.decide(call, approver="alice")
    await house.decide(call, approver="carol", verdict="declined", reason="not this year")
    assert (await house.call_row(call)).status == "declined"
    assert (await house.row(principal.execution_id)).cause == "approval_declined"


async def test_somebody_in_both_groups_speaks_for_both(house: House) -> None:
    house.desk.directory.groups["directors"] = ("alice",)  # type: ignore[index]
    call = await house.call(await both(house))
    assert not (await house.decide(call, approver="alice")).open
    assert await told(house, "approval.requested") == ["alice", "bob"]


async def test_only_gates_that_fire_ask(house: House) -> None:
    principal = await both(house, when="args.amount > 1000")
    small = await house.call(principal, amount=500)
    assert await told(house, "approval.requested") == ["alice", "bob"]
    await house.decide(small)
    assert (await house.call_row(small)).status == "ready"
    large = await house.call(principal, amount=1500)
    await house.decide(large)
    assert (await house.call_row(large)).status == "waiting"


async def test_each_gate_climbs_its_own_ladder(house: House) -> None:
    gates = entries(Gate(group="finance", quorum=2), Gate(group="directors", escalate="finance"))
    call = await house.call(await house.running(tools=gates))
    await house.decide(call, approver="alice")
    await house.decide(call, approver="bob")
    assert await lacking(house, call, "alice", "bob") == ["directors"]
    for minutes in (5, 3):
        await house.age(call, timedelta(minutes=minutes))
        await house.db.write(house.desk.climb)
    assert await lacking(house, call, "alice", "bob") == []


async def test_a_gate_whose_people_were_told_waits_for_them_where_another_s_were_not(house: House) -> None:
    groups = house.desk.directory.groups
    groups |= {"finance": ("alice",), "legal": ("bob",), "board": ("carol",)}  # type: ignore[operator]
    gates = entries(Gate(group="finance", escalate="directors"), Gate(group="legal", escalate="board"))
    call = await house.call(await house.running(tools=gates))
    await fail_notices(house, only="alice")
    assert await told(house, "approval.escalated") == ["carol"]
    assert await lacking(house, call, "carol") == ["legal"]
    assert await lacking(house, call, "carol", "bob") == []
    await house.age(call, timedelta(minutes=8))
    await house.db.write(house.desk.climb)
    assert await lacking(house, call, "carol") == []
    before = (await house.approval(call)).escalated_at
    await house.db.write(house.desk.climb)
    assert (await house.approval(call)).escalated_at == before


async def test_a_group_that_can_t_be_reached_ends_the_wait_whatever_the_other_says(house: House) -> None:
    empty = await house.running(tools=entries(Gate(group="finance"), Gate(group="empty")))
    await house.call(empty)
    assert "group 'empty' has no members" in (await house.row(empty.execution_id)).message
    principal = await both(house)
    await house.call(principal)
    await fail_notices(house, only="carol")
    assert (await house.row(principal.execution_id)).cause == "approver_unreachable"


async def test_where_two_groups_agree_one_person_changes_nothing_and_waives_nothing(house: House) -> None:
    call = await house.call(await both(house))
    with pytest.raises(Refused, match="Several people"):
        await house.decide(call, approver="alice", changed={"amount": 1})
    await house.decide(call, approver="alice")
    with pytest.raises(Refused, match="several people"):
        await house.decide(call, approver="carol", grant=Scope(exact=False))
    assert (await house.approval(call)).status == "pending"


async def test_a_standing_yes_of_one_group_does_not_answer_for_two(house: House) -> None:
    principal = await both(house, when="args.amount > 1000")
    first = await house.call(principal, amount=500)
    await house.decide(first, grant=Scope(exact=False, uses=9))
    assert (await house.call_row(await house.call(principal, amount=600))).status == "ready"
    assert (await house.call_row(await house.call(principal, amount=1500))).status == "waiting"


def test_gates_of_one_group_are_one_as_strict_as_the_strictest() -> None:
    ask = asks(
        Gate(group="finance", timeout_s=60, escalate="directors"),
        Gate(group="finance", quorum=2, four_eyes=True, sign_in=True, when="args.amount > 1"),
        Gate(group="finance", quorum=5, when="args.amount > 9999"),
    )
    assert ask.gate == Gate(group="finance", timeout_s=60, quorum=2, four_eyes=True, sign_in=True)
    assert ask.also == ()
    assert ask.rule == "every call is asked of finance; when: args.amount > 1"


def test_of_several_groups_the_shortest_time_and_every_wish_count() -> None:
    ask = asks(
        Gate(group="finance", timeout_s=600, confirm="typed"),
        Gate(group="directors", quorum=2, timeout_s=900, summary="Pay {{args.amount}}"),
    )
    assert (ask.gate.group, ask.gate.timeout_s, ask.gate.confirm) == ("directors", 600, "typed")
    assert [gate.group for gate in ask.also] == ["finance"]
