"""Whose turn it is: the oldest of a flow, fair shares between flows, and a cost that knows no history."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from control.executions import queue
from control.executions.states import Cause
from control.tables import accounts, executions
from kit.db import Tx
from kit.ids import new_id
from tests.control.house import FLOW, House


async def flow(house: House, name: str, concurrency: int = 10) -> None:
    text = FLOW.replace("process-payment", name).replace("concurrency: 3", f"concurrency: {concurrency}")
    await house.apply(text)


async def fill(house: House, name: str, count: int, **values: Any) -> list[str]:
    """Many PENDING executions like one that was really started, each a second younger than the one before."""
    like = (await house.row(await house.start(name)))._asdict()
    ids = [like["id"], *(new_id("exe") for _ in range(count - 1))]
    rows = [
        like | values | {"id": id_, "created_at": like["created_at"] - timedelta(seconds=count - number)}
        for number, id_ in enumerate(ids)
    ]

    def unit(tx: Tx) -> None:
        tx.execute(sa.delete(executions).where(executions.c.id == like["id"]))
        tx.execute(sa.insert(executions), rows)

    await house.db.write(unit)
    return ids


async def slots(house: House, count: int | None) -> None:
    await house.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=count)))


async def claim(house: House) -> Any:
    return await house.db.write(lambda tx: queue.claim(tx, "w1"))


async def turns(house: House, count: int, *, ends: bool) -> list[str]:
    """The flows that got the next slots; `ends` frees each before the next is given."""
    served = []
    for _ in range(count):
        row = await claim(house)
        served.append(row.flow_name if row else "")
        if row and ends:
            await house.end(row.id, Cause.AGENT_ERROR)
    return served


async def test_one_slot_goes_round_among_the_flows_whoever_queued_first(house: House) -> None:
    await slots(house, 1)
    for name, count in (("early", 30), ("late", 3), ("later", 3)):
        await flow(house, name)
        await fill(house, name, count)
    assert Counter(await turns(house, 9, ends=True)) == {"early": 3, "late": 3, "later": 3}
    assert await turns(house, 2, ends=True) == ["early", "early"]


async def test_the_flow_with_the_fewest_running_is_next(house: House) -> None:
    for name in ("many", "few"):
        await flow(house, name)
    await fill(house, "many", 10)
    assert await turns(house, 4, ends=False) == ["many"] * 4
    await fill(house, "few", 10)
    assert await turns(house, 4, ends=False) == ["few"] * 4
    assert Counter(await turns(house, 6, ends=False)) == {"many": 3, "few": 3}


async def test_shares_are_even_up_to_each_flow_s_own_limit(house: House) -> None:
    await slots(house, 11)
    for name, concurrency in (("one", 1), ("five", 5), ("twenty", 20)):
        await flow(house, name, concurrency)
        await fill(house, name, 25)
    assert Counter(await turns(house, 12, ends=False)) == {"one": 1, "five": 5, "twenty": 5, "": 1}


async def test_within_a_flow_the_oldest_comes_first(house: House) -> None:
    await flow(house, "line", 20)
    ids = await fill(house, "line", 15)
    await slots(house, None)
    assert [(await claim(house)).id for _ in ids] == ids


async def test_a_long_line_of_a_full_flow_hides_nobody(house: House) -> None:
    await flow(house, "full", 1)
    await fill(house, "full", 1000)
    await flow(house, "other")
    other = await house.start("other")
    assert await turns(house, 3, ends=False) == ["full", "other", ""]
    assert (await house.row(other)).state == "RUNNING"


async def test_no_limit_is_no_limit(house: House) -> None:
    await slots(house, None)
    await flow(house, "wide", 100)
    await fill(house, "wide", 40)
    assert await turns(house, 41, ends=False) == ["wide"] * 40 + [""]


async def test_waiting_for_a_person_keeps_the_slot(house: House) -> None:
    await slots(house, 1)
    call = await house.call(await house.running())
    await house.start()
    assert await claim(house) is None
    await house.decide(call)
    assert await claim(house) is None


async def test_nothing_is_dropped_or_expires_in_the_queue(house: House) -> None:
    await flow(house, "old", 20)
    year = timedelta(days=400)
    ids = await fill(house, "old", 10, timeout_s=1, wall_s=1)
    mine = sa.update(executions).where(executions.c.id.in_(ids))
    row = await house.row(ids[0])
    await house.db.write(lambda tx: tx.execute(mine.values(created_at=row.created_at - year)))
    assert await house.db.write(queue.overdue) == 0
    assert await house.db.write(lambda tx: queue.sweep(tx, house.lifecycle)) == 0
    assert await house.db.write(house.desk.expire) == 0
    assert await turns(house, 11, ends=False) == ["old"] * 10 + [""]


async def test_claimers_at_the_same_time_keep_every_limit_and_take_each_once(house: House) -> None:
    await slots(house, 9)
    limits: Mapping[str, int] = {"a": 2, "b": 3, "c": 10}
    for name, concurrency in limits.items():
        await flow(house, name, concurrency)
        await fill(house, name, 20)
    taken: list[tuple[str, str]] = []

    async def claimer() -> None:
        for _ in range(4):
            row = await claim(house)
            taken.extend([(row.id, row.flow_name)] if row else [])

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(claimer)
    assert len(taken) == len(dict(taken)) == 9
    assert Counter(name for _, name in taken) == {"a": 2, "b": 3, "c": 4}


async def test_the_questions_of_a_claim_are_answered_by_the_indices_of_what_waits(house: House) -> None:
    questions = (queue.HEADS, queue.BUSY, queue.WAITING_ACCOUNTS)
    heads, busy, waiting = await house.db.write(lambda tx: [explained(tx, question) for question in questions])
    assert "ix_executions_queue" in heads
    assert "SORT" not in heads.upper()
    assert "B-TREE" not in heads
    assert "ix_executions_running" in busy
    assert "ix_executions_queue" in waiting


class Explain(Executable, ClauseElement):
    """A question about a question."""

    inherit_cache = False

    def __init__(self, question: sa.Select[Any]) -> None:
        self.question = question


@compiles(Explain)
def _explain(element: Explain, compiler: SQLCompiler, **more: Any) -> str:
    words = "EXPLAIN QUERY PLAN" if compiler.dialect.name == "sqlite" else "EXPLAIN"
    return f"{words} {compiler.process(element.question, **more)}"


def explained(tx: Tx, question: sa.Select[Any]) -> str:
    """How the database answers it; PostgreSQL would read all of a table that is empty."""
    if isinstance(tx.insert(accounts), postgresql.Insert):
        tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
    return str(tx.execute(Explain(question), {"account": "default", "now": tx.now()}).all())
