"""At a log's limit or the plan's, lines are not kept, one line says so, and nothing else changes."""

from functools import partial
from typing import Any

import sqlalchemy as sa

from control.executions import keeping, logs, storage
from control.executions.keeping import AGAIN, Kept
from control.tables import accounts
from kit.db import Tx
from tests.control.house import ACCOUNT, House

MB = 1 << 20
AT = "2026-11-22T10:00:00.000000Z"


def lines(count: int, size: int = 1000) -> list[keeping.Stored]:
    return [(AT, "agent", "info", "x" * size)] * count


async def keep(house: House, execution_id: str, some: list[keeping.Stored], *, most: int = 50 * MB) -> Kept:
    return await house.db.write(lambda tx: keeping.keep(tx, ACCOUNT, execution_id, some, most=most))


async def ours(house: House, execution_id: str) -> list[str]:
    found = await logs.read(house.db, ACCOUNT, execution_id)
    return [line.text for line in found if line.source == "preloop"]


async def has_room(house: House, bytes_: int | None) -> None:
    """The plan's storage; the meter has what was written until now."""
    limit: Any = sa.update(accounts).where(accounts.c.id == ACCOUNT).values(storage_bytes=bytes_)
    await house.db.write(partial(Tx.execute, statement=limit))
    await storage.count(house.db)


async def test_a_log_is_kept_up_to_its_flow_s_limit_and_says_so_once(house: House) -> None:
    id_ = await house.start()
    assert await keep(house, id_, lines(60), most=100_000) is Kept.ALL
    assert await keep(house, id_, lines(60), most=100_000) is Kept.CUT
    assert await keep(house, id_, lines(60), most=100_000) is Kept.CUT
    found = await logs.read(house.db, ACCOUNT, id_)
    assert sum(len(line.text) for line in found if line.source == "agent") in range(95_000, 101_001)
    assert (found[-1].text, found[-1].level) == (
        "The log has reached limits.max_log_mb (97.7 KB): later lines are not kept.",
        "warning",
    )
    assert len(await ours(house, id_)) == 1
    assert (await house.row(id_)).log_cut_at


async def test_the_product_s_own_lines_are_kept_all_the_same(house: House) -> None:
    id_ = await house.start()
    await keep(house, id_, lines(2), most=1)
    await house.db.write(lambda tx: logs.story(tx, ACCOUNT, id_, "info", "Tool: pay"))
    assert (await ours(house, id_))[-1] == "Tool: pay"


async def test_a_full_plan_keeps_no_line_and_when_there_is_room_again_it_does(house: House) -> None:
    id_ = await house.start()
    await house.end(await house.start("process-payment"), None)
    await has_room(house, 100 << 30)
    assert await keep(house, id_, lines(3)) is Kept.ALL
    await house.db.write(lambda tx: storage.add(tx, ACCOUNT, "logs", 100 << 30))
    for _ in range(3):
        assert await keep(house, id_, lines(3)) is Kept.FULL
    assert await ours(house, id_) == ["Storage of the plan is full (100 GB): later lines are not kept."]
    await house.db.write(lambda tx: storage.add(tx, ACCOUNT, "logs", -(50 << 30)))
    assert await keep(house, id_, lines(2)) is Kept.ALL
    assert (await ours(house, id_))[-1] == AGAIN
    assert len(await logs.read(house.db, ACCOUNT, id_)) == 3 + 1 + 1 + 2
    assert (await house.row(id_)).log_cut_at is None


async def test_a_plan_without_limit_is_never_full(house: House) -> None:
    id_ = await house.start()
    await has_room(house, None)
    await house.db.write(lambda tx: storage.add(tx, ACCOUNT, "logs", 1 << 50))
    assert await keep(house, id_, lines(1)) is Kept.ALL
