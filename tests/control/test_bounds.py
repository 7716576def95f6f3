"""How often people are asked, what they are not asked again, and what nobody can be asked."""

from datetime import timedelta
from functools import partial

import sqlalchemy as sa

from control import events
from control.approvals import requests
from control.approvals.notices import Failure
from control.executions import toolcalls
from control.tables import approvals, outbox
from tests.control.house import ACCOUNT, House


async def test_the_eleventh_open_request_is_refused_and_a_decision_makes_room(house: House) -> None:
    principal = await house.gated()
    calls = [await house.call(principal, amount=1000 + n) for n in range(requests.MOST_OPEN + 1)]
    refused = await house.call_row(calls[-1])
    assert (refused.status, "nobody was asked" in refused.error) == ("denied", True)
    assert refused.error.endswith("when some are decided.")
    await house.decide(calls[0])
    assert (await house.call_row(await house.call(principal, amount=5000))).status == "waiting"


async def test_thirty_requests_an_hour_are_enough(house: House) -> None:
    principal = await house.gated()
    for n in range(requests.MOST_HOURLY):
        await house.decide(await house.call(principal, amount=1000 + n))
    refused = await house.call_row(await house.call(principal, amount=9000))
    assert (refused.status, "within the hour" in refused.error) == ("denied", True)
    assert refused.error.endswith("before it is over.")
    hour_ago = sa.update(approvals).values(asked_at=refused.asked_at - timedelta(hours=1))
    await house.db.write(lambda tx: tx.execute(hour_ago))
    assert (await house.call_row(await house.call(principal, amount=9001))).status == "waiting"


async def test_arguments_nobody_could_look_at_are_asked_of_nobody(house: House) -> None:
    principal = await house.gated()
    for args in ({"text": "x" * requests.MOST_BYTES}, {"many": list(range(requests.MOST_ROWS + 1))}):
        row = await house.call_row(await house.call(principal, **args))
        assert (row.status, "more than a person can look at" in row.error) == ("denied", True)
    assert not await house.db.read(sa.select(approvals))


async def test_what_was_declined_is_answered_from_the_record(house: House) -> None:
    principal = await house.gated(on_decline="continue")
    first = await house.call(principal)
    await house.decide(first, verdict="declined", reason="over budget")
    await house.deliver(first)
    again = await house.call(principal)
    rows = [await house.call_row(first), await house.call_row(again)]
    assert first != again
    assert [row.status for row in rows] == ["declined", "declined"]
    assert rows[0].error == rows[1].error
    assert len(await house.db.read(sa.select(approvals))) == 1
    assert (await house.call_row(await house.call(principal, amount=1))).status == "waiting"


async def test_a_group_nobody_is_in_ends_the_run_at_once(house: House) -> None:
    principal = await house.gated(group="empty", on_decline="continue")
    call = await house.call(principal)
    row = await house.row(principal.execution_id)
    assert (row.state, row.cause) == ("FAILED", "approver_unreachable")
    assert "group 'empty' has no members" in row.message
    assert "Nobody could be reached" in (await house.call_row(call)).error


async def fail_notices(house: House, *, final: bool = True, only: str | None = None) -> None:
    """What the chore does when no channel takes a notice."""
    failure = Failure(reason="no such channel", final=final)
    whose = outbox.c.target == only if only else sa.true()
    for row in await house.db.read(sa.select(outbox).where(outbox.c.status == "waiting", whose)):
        await house.db.write(partial(house.desk.noted, sent=row, failure=failure))


async def test_when_no_notice_arrived_the_run_ends_and_says_so(house: House) -> None:
    principal = await house.gated()
    call = await house.call(principal)
    await fail_notices(house, final=False)
    assert (await house.row(principal.execution_id)).state == "RUNNING"
    await fail_notices(house)
    row = await house.row(principal.execution_id)
    assert (row.state, row.cause, row.open_approvals) == ("FAILED", "approver_unreachable", 0)
    assert (await house.approval(call)).status == "withdrawn"
    assert "Nobody could be reached" in (await house.call_row(call)).error


async def test_one_notice_that_arrived_is_enough(house: House) -> None:
    principal = await house.gated()
    await house.call(principal)
    first = (await house.db.read(sa.select(outbox).order_by(outbox.c.id)))[0]
    await house.db.write(lambda tx: house.desk.noted(tx, first, None))
    await fail_notices(house)
    assert (await house.row(principal.execution_id)).state == "RUNNING"


async def test_the_next_group_is_asked_before_anybody_gives_up(house: House) -> None:
    principal = await house.gated(escalate="directors")
    call = await house.call(principal)
    await fail_notices(house)
    assert (await house.row(principal.execution_id)).state == "RUNNING"
    await house.decide(call, approver="carol")
    assert (await house.call_row(call)).status == "ready"


async def test_a_yes_that_nobody_used_lapses_also_for_enrolled_agents(house: House) -> None:
    run = await house.gated()
    for principal in (run, await house.enroll(run)):
        call = await house.call(principal)
        await house.decide(call)
        await house.db.write(house.desk.expire)
        assert (await house.call_row(call)).status == "ready"
        await house.age(call, timedelta(minutes=11))
        await house.db.write(house.desk.expire)
        assert (await house.approval(call)).status == "lapsed"
        assert (await house.call_row(call)).status == "expired"
        assert not await house.claim(principal, call)
    assert (await house.row(run.execution_id)).state == "RUNNING"


async def test_every_end_of_a_call_has_a_receipt_that_the_chain_confirms(house: House) -> None:
    principal = await house.gated(on_decline="continue")
    paid, refused = await house.call(principal), await house.call(principal, amount=2)
    await house.decide(paid)
    await house.claim(principal, paid)
    assert await house.settle(paid) == (await house.call_row(paid)).receipt_seq
    await house.decide(refused, verdict="declined", reason="no")
    chain = {event.seq: event for event in await events.read(house.db, ACCOUNT, principal.stream)}
    for call, kind in ((paid, "tool.settled"), (refused, "tool.closed")):
        receipt = toolcalls.receipt((await toolcalls.look(house.db, call))._asdict())
        assert receipt
        event = chain[receipt["seq"]]
        assert (event.type, event.data["call"], event.hash) == (kind, call, receipt["hash"])
