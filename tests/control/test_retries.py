"""What a flow's `retries` make of a run that ended: the next attempt, when, of what, and when there is none."""

import json
from datetime import timedelta
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import pins, requests
from control.executions import intake, lifecycle, logs, queue, retries
from control.executions.intake import Started
from control.executions.states import Cause
from control.flows import flow as flows
from control.flows import source
from control.identity.principals import Principal
from control.tables import executions
from kit import canonical
from kit.db import Database, Tx
from kit.errors import Invalid
from tests.control.house import ACCOUNT, FLOW, PAYLOAD, House

RETRIES = "retries: {attempts: 2, on: [model_error, timeout, approval_declined], after_tools: %s}\n"
READS = {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


@pytest.fixture
async def house(house: House) -> House:
    await house.apply(FLOW + RETRIES % "false")
    return house


async def fail(house: House, execution_id: str | None, cause: Cause | None = Cause.MODEL_ERROR) -> Row[Any]:
    """End an execution so; its row."""
    told: dict[str, Any] = {"message": "OpenAI API error: Rate limit exceeded", "hint": "Wait."}
    assert await house.db.write(lambda tx: house.lifecycle.end(tx, execution_id or "", cause, **told))
    return await house.row(execution_id)


async def claimed(house: House) -> Row[Any] | None:
    return await house.db.write(lambda tx: queue.claim(tx, "worker"))


async def due(house: House, execution_id: str) -> None:
    """As if a retry's time had come."""
    past = sa.update(executions).where(executions.c.id == execution_id)
    row = await house.row(execution_id)
    await house.db.write(lambda tx: tx.execute(past.values(not_before=row.not_before - timedelta(hours=1))))


async def story(house: House, execution_id: str | None) -> list[tuple[str, str]]:
    return [(line.level, line.text) for line in await logs.read(house.db, ACCOUNT, execution_id or "")]


async def told(house: House, execution_id: str | None, type_: str) -> list[dict[str, Any]]:
    return [e.data for e in await events.read(house.db, ACCOUNT, execution_id or "") if e.type == type_]


async def test_a_run_that_failed_is_made_anew_and_waits_longer_each_time(house: House) -> None:
    first = await house.start(trigger="github", about={"event": "issue"}, source_url="https://example.com/1")
    chain = [await fail(house, first)]
    for wait in (10, 20):
        row = await house.row(chain[-1].retried_by)
        assert (row.state, row.retry_of, row.budget_of, row.attempt) == ("PENDING", chain[-1].id, first, len(chain))
        assert row.not_before - chain[-1].ended_at == timedelta(seconds=wait)
        for name in ("trigger_event", "trigger_type", "source_url", "prompt", "flow_id"):
            assert getattr(row, name) == getattr(chain[0], name)
        assert (await told(house, row.id, "execution.created"))[0]["retry_of"] == chain[-1].id
        chain.append(await fail(house, row.id))
    assert [line for row in chain[:2] for line in await story(house, row.id)] == [
        ("info", "Retrying in 10 s (attempt 2 of 3)"),
        ("info", "Retrying in 20 s (attempt 3 of 3)"),
    ]


async def test_the_last_attempt_keeps_its_cause_and_says_how_many_there_were(house: House) -> None:
    row = await fail(house, await house.start())
    for _ in range(2):
        row = await fail(house, row.retried_by)
    assert (row.state, row.cause, row.retried_by, row.attempt) == ("FAILED", "model_error", None, 2)
    assert row.message == "OpenAI API error: Rate limit exceeded\nThis was attempt 3 of 3."
    assert await told(house, row.id, "retry.exhausted") == [{"attempts": 3}]
    assert len(await house.db.read(sa.select(executions.c.id))) == 3


async def test_a_retry_is_not_claimed_before_its_time(house: House) -> None:
    row = await fail(house, await house.start())
    assert await claimed(house) is None
    await due(house, row.retried_by)
    taken = await claimed(house)
    assert taken and taken.id == row.retried_by


@pytest.mark.parametrize("cause", [None, Cause.AGENT_ERROR, Cause.CANCELLED])
async def test_other_ends_are_final(house: House, cause: Cause | None) -> None:
    execution_id = await house.start()
    assert await claimed(house)
    assert (await fail(house, execution_id, cause)).retried_by is None


async def test_a_timeout_is_retried_where_the_flow_says_so(house: House) -> None:
    assert await house.start() and await claimed(house)
    [row] = await house.db.read(sa.select(executions))
    row = await fail(house, row.id, Cause.TIMEOUT)
    assert (row.state, (await house.row(row.retried_by)).state) == ("TIMEOUT", "PENDING")


async def test_what_a_person_cancelled_is_not_retried_whatever_it_ends_with(house: House) -> None:
    execution_id = await house.start()
    assert await claimed(house)
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, execution_id, by="test"))
    assert (await fail(house, execution_id)).retried_by is None


