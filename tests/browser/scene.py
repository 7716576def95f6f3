"""Rows to look at: runs in every state, with calls, approvals, logs and costs, made by the domain's own units."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from control.executions import logs
from control.executions.states import Cause
from control.identity.principals import Principal
from control.tables import executions, tool_calls
from kit.clock import rfc3339
from kit.db import Tx
from tests.control.house import ACCOUNT
from tests.web.world import World

STORY = (
    ("setup", "info", "Preparing the work folder"),
    ("agent", "info", "Starting task: Process payment for contractor"),
    ("agent", "info", "Recipient: contractor@example.com"),
    ("agent", "warning", "The contract has no end date; using the invoice's"),
    ("agent", "info", "Calling pay tool with arguments..."),
)
PAYMENT: dict[str, Any] = {
    "recipient": "contractor@example.com",
    "amount": 1500,
    "currency": "USD",
    "contract_id": "CONTRACT-2025-001",
}


@dataclass(kw_only=True)
class Scene:
    """Ids by what they show."""

    runs: dict[str, str]
    running: Principal
    approval: str
    call: str


async def write_log(world: World, execution_id: str, lines: tuple[tuple[str, str, str], ...] = STORY) -> None:
    def unit(tx: Tx) -> None:
        at = rfc3339(tx.now())
        logs.append(tx, ACCOUNT, execution_id, [(at, source, level, text) for source, level, text in lines])

    await world.house.db.write(unit)


async def begin(world: World) -> Principal:
    principal = await world.house.running()
    assert principal.execution_id
    await write_log(world, principal.execution_id)
    await world.spent(principal.execution_id)
    return principal


async def end(world: World, principal: Principal, cause: Cause | None, message: str = "", hint: str = "") -> str:
    id_ = principal.execution_id or ""
    await world.house.db.write(lambda tx: world.house.lifecycle.end(tx, id_, cause, message=message, hint=hint))
    return id_


async def set_scene(world: World) -> Scene:
    runs: dict[str, str] = {}
    house = world.house

    done = await begin(world)
    paid = await house.call(done, **PAYMENT)
    await house.decide(paid, approver="alice", reason="matches the contract")
    await house.claim(done, paid)
    await house.settle(paid, transaction_id="tx_abc123", status="completed")
    runs["SUCCEEDED"] = await end(world, done, None)

    failed = await begin(world)
    missed = await house.call(failed, "get_contract", id="CONTRACT-404")
    await house.claim(failed, missed)
    error = "no contract CONTRACT-404"
    await house.db.write(lambda tx: house.desk.settle(tx, missed, result=None, is_error=True, error=error))
    message, hint = f"Tool 'get_contract' failed with error: {error}", "Look at the arguments of the failed call."
    runs["FAILED"] = await end(world, failed, Cause.TOOL_FAILED, message, hint)

    late = await begin(world)
    runs["TIMEOUT"] = await end(world, late, Cause.TIMEOUT, "Execution exceeded maximum time limit (30 minutes)")
    stopped = await begin(world)
    runs["CANCELLED"] = await end(world, stopped, Cause.CANCELLED, "Cancelled.")

    waiting = await begin(world)
    call = await house.call(waiting, **PAYMENT, api_key="sk-very-secret", note="Rechnung \u202egnp.exe\u202c ✓")
    await house.db.write(lambda tx: _justify(tx, call))
    runs["WAITING_FOR_APPROVAL"] = waiting.execution_id or ""
    running = await begin(world)
    runs["RUNNING"] = running.execution_id or ""
    runs["PENDING"] = await house.start()
    await world.house.db.write(lambda tx: _age(tx, runs))
    return Scene(runs=runs, running=running, call=call, approval=(await house.approval(call)).id)


def _justify(tx: Tx, call_id: str) -> None:
    words = "The invoice is due today and the contract allows up to 2,000 USD. <b>Please approve</b> quickly."
    tx.execute(sa.update(tool_calls).where(tool_calls.c.id == call_id).values(justification=words))


def _age(tx: Tx, runs: dict[str, str]) -> None:
    """Give the finished runs a past, so that durations differ."""
    for minutes, state in enumerate(("SUCCEEDED", "FAILED", "TIMEOUT", "CANCELLED"), start=1):
        mine = sa.update(executions).where(executions.c.id == runs[state])
        began = tx.now() - timedelta(minutes=minutes * 4)
        tx.execute(mine.values(created_at=began, claimed_at=began + timedelta(seconds=3)))
