"""Every way to end a run that isn't the agent's own, from the wish to the stopped container."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from control import events
from control.approvals import requests
from control.executions import lifecycle, queue
from control.identity import sessions
from control.identity.principals import Principal
from control.tables import executions
from kit.db import Tx
from tests.control.house import ACCOUNT
from tests.runner.station import FLOW, Station, open_station

UNGATED = FLOW.replace(", approval: {group: finance}", "")


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path) as opened:
        opened.worker()
        yield opened


async def started(station: Station, flow: str = FLOW) -> Principal:
    """An execution whose agent works, as its agent's identity at the tool door."""
    await station.house.apply(flow)
    execution_id = await station.house.start()
    await station.agent(execution_id)
    row = await station.house.row(execution_id)
    charter = await station.db.write(lambda tx: requests.charter(tx, row.session_id))
    return Principal(
        account_id=ACCOUNT, session_id=row.session_id, execution_id=execution_id, name="flow", charter=charter
    )


async def agent_ends(station: Station, principal: Principal, code: int = 0) -> None:
    """The agent has used its tools and its model, and ends."""
    await station.db.write(lambda tx: sessions.mark_used(tx, principal.session_id, tools=True, model=True))
    agent = await station.agent(principal.execution_id or "")
    agent.say(f"PRELOOP_AGENT_EXEC_END {code}")
    agent.end(code)


async def over(station: Station, principal: Principal) -> tuple[str, str | None, bool]:
    """State and cause at the end, and whether the container was stopped and forgotten."""
    id_ = principal.execution_id or ""
    row = await station.row_when(id_, lambda row: row.cleaned_at is not None, "the end and the container's removal")
    return row.state, row.cause, station.asked(id_)[2] == "stop" and station.asked(id_)[-2:] == ["remove", "stop"]


async def sent(station: Station, principal: Principal) -> str:
    call = await station.house.call(principal)
    assert await station.house.claim(principal, call)
    return call


async def fails(station: Station, call: str) -> None:
    await station.db.write(
        lambda tx: station.house.desk.settle(tx, call, result=None, is_error=True, error="card refused")
    )


async def test_cancel_stops_the_container_at_once_and_withdraws_what_was_asked(station: Station) -> None:
    principal = await started(station)
    call = await station.house.call(principal)
    await station.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, principal.execution_id or "", by="test"))
    assert await over(station, principal) == ("CANCELLED", "cancelled", True)
    assert (await station.house.approval(call)).status == "withdrawn"
    assert (await station.house.call_row(call)).status == "withdrawn"
    row = await station.house.row(principal.execution_id)
    assert (row.open_approvals, row.waiting_since) == (0, None)


async def test_a_result_after_the_end_is_kept_and_marked_late(station: Station) -> None:
    principal = await started(station, UNGATED)
    early, late = await sent(station, principal), await station.house.call(principal, amount=2)
    assert await station.house.claim(principal, late)
    await station.house.settle(early, paid=True)
    await station.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, principal.execution_id or "", by="test"))
    assert (await over(station, principal))[0] == "CANCELLED"
    assert await station.house.settle(late, paid=True)
    rows = [await station.house.call_row(call) for call in (early, late)]
    assert [(row.status, row.late) for row in rows] == [("succeeded", False), ("succeeded", True)]
    assert rows[1].result == '{"paid":true}'


@pytest.mark.parametrize(("column", "told"), [("timeout_s", "30 minutes"), ("wall_s", "1 hour")])
async def test_a_time_limit_ends_in_timeout_and_is_named(station: Station, column: str, told: str) -> None:
    principal = await started(station)
    row, mine = await station.house.row(principal.execution_id), executions.c.id == principal.execution_id
    assert await station.db.write(queue.overdue) == 0
    limits = {"timeout_s": 1800, "wall_s": 86400} if column == "timeout_s" else {"timeout_s": 86400, "wall_s": 3600}
    past = limits | {"claimed_at": row.claimed_at - timedelta(seconds=limits[column])}
    await station.db.write(lambda tx: tx.execute(sa.update(executions).where(mine).values(past)))
    assert await station.db.write(queue.overdue) == 1
    assert await over(station, principal) == ("TIMEOUT", "timeout", True)
    assert f"({told})" in (await station.house.row(principal.execution_id)).message


async def test_only_the_wall_clock_runs_while_people_are_asked(station: Station) -> None:
    principal = await started(station)
    await station.house.call(principal)
    hour, mine = timedelta(hours=1), executions.c.id == principal.execution_id
    row = await station.house.row(principal.execution_id)
    past = {"claimed_at": row.claimed_at - hour, "waiting_since": row.waiting_since - hour}
    await station.db.write(lambda tx: tx.execute(sa.update(executions).where(mine).values(past)))
    assert await station.db.write(queue.overdue) == 0
    await station.db.write(lambda tx: tx.execute(sa.update(executions).where(mine).values(wall_s=3600)))
    assert await station.db.write(queue.overdue) == 1
    assert await over(station, principal) == ("TIMEOUT", "timeout", True)
    assert (await station.house.row(principal.execution_id)).waited_ms >= 3_600_000