async def test_a_cancelled_retry_is_the_end_of_it(house: House) -> None:
    retry = (await fail(house, await house.start())).retried_by
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, retry, by="test"))
    await house.db.write(lambda tx: queue.withdraw(tx, house.lifecycle))
    row = await house.row(retry)
    assert (row.state, row.retried_by) == ("CANCELLED", None)


# tools ----------------------------------------------------------------------------------------------------------------


async def called(house: House, tool: str, *, sent: bool = True) -> Principal:
    """A running execution whose agent asked for a tool that needs nobody."""
    principal = await house.running()
    call = await house.call(principal, tool, amount=1)
    assert not sent or await house.claim(principal, call)
    return principal


async def test_a_tool_that_may_write_was_sent_and_nothing_is_repeated(house: House) -> None:
    principal = await called(house, "pay")
    row = await fail(house, principal.execution_id)
    why = "tool 'pay' was called, and it may have changed something (retries.after_tools is false)"
    assert row.retried_by is None
    assert await told(house, row.id, "retry.refused") == [{"reason": why}]
    assert ("warning", f"Not retried: {why}.") in await story(house, row.id)


async def test_after_tools_repeats_all_the_same(house: House) -> None:
    await house.apply(FLOW + RETRIES % "true")
    assert (await fail(house, (await called(house, "pay")).execution_id)).retried_by is not None


async def test_a_call_that_was_never_sent_stands_in_no_way(house: House) -> None:
    assert (await fail(house, (await called(house, "pay", sent=False)).execution_id)).retried_by is not None


@pytest.mark.parametrize(
    ("hint", "retried"), [(True, True), (False, False), ("true", False), (1, False), (None, False)]
)
async def test_only_a_definition_that_says_so_makes_a_tool_one_that_reads(
    house: House, hint: object, retried: bool
) -> None:
    raw = READS | {"name": "pay", "annotations": {"readOnlyHint": hint}}
    digest = canonical.digest(raw)

    def see(tx: Tx) -> None:
        seen = [pins.Seen(tool="pay", digest=digest, raw=canonical.dumps(raw))]
        pins.see(tx, ACCOUNT, "payments", seen, pins.Trust(pinned={"pay": digest}))

    await house.db.write(see)
    principal = await house.running()
    call = await house.call(principal, "pay", amount=1)
    its = sa.text("UPDATE tool_calls SET definition_digest = :digest WHERE id = :id")
    await house.db.write(lambda tx: tx.execute(its, {"digest": digest, "id": call}))
    assert await house.claim(principal, call)
    assert ((await fail(house, principal.execution_id)).retried_by is not None) is retried


# money, people, deliveries --------------------------------------------------------------------------------------------


