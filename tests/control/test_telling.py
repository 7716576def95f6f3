"""Who was told of a request: the log says it when it is true, a failed attempt at once, and nobody waits in vain."""

from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from control import events
from control.approvals import endings
from control.approvals.notices import Failure
from control.approvals.telling import QUICK
from control.executions import logs
from control.identity.principals import Principal
from control.tables import outbox
from tests.control.house import ACCOUNT, House

NOBODY = Failure(reason="connection refused", absent=True)
LATER = Failure(reason="answered 503")


async def attempt(house: House, approver: str, failure: Failure | None, number: int = 1) -> None:
    """One more attempt of an approver's first notice went like this."""
    first = sa.select(outbox).where(outbox.c.target == approver).order_by(outbox.c.id).limit(1)
    row = (await house.db.read(first))[0]
    tried = sa.update(outbox).where(outbox.c.id == row.id).values(attempts=number).returning(outbox)
    taken = await house.db.write(lambda tx: tx.execute(tried).one())
    await house.db.write(partial(house.desk.noted, sent=taken, failure=failure))


async def log_of(house: House, execution_id: str | None) -> list[str]:
    return [line.text for line in await logs.read(house.db, ACCOUNT, execution_id or "")]


async def run_of(house: House, principal: Principal) -> tuple[str, str | None]:
    row = await house.row(principal.execution_id)
    return row.state, row.cause


async def test_sent_to_is_written_when_it_was_sent_and_once_for_each_person(house: House) -> None:
    principal = await house.gated()
    await house.call(principal)
    assert not [text for text in await log_of(house, principal.execution_id) if "sent to" in text]
    for _ in range(2):
        await attempt(house, "alice", None)
    await attempt(house, "bob", None)
    told = [text for text in await log_of(house, principal.execution_id) if "sent to" in text]
    assert told == ["Approval request sent to: Alice", "Approval request sent to: Bob"]


async def test_every_failed_attempt_is_in_the_log_and_in_the_record_at_once(house: House) -> None:
    principal = await house.gated()
    await house.call(principal)
    await attempt(house, "alice", NOBODY)
    [line] = [text for text in await log_of(house, principal.execution_id) if "failed" in text]
    assert line == "Notice to Alice over console failed, attempt 1, trying again: connection refused"
    [event] = [e for e in await events.read(house.db, ACCOUNT, principal.stream) if e.type == "notice.failed"]
    assert (event.data["attempt"], event.data["final"], event.data["approver"]) == (1, False, "alice")


async def test_where_nobody_answers_a_few_attempts_are_enough(house: House) -> None:
    principal = await house.gated()
    await house.call(principal)
    for number in range(1, QUICK):
        for approver in ("alice", "bob"):
            await attempt(house, approver, NOBODY, number)
    assert await run_of(house, principal) == ("RUNNING", None)
    await attempt(house, "alice", NOBODY, QUICK)
    assert await run_of(house, principal) == ("RUNNING", None)  # bob's channel may still answer
    await attempt(house, "bob", NOBODY, QUICK)
    assert await run_of(house, principal) == ("FAILED", "approver_unreachable")
    assert (await house.row(principal.execution_id)).hint == endings.HINT


async def test_once_somebody_knows_the_others_are_tried_for_longer(house: House) -> None:
    principal = await house.gated()
    await house.call(principal)
    await attempt(house, "bob", None)
    await attempt(house, "alice", NOBODY, QUICK + 2)
    rows = await house.db.read(sa.select(outbox.c.target, outbox.c.status))
    assert {row.target: row.status for row in rows} == {"alice": "waiting", "bob": "sent"}


@pytest.mark.parametrize(("timeout_s", "ends"), [(30, True), (600, False)])
async def test_a_server_that_says_later_gets_a_part_of_the_time(house: House, timeout_s: int, ends: bool) -> None:
    principal = await house.gated(timeout_s=timeout_s)
    await house.call(principal)
    for approver in ("alice", "bob"):
        await attempt(house, approver, LATER, QUICK + 1)
    cause = (await run_of(house, principal))[1]
    assert cause == ("approver_unreachable" if ends else None)


async def test_the_next_group_is_asked_within_seconds(house: House) -> None:
    call = await house.call(await house.gated(escalate="directors"))
    for approver in ("alice", "bob"):
        await attempt(house, approver, NOBODY, QUICK)
    await attempt(house, "carol", None)
    await house.decide(call, approver="carol")
    assert (await house.call_row(call)).status == "ready"


@pytest.mark.parametrize(
    ("alice", "cause"), [(NOBODY, "approver_unreachable"), (LATER, "approver_unreachable"), (None, "approval_expired")]
)
async def test_at_the_end_of_the_time_the_cause_says_whether_anybody_knew(
    house: House, alice: Failure | None, cause: str
) -> None:
    principal = await house.gated()
    call = await house.call(principal)
    await attempt(house, "alice", alice)
    await house.age(call, timedelta(minutes=11))
    await house.db.write(house.desk.expire)
    assert await run_of(house, principal) == ("FAILED", cause)
    assert ((await house.row(principal.execution_id)).hint == endings.HINT) == (cause == "approver_unreachable")
