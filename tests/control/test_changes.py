"""Approved with other arguments: those may go upstream only where everybody whom the rules would have asked about them
has really said yes."""

from datetime import timedelta
from typing import Any

import pytest

from control.approvals.desk import Decided
from control.identity.charter import Gate, ToolGrant
from kit.errors import Refused
from tests.control.house import House

SMALL = "args.amount <= 10000"
LARGE = "args.amount > 10000"


def pay(**gate: Any) -> ToolGrant:
    return ToolGrant(server="payments", tool="pay", approval=Gate(**{"group": "finance"} | gate))


FIRST = pay(when=SMALL, escalate="directors")


async def asked(house: House, *entries: ToolGrant) -> str:
    return await house.call(await house.running(tools=entries), amount=500)


async def change(house: House, call: str, approver: str = "alice", amount: int = 20_000) -> Decided:
    return await house.decide(call, approver=approver, changed={"amount": amount})


async def refused(house: House, call: str, approver: str = "alice", code: str = "changed_needs_others") -> str:
    """What the decider is told; nothing was decided."""
    with pytest.raises(Refused) as said:
        await change(house, call, approver)
    row = await house.call_row(call)
    assert (said.value.code, (await house.approval(call)).status) == (code, "pending")
    assert (row.status, row.approved_args) == ("waiting", None)
    return said.value.message


async def escalated(house: House, call: str) -> None:
    await house.age(call, timedelta(minutes=8))
    await house.db.write(house.desk.climb)
    assert (await house.approval(call)).escalated_at


def joined(house: House, group: str, approver: str) -> None:
    groups: Any = house.desk.directory.groups
    groups[group] = (*groups[group], approver)


async def test_the_next_group_that_was_never_asked_has_not_said_yes(house: House) -> None:
    call = await asked(house, FIRST, pay(group="directors", when=LARGE))
    assert "'directors'" in await refused(house, call)


async def test_somebody_of_the_next_group_does_not_speak_for_it_before_it_was_asked(house: House) -> None:
    joined(house, "directors", "alice")
    call = await asked(house, FIRST, pay(group="directors", when=LARGE))
    assert "'directors'" in await refused(house, call)


async def test_once_it_was_asked_only_one_of_its_people_speaks_for_the_next_group(house: House) -> None:
    call = await asked(house, FIRST, pay(group="directors", when=LARGE))
    await escalated(house, call)
    await refused(house, call, "alice")
    assert (await change(house, call, "carol")).status == "approved"
    assert (await house.call_row(call)).approved_args == '{"amount":20000}'


async def test_the_next_group_speaks_for_a_gate_that_goes_on_to_it_and_for_no_other(house: House) -> None:
    """The first and the second gate are of the same group; only the first lets the directors stand in for it."""
    alike = await asked(house, FIRST, pay(when=LARGE, escalate="directors"))
    alone = await asked(house, FIRST, pay(when=LARGE))
    for call in (alike, alone):
        await escalated(house, call)
    await refused(house, alone, "carol")
    assert (await change(house, alike, "carol")).status == "approved"
    assert (await change(house, alone, "bob")).status == "approved"


async def test_a_gate_that_would_go_on_to_the_first_group_later_is_not_passed_by_it_now(house: House) -> None:
    call = await asked(house, FIRST, pay(group="directors", when=LARGE, escalate="finance"))
    await escalated(house, call)
    assert "'directors'" in await refused(house, call, "alice")


async def test_the_groups_of_every_gate_that_fires_must_have_said_yes(house: House) -> None:
    both = (FIRST, pay(when=LARGE), pay(group="directors", when=LARGE))
    call = await asked(house, *both)
    await refused(house, call)
    await escalated(house, call)
    await refused(house, call, "carol")
    await refused(house, call, "alice")
    joined(house, "directors", "bob")
    assert (await change(house, call, "bob")).status == "approved"


STRICTER: list[tuple[dict[str, Any], str]] = [
    ({"quorum": 2}, "2 people"),
    ({"four_eyes": True}, "four eyes"),
    ({"sign_in": True}, "a sign-in"),
    ({"confirm": "typed"}, "a typed confirmation"),
    ({"timeout_s": 60}, "an answer sooner"),
]


@pytest.mark.parametrize(("wants", "told"), STRICTER)
async def test_what_the_gate_of_the_changed_arguments_wants_is_not_waived(
    house: House, wants: dict[str, Any], told: str
) -> None:
    call = await asked(house, pay(when=SMALL), pay(when=LARGE, **wants))
    await house.age(call, timedelta(seconds=61))
    assert told in await refused(house, call)


async def test_in_the_time_of_the_shorter_gate_it_may_be_changed(house: House) -> None:
    call = await asked(house, pay(when=SMALL), pay(when=LARGE, timeout_s=60))
    await house.age(call, timedelta(seconds=30))
    assert (await change(house, call)).status == "approved"


async def test_arguments_that_a_rule_denies_are_nobody_s_to_approve(house: House) -> None:
    call = await asked(house, pay(), ToolGrant(server="payments", tool="pay", deny=LARGE))
    assert await refused(house, call, code="changed_denied")


async def test_arguments_nobody_is_asked_about_may_be_approved(house: House) -> None:
    call = await asked(house, pay(when="args.amount > 100"))
    assert (await change(house, call, amount=50)).status == "approved"