async def test_whoever_started_the_first_is_behind_its_retries_too(house: House) -> None:
    """Else four eyes could be had by waiting for a failure."""
    first = await house.start(by="alice@example.com")
    retry = (await fail(house, first)).retried_by
    principal = Principal(account_id=ACCOUNT, session_id="", execution_id=retry, name="", charter=None)  # type: ignore[arg-type]
    assert await house.db.write(lambda tx: requests.requester(tx, principal)) == "alice@example.com"


async def deliver(db: Database, delivery_id: str = "msg_1") -> Started:
    given: dict[str, Any] = {"trigger": "webhook", "by": "webhook", "delivery_id": delivery_id}
    return await db.write(lambda tx: intake.start(tx, ACCOUNT, "process-payment", PAYLOAD, **given))


async def test_a_delivery_lives_while_a_retry_of_its_execution_does(house: House, twin: Database) -> None:
    first = await deliver(house.db)
    row = await fail(house, first.execution_id)
    long_ago = sa.update(executions).where(executions.c.id == row.id).values(ended_at=row.ended_at - timedelta(hours=1))
    await house.db.write(lambda tx: tx.execute(long_ago))
    assert await deliver(twin) == Started(execution_id=first.execution_id, repeated=True)
    last = await fail(house, row.retried_by, Cause.AGENT_ERROR)
    assert await deliver(twin) == Started(execution_id=first.execution_id, repeated=True)
    past = sa.update(executions).where(executions.c.id == last.id).values(ended_at=last.ended_at - timedelta(hours=1))
    await house.db.write(lambda tx: tx.execute(past))
    again = await deliver(twin)
    assert not again.repeated
    assert (await house.row(again.execution_id)).resends == first.execution_id


# the flow -------------------------------------------------------------------------------------------------------------


async def test_the_newest_version_runs_and_the_old_one_decides(house: House) -> None:
    execution_id = await house.start()
    await house.apply(FLOW.replace("prompt: Pay", "prompt: Send"))  # without retries
    row = await fail(house, execution_id)
    retry = await house.row(row.retried_by)
    assert (row.flow_version + 1, retry.prompt) == (retry.flow_version, "Send 1500 to contractor@example.com")
    assert (await fail(house, retry.id)).retried_by is None


async def test_an_event_that_the_newest_version_refuses_is_not_retried_and_that_is_said(house: House) -> None:
    execution_id = await house.start()
    await house.apply(FLOW.replace("payload.amount", "payload.sum") + "on_undefined: fail\n")
    row = await fail(house, execution_id)
    assert (row.state, row.retried_by) == ("FAILED", None)
    assert await story(house, execution_id) == [("warning", "Not retried: The event has no trigger_event.payload.sum.")]


def test_a_flow_may_name_every_cause_but_those_that_nothing_can_be_repeated_for() -> None:
    assert set(get_args(flows.Cause)) == set(Cause) - {Cause.CANCELLED, Cause.RETRIES_EXHAUSTED}


@pytest.mark.parametrize("on", ["cancelled", "retries_exhausted", "bad_luck"])
def test_a_cause_that_is_none_is_refused_by_line(on: str) -> None:
    with pytest.raises(Invalid, match=r"line \d+, retries\.on\.0"):
        source.read(FLOW + f"retries: {{attempts: 1, on: [{on}]}}\n")


def test_without_causes_it_is_the_model_s_and_the_runner_s_faults() -> None:
    assert json.loads(source.read(FLOW + "retries: {attempts: 1}\n").flow.model_dump_json())["retries"] == {
        "attempts": 1,
        "on": ["model_error", "runner_lost"],
        "after_tools": False,
    }


@pytest.mark.parametrize("attempt", range(11))
def test_a_wait_doubles_within_its_spread_and_is_never_above_ten_minutes(attempt: int) -> None:
    middle = min(600.0, 10.0 * 2**attempt)
    for chance in (0.0, 0.3, 1.0):
        assert middle * 0.8 <= retries.wait_s(attempt, chance) <= min(600.0, middle * 1.2)
