"""What a claim takes with a short and with a long history behind it: two databases that take turns, claim by claim."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from bench.figures import Judged
from bench.queue_house import FLOWS, enqueue, open_house
from control.executions import queue
from control.executions.states import Cause
from control.tables import accounts, executions
from kit.db import Tx
from tests.control.house import House

NAMES = ("young", "old")
PENDING = 10_000
SLOTS = 20
WORST = 1.5
_AGO = {True: "CAST(:born AS timestamptz) - i * interval '1 second'", False: "datetime(:born, '-' || i || ' seconds')"}


async def aged(folder: Path, url: str | None, finished: int) -> House:
    """A house with so much behind it, and 10,000 executions that wait."""
    house = await open_house(folder, url, SLOTS)
    over = [await house.start(f"flow-{number}") for number in range(FLOWS)]
    for id_ in over:
        await house.end(id_, Cause.AGENT_ERROR)
    await house.db.write(lambda tx: _remember(tx, over, finished))
    for number in range(FLOWS):
        await enqueue(house, f"flow-{number}", PENDING // FLOWS, number)
    await house.db.write(lambda tx: tx.execute(sa.text("ANALYZE")) if _postgres(tx) else None)
    return house


def _postgres(tx: Tx) -> bool:
    return isinstance(tx.insert(accounts), postgresql.Insert)


def _remember(tx: Tx, like: list[str], count: int) -> None:
    """Copies of what ended, a second apart, back into the past."""
    here = _postgres(tx)
    born = tx.now() - timedelta(hours=2)
    changed = {
        "id": "substr(e.id, 1, 24) || '_' || i",
        "created_at": _AGO[here],
        "claimed_at": _AGO[here],
        "ended_at": _AGO[here],
    }
    names = executions.c.keys()
    columns = ", ".join(changed.get(name, f"e.{name}") for name in names)
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count // len(like)})"
    chosen = ", ".join(f"'{id_}'" for id_ in like)
    text = f"FROM n, executions e WHERE e.id IN ({chosen})"
    copied = sa.text(f"INSERT INTO executions ({', '.join(names)}) {numbers} SELECT {columns} {text}")
    tx.execute(copied.bindparams(sa.bindparam("born", born, type_=executions.c.created_at.type)))


async def one(house: House) -> float:
    """Milliseconds of one claim; the slot is given back."""
    began = perf_counter()
    row = await house.db.write(lambda tx: queue.claim(tx, "bench"))
    took = perf_counter() - began
    assert row, "nothing was claimed"
    await house.end(row.id, Cause.AGENT_ERROR)
    return took * 1000


async def compared(
    folder: Path, urls: Sequence[str] | None, finished: tuple[int, int], claims: int, say: Judged
) -> None:
    """Claims in turn on a young and on an old database; every slot but one is taken."""
    pairs = zip(NAMES, urls or (None, None), finished, strict=True)
    houses = [await aged(folder / name, url, count) for name, url, count in pairs]
    for house in houses:
        for _ in range(SLOTS - 1):
            await house.db.write(lambda tx: queue.claim(tx, "others"))
    took: list[list[float]] = [[], []]
    for number in range(claims + 50):
        for house, its in zip(houses, took, strict=True):
            ms = await one(house)
            if number >= 50:  # the first ones find cold caches
                its.append(ms)
    p99 = [quantiles(its, n=100)[98] for its in took]
    for count, its, worst in zip(finished, took, p99, strict=True):
        say(f"claim_ms_with_{count}_finished", f"{median(its):.1f} median, {worst:.1f} p99 of {claims}", True)
    say("claim_p99_ratio", f"{p99[1] / p99[0]:.2f}", p99[1] / p99[0] <= WORST)
    for house in houses:
        await house.db.close()