async def test_under_fail_the_first_tool_error_ends_the_run(station: Station) -> None:
    principal = await started(station, UNGATED + "on_tool_error: fail\n")
    await fails(station, await sent(station, principal))
    assert await over(station, principal) == ("FAILED", "tool_failed", True)


@pytest.mark.parametrize(
    ("policy", "again", "verdict"),
    [
        ("report", False, ("FAILED", "tool_failed")),
        ("report", True, ("SUCCEEDED", None)),
        ("ignore", False, ("SUCCEEDED", None)),
    ],
)
async def test_otherwise_the_agent_goes_on_after_a_tool_error(
    station: Station, policy: str, again: bool, verdict: tuple[str, str | None]
) -> None:
    principal = await started(station, UNGATED + f"on_tool_error: {policy}\n")
    call = await sent(station, principal)
    await fails(station, call)
    await station.house.deliver(call)
    assert (await station.house.row(principal.execution_id)).stop_intent is None
    if again:
        await station.house.settle(await sent(station, principal), paid=True)
    await agent_ends(station, principal)
    assert (await over(station, principal))[:2] == verdict


async def test_a_decline_ends_the_run_in_the_deciding_unit(station: Station) -> None:
    principal = await started(station)
    first, other = [await station.house.call(principal, amount=amount) for amount in (1, 2)]
    await station.house.decide(first, verdict="declined", reason="too much")
    row = await station.house.row(principal.execution_id)
    assert (row.state, row.cause, row.open_approvals) == ("FAILED", "approval_declined", 0)
    assert (await station.house.approval(other)).status == "withdrawn"
    assert (await over(station, principal))[0] == "FAILED"


async def test_under_continue_the_agent_reads_the_refusal_and_goes_on(station: Station) -> None:
    principal = await started(station, FLOW + "on_decline: continue\n")
    call = await station.house.call(principal)
    await station.house.decide(call, verdict="declined", reason="too much")
    assert (await station.house.row(principal.execution_id)).state == "RUNNING"
    assert "too much" in (await station.house.call_row(call)).error
    await agent_ends(station, principal)
    assert (await over(station, principal))[:2] == ("SUCCEEDED", None)


async def test_an_expired_request_ends_the_run(station: Station) -> None:
    principal = await started(station)
    call = await station.house.call(principal)
    await station.house.age(call, timedelta(days=2))
    await station.db.write(station.house.desk.expire)
    assert (await over(station, principal))[:2] == ("FAILED", "approval_expired")


@pytest.mark.parametrize(
    ("code", "oom_killed", "marked", "verdict"),
    [
        (137, True, True, ("FAILED", "out_of_memory")),
        (137, True, False, ("FAILED", "out_of_memory")),
        (137, False, True, ("FAILED", "killed")),
        (0, True, True, ("SUCCEEDED", None)),
        (0, True, False, ("SUCCEEDED", None)),
        (3, True, True, ("FAILED", "agent_error")),
    ],
)
async def test_a_lack_of_memory_explains_the_end_of_an_agent_that_was_killed_and_of_no_other(
    station: Station, code: int, oom_killed: bool, marked: bool, verdict: tuple[str, str | None]
) -> None:
    """The entry script tells the code, and the engine, a moment later, that memory was short."""
    principal = await started(station)
    id_ = principal.execution_id or ""
    await station.db.write(lambda tx: sessions.mark_used(tx, principal.session_id, tools=True, model=True))
    agent = await station.agent(id_)
    if marked:
        agent.say(f"PRELOOP_AGENT_EXEC_END {code}")
        agent.say("The changes are written down.")
        await station.stored(id_, "The changes are written down.")
    agent.end(code, oom_killed=oom_killed)
    row = await station.ended(id_)
    assert (row.state, row.cause, row.exit_code) == (*verdict, code)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (("model.requested", "model.answered"), ("SUCCEEDED", None)),
        (("model.requested",), ("SUCCEEDED", None)),
        ((), ("FAILED", "agent_unverified")),
    ],
)
async def test_a_model_call_that_only_the_record_has_was_made(
    station: Station, told: tuple[str, ...], verdict: tuple[str, str | None]
) -> None:
    """The plane was killed before the session was marked."""
    principal = await started(station)
    id_ = principal.execution_id or ""

    def called(tx: Tx) -> None:
        sessions.mark_used(tx, principal.session_id, tools=True, model=False)
        for type_ in told:
            events.append(tx, ACCOUNT, id_, type_, call="mdl_1", alias="default", provider="p", model="m")

    await station.db.write(called)
    agent = await station.agent(id_)
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    agent.end(0)
    row = await station.ended(id_)
    assert (row.state, row.cause) == verdict
