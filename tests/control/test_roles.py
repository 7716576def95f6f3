"""A request lives in its row: another process, which never saw it, decides it, changes it and ends it just as well."""

import pytest

from control.approvals.desk import Desk
from kit.errors import Invalid
from tests.control.house import House, fits
from tests.control.test_bounds import fail_notices


def another_process(house: House, *, reads_schemas: bool = True) -> None:
    """From here on the desk is one that remembers nothing of what was asked before."""
    given = (fits,) if reads_schemas else ()
    house.desk = Desk(house.desk.directory, house.lifecycle, *given)


async def test_nobody_could_be_reached_is_noticed_by_whoever_sends_the_notices(house: House) -> None:
    principal = await house.gated()
    call = await house.call(principal)
    another_process(house)
    await fail_notices(house)
    row = await house.row(principal.execution_id)
    assert (row.state, row.cause) == ("FAILED", "approver_unreachable")
    assert "Nobody could be reached" in (await house.call_row(call)).error


async def test_changed_arguments_are_checked_by_the_definition_in_the_record(house: House) -> None:
    principal = await house.gated()
    call = await house.call(principal)
    another_process(house)
    with pytest.raises(Invalid, match="amount"):
        await house.decide(call, changed={"amount": -5})
    await house.decide(call, changed={"amount": 900})
    another_process(house)
    assert await house.claim(principal, call)
    assert (await house.call_row(call)).approved_args == '{"amount":900}'


async def test_where_nobody_reads_schemas_nothing_is_changed(house: House) -> None:
    call = await house.call(await house.gated())
    another_process(house, reads_schemas=False)
    with pytest.raises(Invalid, match="nobody here can check"):
        await house.decide(call, changed={"amount": 900})
    assert (await house.approval(call)).status == "pending"


async def test_a_tool_without_an_accepted_definition_is_not_called_with_other_arguments(house: House) -> None:
    call = await house.call(await house.gated(), tool="pay")
    await house.forget_definitions()
    with pytest.raises(Invalid, match="not accepted any more"):
        await house.decide(call, changed={"amount": 900})
    assert (await house.approval(call)).status == "pending"
