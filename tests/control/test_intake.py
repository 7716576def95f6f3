"""Events in, executions out: once per delivery, with the prompt as it will be read."""

from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from control import events
from control.executions import intake
from control.executions.states import Cause
from control.tables import events as stored
from control.tables import executions
from kit.errors import Missing
from tests.control.house import ACCOUNT, PAYLOAD, House


async def test_the_prompt_is_rendered_and_what_is_missing_is_named(house: House) -> None:
    await house.apply(
        "version: 1\nname: odd\nagent: {runtime: scripted}\nprompt: 'Amount: ${{trigger_event.payload.payment}}'\n"
    )
    row = await house.row(await house.start("odd"))
    assert row.prompt == "Amount: $undefined"
    assert '"near": ' in row.unresolved


async def test_an_unknown_flow_is_missing(house: House) -> None:
    with pytest.raises(Missing, match="no flow 'nope'"):
        await house.start("nope")


async def test_fifty_deliveries_at_once_make_one_execution(house: House) -> None:
    made: set[str] = set()

    async def deliver() -> None:
        made.add(await house.start(delivery_id="msg_1", trigger="webhook"))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(deliver)
    assert len(made) == 1
    assert len(await house.db.read(sa.select(executions.c.id))) == 1


async def test_a_delivery_resent_long_after_the_end_runs_again(house: House) -> None:
    first = await house.start(delivery_id="msg_1", trigger="webhook")
    await house.db.write(lambda tx: house.lifecycle.end(tx, first, Cause.CANCELLED))
    assert await house.start(delivery_id="msg_1", trigger="webhook") == first
    ended = (await house.row(first)).ended_at - timedelta(minutes=11)
    past = sa.update(executions).values(ended_at=ended)
    await house.db.write(lambda tx: tx.execute(past))
    assert await house.start(delivery_id="msg_1", trigger="webhook") != first


async def test_a_rerun_names_what_it_repeats(house: House) -> None:
    first = await house.start()
    again = await house.db.write(lambda tx: intake.rerun(tx, ACCOUNT, first, by="test"))
    row = await house.row(again.execution_id)
    assert row.reruns == first
    assert str(PAYLOAD["amount"]) in row.prompt


async def test_a_stream_s_numbers_have_no_gap_under_concurrent_writers(house: House) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(house.event, "exe_test", number)
    found = await events.read(house.db, ACCOUNT, "exe_test")
    assert [event.seq for event in found] == list(range(1, 101))
    assert {event.data["number"] for event in found} == set(range(100))
    assert await events.verify(house.db, ACCOUNT, "exe_test") is None


async def test_a_changed_event_and_a_cut_tail_are_found(house: House) -> None:
    for number in range(5):
        await house.event("exe_test", number)
    mine = stored.c.stream == "exe_test"
    await house.db.write(lambda tx: tx.execute(sa.delete(stored).where(mine, stored.c.seq == 5)))
    broken = await events.verify(house.db, ACCOUNT, "exe_test")
    assert broken and "missing" in broken.reason
    forged = sa.update(stored).where(mine, stored.c.seq == 3).values(body=stored.c.body + " ")
    await house.db.write(lambda tx: tx.execute(forged))
    broken = await events.verify(house.db, ACCOUNT, "exe_test")
    assert broken and broken.seq == 3
