"""Events in, executions out: once per delivery, with the prompt as it will be read."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from control import events
from control.executions import intake
from control.executions.intake import Started
from control.executions.states import Cause
from control.tables import events as stored
from control.tables import executions
from kit.db import Database
from kit.errors import Conflict, Invalid, Missing, Throttled
from tests.control.house import ACCOUNT, PAYLOAD, House


async def test_the_prompt_is_rendered_and_what_is_missing_is_named(house: House) -> None:
    await house.apply(
        "version: 1\nname: odd\nagent: {runtime: scripted}\nprompt: 'Amount: ${{trigger_event.payload.amounts}}'\n"
    )
    row = await house.row(await house.start("odd"))
    assert row.prompt == "Amount: $undefined"
    assert json.loads(row.unresolved) == [{"name": "trigger_event.payload.amounts", "hint": "payload has `amount`"}]


async def test_a_flow_that_wants_every_variable_refuses_an_event_without_one(house: House) -> None:
    source = "version: 1\nname: odd\nagent: {runtime: scripted}\non_undefined: fail\n"
    source += "prompt: '{{trigger_event.payload.%s}}'\n"
    await house.apply(source % "payee")
    with pytest.raises(Invalid, match=r"The event has no trigger_event\.payload\.payee") as caught:
        await house.start("odd")
    assert (caught.value.code, caught.value.hint) == ("prompt_undefined", "Here payload has `amount`, `recipient`.")
    assert await house.db.read(sa.select(executions)) == []
    await house.apply(source % "amount")
    assert (await house.row(await house.start("odd"))).prompt == "1500"


async def test_an_unknown_flow_is_missing(house: House) -> None:
    with pytest.raises(Missing, match="no flow 'nope'"):
        await house.start("nope")


async def deliver(db: Database, delivery_id: str = "msg_1", **more: Any) -> intake.Started:
    given: dict[str, Any] = {"trigger": "webhook", "by": "webhook"} | more
    start = intake.start
    return await db.write(lambda tx: start(tx, ACCOUNT, "process-payment", PAYLOAD, delivery_id=delivery_id, **given))


async def race(databases: Sequence[Database], count: int) -> set[str]:
    """That many times the same delivery at once; the executions that it made or found."""
    made: set[str] = set()

    async def one(number: int) -> None:
        made.add((await deliver(databases[number % len(databases)])).execution_id)

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, number)
    return made


async def end(house: House, execution_id: str, minutes_ago: int = 0) -> None:
    await house.db.write(lambda tx: house.lifecycle.end(tx, execution_id, Cause.CANCELLED))
    mine = sa.update(executions).where(executions.c.id == execution_id)
    ended = (await house.row(execution_id)).ended_at - timedelta(minutes=minutes_ago)
    await house.db.write(lambda tx: tx.execute(mine.values(ended_at=ended)))


async def test_fifty_deliveries_at_once_through_two_processes_make_one_execution(house: House, twin: Database) -> None:
    assert len(await race([house.db, twin], 50)) == 1
    assert len(await house.db.read(sa.select(executions.c.id))) == 1


async def test_fifty_resent_at_once_through_two_processes_make_one_more(house: House, twin: Database) -> None:
    [first] = await race([house.db, twin], 50)  # which leaves both with open connections
    await end(house, first, minutes_ago=11)
    [again] = await race([twin, house.db], 50)
    rows = await house.db.read(sa.select(executions.c.id, executions.c.resends).order_by(executions.c.created_at))
    assert [tuple(row) for row in rows] == [(first, None), (again, first)]


async def test_a_delivery_counts_until_ten_minutes_after_its_execution_s_end(house: House, twin: Database) -> None:
    first = await deliver(house.db)
    assert await deliver(twin) == Started(execution_id=first.execution_id, repeated=True)
    await end(house, first.execution_id, minutes_ago=9)
    assert await deliver(twin) == Started(execution_id=first.execution_id, repeated=True)


async def test_each_delivery_resent_later_names_the_first(house: House) -> None:
    made = [(await deliver(house.db)).execution_id]
    for _ in range(2):
        await end(house, made[-1], minutes_ago=11)
        made.append((await deliver(house.db)).execution_id)
    assert len(set(made)) == 3
    assert [(await house.row(id_)).resends for id_ in made] == [None, made[0], made[0]]


async def test_a_trigger_s_queue_takes_so_many_and_then_tells_the_sender(house: House) -> None:
    made = [(await deliver(house.db, f"msg_{n}", most_pending=3)).execution_id for n in range(3)]
    with pytest.raises(Throttled, match="3 executions of the flow 'process-payment' that a webhook made"):
        await deliver(house.db, "msg_3", most_pending=3)
    assert (await deliver(house.db, "msg_1", most_pending=3)).execution_id == made[1]  # nothing new
    await house.start()  # by hand: another trigger
    await end(house, made[0])
    assert not (await deliver(house.db, "msg_3", most_pending=3)).repeated  # and the refused one was not remembered


async def test_senders_who_come_at_the_same_moment_are_counted_one_by_one(house: House, twin: Database) -> None:
    databases, refused = (house.db, twin), 0

    async def one(number: int) -> None:
        nonlocal refused
        try:
            await deliver(databases[number % 2], f"msg_{number}", most_pending=3)
        except Throttled:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(one, number)
    waiting = await house.db.read(sa.select(executions.c.id).where(executions.c.state == "PENDING"))
    assert (len(waiting), refused) == (3, 27)


async def test_a_rerun_repeats_the_event_as_it_was(house: House) -> None:
    url = "https://github.com/acme/shop/issues/42"
    about = {"event": "issue", "number": 42}
    first = await house.start(trigger="github", about=about, source_url=url)
    again = await house.db.write(lambda tx: intake.rerun(tx, ACCOUNT, first, by="test"))
    one, other = await house.row(first), await house.row(again.execution_id)
    assert json.loads(one.trigger_event) == {"type": "github", "event": "issue", "number": 42, "payload": PAYLOAD}
    assert (other.reruns, one.reruns) == (first, None)
    for name in ("trigger_event", "trigger_type", "source_url", "prompt"):
        assert getattr(other, name) == getattr(one, name)


async def test_what_is_known_of_an_event_can_not_pass_for_its_type_or_payload(house: House) -> None:
    row = await house.row(await house.start(about={"type": "webhook", "payload": "other"}))
    assert json.loads(row.trigger_event) == {"type": "manual", "payload": PAYLOAD}


async def test_a_rerun_with_the_same_key_is_one(house: House) -> None:
    first = await house.start()
    made = {
        (await house.db.write(lambda tx: intake.rerun(tx, ACCOUNT, first, by="test", delivery_id="key:1"))).execution_id
        for _ in range(3)
    }
    assert len(made) == 1


async def test_a_run_whose_event_was_deleted_can_not_be_repeated(house: House) -> None:
    first = await house.start()
    gone = sa.update(executions).values(payload_deleted_at=(await house.row(first)).created_at)
    await house.db.write(lambda tx: tx.execute(gone))
    with pytest.raises(Conflict, match="was deleted"):
        await house.db.write(lambda tx: intake.rerun(tx, ACCOUNT, first, by="test"))


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
