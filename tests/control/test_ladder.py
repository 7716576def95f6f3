"""Escalation, four eyes and changed arguments: who may say yes to what, and when somebody else is asked."""

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from control import events
from control.approvals.directory import Approver
from control.executions import toolcalls
from control.flows import source
from control.flows.review import Known
from control.identity.charter import Gate, ToolGrant
from control.tables import outbox
from kit.errors import Fault, Invalid, Refused
from tests.control.house import ACCOUNT, House


async def told(house: House, topic: str) -> list[str]:
    return sorted(row.target for row in await house.db.read(sa.select(outbox).where(outbox.c.topic == topic)))


async def test_a_reminder_at_half_the_time_and_the_next_group_at_three_quarters(house: House) -> None:
    call = await house.call(await house.gated(escalate="directors"))
    assert await house.db.write(house.desk.climb) == 0
    await house.age(call, timedelta(minutes=5))
    assert [await house.db.write(house.desk.climb) for _ in range(2)] == [1, 0]
    assert await told(house, "approval.reminded") == ["alice", "bob"]
    with pytest.raises(Refused):
        await house.decide(call, approver="carol")
    await house.age(call, timedelta(minutes=2, seconds=30))
    assert [await house.db.write(house.desk.climb) for _ in range(2)] == [1, 0]
    assert await told(house, "approval.escalated") == ["carol"]
    await house.decide(call, approver="carol")
    assert (await house.approval(call)).decided_by == "carol"


async def test_who_has_voted_is_not_reminded(house: House) -> None:
    call = await house.call(await house.gated(quorum=2))
    await house.decide(call, approver="alice")
    await house.age(call, timedelta(minutes=5))
    await house.db.write(house.desk.climb)
    assert await told(house, "approval.reminded") == ["bob"]


async def test_under_four_eyes_the_requester_is_never_the_only_vote(house: House) -> None:
    principal = await house.gated(by="Alice@example.com", four_eyes=True)
    call = await house.call(principal)
    assert (await house.decide(call, approver="alice")).open
    assert (await house.call_row(call)).status == "waiting"
    await house.decide(call, approver="bob")
    assert (await house.call_row(call)).status == "ready"


async def test_under_four_eyes_anybody_else_is_enough(house: House) -> None:
    call = await house.call(await house.gated(by="alice@example.com", four_eyes=True))
    await house.decide(call, approver="bob")
    assert (await house.call_row(call)).status == "ready"


async def test_an_enrolled_agent_acts_for_whoever_enrolled_it(house: House) -> None:
    principal = await house.enroll(await house.gated(four_eyes=True))
    call = await house.call(principal)
    assert (await house.approval(call)).requester == "alice@example.com"
    assert (await house.decide(call, approver="alice")).open


async def test_a_requester_alone_in_the_group_can_reach_nobody(house: House) -> None:
    principal = await house.gated(by="carol@example.com", group="directors", four_eyes=True)
    await house.call(principal)
    assert (await house.row(principal.execution_id)).cause == "approver_unreachable"


async def test_under_four_eyes_who_has_no_email_may_be_the_requester(house: House) -> None:
    people = house.desk.directory.approvers
    people |= {"alice": Approver(id="alice", name="Alice")}  # type: ignore[operator]
    call = await house.call(await house.gated(by="alice@example.com", four_eyes=True))
    assert (await house.decide(call, approver="alice")).open
    assert not (await house.decide(call, approver="bob")).open
    hook = await house.call(await house.gated(four_eyes=True))  # nobody started it
    assert not (await house.decide(hook, approver="alice")).open


def test_a_flow_that_wants_four_eyes_of_somebody_without_an_email_is_refused() -> None:
    written = source.read(FLOW_KEYS)
    known: dict[str, Any] = {"models": ["default"], "servers": ["payments"], "groups": {"finance": 1, "directors": 1}}
    with pytest.raises(Invalid, match=r"tools\.0\.approval\.four_eyes: carol of group 'directors'"):
        Known(**known, nameless={"finance": [], "directors": ["carol"]}).check(written)
    loose = source.read(FLOW_KEYS.replace("four_eyes: true", "four_eyes: false"))
    Known(**known, nameless={"finance": [], "directors": ["carol"]}).check(loose)


FLOW_KEYS = """
version: 1
name: pay
agent: {runtime: scripted, model: default}
prompt: pay
tools:
  - {server: payments, tool: pay, approval: {group: finance, escalate: directors, four_eyes: true}}
"""


def test_a_flow_file_names_the_next_group_and_four_eyes_and_a_group_nobody_knows_is_refused() -> None:
    written = source.read(FLOW_KEYS)

    def known(*groups: str) -> Known:
        return Known(models=["default"], servers=["payments"], groups=dict.fromkeys(groups, 1))

    known("finance", "directors").check(written)
    gate = written.flow.charter().tools[0].approval
    assert gate == Gate(group="finance", escalate="directors", four_eyes=True)
    with pytest.raises(Invalid, match="directors"):
        known("finance").check(written)


# changed arguments ----------------------------------------------------------------------------------------------------


async def test_changed_arguments_go_upstream_and_both_versions_are_kept(house: House) -> None:
    principal = await house.gated()
    call = await house.call(principal, amount=1500)
    await house.decide(call, changed={"amount": 900})
    await house.claim(principal, call)
    row = await house.call_row(call)
    assert (row.args, row.approved_args) == ('{"amount":1500}', '{"amount":900}')
    assert toolcalls.to_send(row) == {"amount": 900}
    changed = [e for e in await events.read(house.db, ACCOUNT, principal.stream) if e.type == "approval.changed"]
    assert changed[0].data["asked"] == row.digest != changed[0].data["approved"]
    assert await house.call(principal, amount=1500) == call


async def test_the_same_arguments_again_are_no_change(house: House) -> None:
    call = await house.call(await house.gated(), amount=1500)
    await house.decide(call, changed={"amount": 1500})
    assert (await house.call_row(call)).approved_args is None


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"amount": -5}, Invalid),
        ({"amount": 2**60}, Invalid),
        ({"amount": 60_000}, Refused),
        ({"amount": 20_000}, Refused),
        ({"note": "x" * 70_000, "amount": 1}, Invalid),
    ],
    ids=["schema", "not-json", "denied", "another-group", "too-large"],
)
async def test_a_change_that_may_not_be_decides_nothing(
    house: House, changed: dict[str, Any], fault: type[Fault]
) -> None:
    tools = (
        ToolGrant(server="payments", tool="pay", approval=Gate(group="finance"), deny="args.amount > 50000"),
        ToolGrant(server="payments", tool="*", approval=Gate(group="directors", when="args.amount > 10000", quorum=2)),
    )
    call = await house.call(await house.running(tools=tools))
    with pytest.raises(fault):
        await house.decide(call, changed=changed)
    assert (await house.approval(call)).status == "pending"
    assert json.loads((await house.call_row(call)).args) == {"amount": 1500}


async def test_where_two_must_agree_nobody_changes_anything(house: House) -> None:
    call = await house.call(await house.gated(quorum=2))
    with pytest.raises(Refused, match="Several people"):
        await house.decide(call, changed={"amount": 1})
    mine = await house.call(await house.gated(by="alice@example.com", four_eyes=True))
    with pytest.raises(Refused, match="Others must agree"):
        await house.decide(mine, approver="alice", changed={"amount": 1})
    assert (await house.approval(mine)).status == "pending"
