"""A flow that keeps less than its account: each class goes when it is due, and nothing of other flows."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from control.executions import logs
from control.flows import source
from control.identity.principals import Principal
from control.retention import deletion, of_flows
from control.retention.rules import Rules
from control.tables import executions
from kit.errors import Invalid
from tests.control.house import FLOW, House
from tests.control.test_retention import chunks_of, run_of, told, whole

SHORT = "\nretention: {logs_days: 2, payloads_days: 5, results_days: 5}\n"


async def short_run(house: House, **more: int) -> tuple[Principal, str]:
    """An execution of a flow that keeps little, which ended just now, and its call."""
    await house.apply(FLOW + SHORT)
    principal, call = await run_of(house, days=0, **more)
    now = (await house.row(principal.execution_id or "")).due_at - timedelta(days=2)
    mine = executions.c.id == principal.execution_id
    await house.db.write(lambda tx: tx.execute(sa.update(executions).where(mine).values(ended_at=now)))
    return principal, call


async def due(house: House, principal: Principal, *, days: float) -> int:
    """What goes so many days after the end."""
    row = await house.row(principal.execution_id or "")
    return await of_flows.delete_due(house.db, house.blobs, row.ended_at + timedelta(days=days))


async def test_each_class_goes_when_its_flow_says_and_what_is_gone_is_told(house: House) -> None:
    other, _ = await run_of(house, days=0)
    principal, call = await short_run(house, amount=1700)
    id_ = principal.execution_id or ""
    await house.blobs.put(logs.file_of(id_), b"raw")
    first = (await house.row(id_)).due_at

    assert await due(house, principal, days=1.9) == 0
    assert await due(house, principal, days=2.1) == 1
    assert (await chunks_of(house, principal), await house.blobs.get(logs.file_of(id_))) == (0, None)
    assert (await house.row(id_)).due_at - first == timedelta(days=3)
    assert (await house.call_row(call)).args

    assert await due(house, principal, days=6) == 2
    row = await house.row(id_)
    assert (row.prompt, row.due_at, (await house.call_row(call)).args) == ("", None, "")
    assert [one["why"] for one in await told(house, id_)] == [
        "retention.logs_days = 2 of the flow process-payment",
        "retention.payloads_days = 5 of the flow process-payment",
        "retention.results_days = 5 of the flow process-payment",
    ]
    assert await whole(house, id_)
    assert (await chunks_of(house, other), await told(house, other.execution_id)) == (3, [])
    assert await due(house, principal, days=600) == 0


async def test_what_the_account_took_before_is_not_taken_twice(house: House) -> None:
    principal, _ = await short_run(house)
    later = datetime.now(UTC) + timedelta(days=3)
    assert await deletion.delete_due(house.db, house.blobs, Rules(logs_days=1), later) == 1
    assert await due(house, principal, days=2.1) == 0
    assert len(await told(house, principal.execution_id)) == 1


async def test_a_long_log_goes_whole_though_a_unit_takes_little(house: House) -> None:
    principal, _ = await short_run(house, chunks=deletion.ROWS + 50)
    assert await due(house, principal, days=2.1) == 1
    assert await chunks_of(house, principal) == 0


@pytest.mark.parametrize("days", ["0", "-1", "36501", "soon", "1.5"])
def test_days_that_are_none_are_refused_by_name(days: str) -> None:
    with pytest.raises(Invalid, match="retention"):
        source.read(f"{FLOW}\nretention: {{logs_days: {days}}}\n")
