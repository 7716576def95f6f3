"""Between the yes and the sending the world goes on: what was approved is looked at once more when it is sent."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from control import events
from control.approvals import endings, pins, requests
from control.executions import lifecycle, toolcalls
from control.executions.states import Cause
from control.identity import charter as charters
from control.identity import sessions
from control.identity.charter import ToolGrant
from control.identity.principals import Principal
from control.tables import approvals
from control.tables import sessions as runtime
from kit import canonical
from tests.control.house import ACCOUNT, TOOLS, House

Happening = Callable[[House, Principal, str], Awaitable[None]]


async def approved(house: House) -> tuple[Principal, str]:
    principal = await house.gated()
    call = await house.call(principal)
    await house.decide(call)
    assert (await house.call_row(call)).status == "ready"
    return principal, call


async def session(house: House, principal: Principal, **values: Any) -> None:
    mine = runtime.c.id == principal.session_id
    await house.db.write(lambda tx: tx.execute(sa.update(runtime).where(mine).values(values)))


async def refuses(house: House, principal: Principal, call: str) -> bool:
    """It is not sent, not at the second attempt either, and its yes was not spent."""
    claimed = [await house.claim(principal, call) for _ in range(2)]
    unsent = (await house.call_row(call)).sent_at is None
    return claimed == [False, False] and unsent and (await house.approval(call)).status != "consumed"


async def test_what_nothing_happened_to_is_sent(house: House) -> None:
    principal, call = await approved(house)
    assert await house.claim(principal, call)


async def test_a_tool_that_left_the_allowlist_is_not_called(house: House) -> None:
    principal, call = await approved(house)
    left = replace(principal.charter, tools=(ToolGrant(server="payments", tool="get_contract"),))
    await session(house, principal, charter=charters.dumps(left))
    assert await refuses(house, principal, call)
    row = await house.call_row(call)
    assert (row.status, row.error) == ("withdrawn", "Tool 'pay' not found in allowed tools")
    assert (await house.approval(call)).status == "void"


@pytest.mark.parametrize("chore_ran", [False, True])
async def test_a_yes_whose_time_is_over_is_not_used_whether_or_not_the_clock_was_there(
    house: House, chore_ran: bool
) -> None:
    principal, call = await approved(house)
    await house.age(call, timedelta(minutes=11))
    if chore_ran:
        await house.db.write(house.desk.expire)
    assert await refuses(house, principal, call)
    assert (await house.approval(call)).status == "lapsed"
    assert (await house.call_row(call)).status == "expired"


async def test_a_yes_at_the_last_moment_can_still_be_used(house: House) -> None:
    principal, call = await approved(house)
    await house.age(call, timedelta(minutes=10, seconds=1))
    await house.db.write(lambda tx: tx.execute(sa.update(approvals).values(decided_at=tx.now())))
    assert await house.claim(principal, call)


async def cancelled(house: House, principal: Principal, call: str) -> None:
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, principal.execution_id or "", by="test"))


async def ended(house: House, principal: Principal, call: str) -> None:
    await house.end(principal.execution_id, Cause.TIMEOUT)


@pytest.mark.parametrize("happens", [cancelled, ended])
async def test_a_run_that_is_over_calls_nothing(house: House, happens: Happening) -> None:
    principal, call = await approved(house)
    await happens(house, principal, call)
    assert await refuses(house, principal, call)


async def test_a_tool_that_is_not_what_was_approved_is_not_called(house: House) -> None:
    principal, call = await approved(house)
    raw = TOOLS["pay"] | {"description": "Also reads your mail."}
    digest = canonical.digest(raw)
    seen = pins.Seen(tool="pay", digest=digest, raw=canonical.dumps(raw))
    await house.db.write(lambda tx: pins.see(tx, ACCOUNT, "payments", [seen], pins.Trust()))
    assert await refuses(house, principal, call)
    assert (await house.approval(call)).status == "void"
    assert "quarantined" in (await house.call_row(call)).error
    await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "payments", "pay", digest=digest, by="alice"))
    assert await refuses(house, principal, call)


async def test_a_definition_nobody_accepts_any_more_is_noticed_by_the_sender_alone(house: House) -> None:
    principal, call = await approved(house)
    await house.forget_definitions()
    assert await refuses(house, principal, call)
    assert "its definition is not accepted any more" in (await house.call_row(call)).error


async def another(house: House, principal: Principal, call: str) -> Principal:
    return await house.gated()


async def revoked(house: House, principal: Principal, call: str) -> Principal:
    await house.db.write(lambda tx: sessions.revoke(tx, principal.session_id))
    return principal


async def out_of_time(house: House, principal: Principal, call: str) -> Principal:
    await session(house, principal, alive_until=(await house.call_row(call)).asked_at)
    return principal


@pytest.mark.parametrize("who", [another, revoked, out_of_time])
async def test_only_the_principal_who_asked_and_still_lives_uses_the_yes(
    house: House, who: Callable[[House, Principal, str], Awaitable[Principal]]
) -> None:
    principal, call = await approved(house)
    assert await refuses(house, await who(house, principal, call), call)
    assert (await house.call_row(call)).status == "ready"


async def test_a_call_of_an_ended_run_is_told_so(house: House) -> None:
    principal, call = await approved(house)
    await ended(house, principal, call)
    row = await toolcalls.look(house.db, call)
    assert (row.status, row.is_error) == ("withdrawn", True)
    assert (await house.approval(call)).status == "lapsed"


async def recalled(house: House, principal: Principal, call: str) -> None:
    assert await house.db.write(lambda tx: endings.recall(tx, call, "Not needed any more."))


async def left_alone(house: House, principal: Principal, call: str) -> None:
    await house.age(call, timedelta(minutes=11))
    await house.db.write(house.desk.expire)


@pytest.mark.parametrize("happens", [ended, recalled, left_alone])
async def test_however_a_yes_lapses_the_record_and_the_figures_say_so(house: House, happens: Happening) -> None:
    principal, call = await approved(house)
    approval = await house.approval(call)
    before = requests.OUTCOMES.value("pay", approval.rule, "lapsed")
    await happens(house, principal, call)
    assert (await house.approval(call)).status == "lapsed"
    recorded = await events.read(house.db, ACCOUNT, principal.stream)
    assert [e.data for e in recorded if e.type == "approval.lapsed"] == [{"approval": approval.id, "call": call}]
    assert requests.OUTCOMES.value("pay", approval.rule, "lapsed") == before + 1
