"""The executions page with a short and with a long history: the real page over HTTP, on two databases that take turns.

Each execution of the history has a model call in the ledger, so that its cost is read as well.
"""

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from bench.figures import Judged
from control.executions.states import Cause
from control.tables import accounts, executions
from kit.db import Tx
from kit.ids import earliest
from ledger.tables import entries
from tests.serving import serving
from tests.web.world import FLOW, World, open_world

NAMES = ("young", "old")
WORST = 2.0
FLOWS = 10
PART = 5000
SECONDS = 30  # between two of the history
ENDS: tuple[Cause | None, ...] = (*(None,) * 8, Cause.AGENT_ERROR, Cause.CANCELLED)
TRIGGERS = ("webhook",) * 7 + ("github", "schedule", "manual")
PAGES = {
    "all": "",
    "state": "state=FAILED",
    "running": "state=RUNNING",
    "pending": "state=PENDING",
    "flow": "flow=flow-3",
    "trigger": "trigger=github",
    "no_trigger": "trigger=gitlab",
    "since": "since=24h",
    "since_now": "since=1m",
    "state_and_trigger": "state=FAILED&trigger=webhook",
}
"""Each is full with the short history as well: what is compared is not how many rows there are to draw."""
LATER = 3
"""How many times Older is followed for the later page."""


async def aged(stack: AsyncExitStack, folder: Path, url: str | None, finished: int) -> World:
    """A world with so much behind it, five executions that run and five that wait."""
    world = await stack.enter_async_context(open_world(folder, url=url))
    like = []
    for number in range(FLOWS):
        name = f"flow-{number}"
        await world.house.apply(FLOW.replace("process-payment", name))
        id_ = await world.house.start(name)
        await world.spent(id_)
        like.append(id_)
    rows = [(await world.house.row(id_))._asdict() for id_ in like]
    cost = (await world.house.db.read(sa.select(entries)))[0]._asdict()
    for begin in range(0, finished, PART):
        its = [_past(rows, number, finished) for number in range(begin, min(begin + PART, finished))]
        paid = [_paid(cost, row) for row in its]
        await world.house.db.write(lambda tx, its=its, paid=paid: _remember(tx, its, paid))  # type: ignore[misc]
    await world.house.db.write(lambda tx: _run_some(tx, like[: FLOWS // 2]))
    await world.house.db.write(lambda tx: tx.execute(sa.text("ANALYZE")) if _postgres(tx) else None)
    return world


def _postgres(tx: Tx) -> bool:
    return isinstance(tx.insert(accounts), postgresql.Insert)


def _past(rows: Sequence[dict[str, object]], number: int, count: int) -> dict[str, object]:
    """One of the past: the oldest first, so that ids come in the order in which they were made."""
    at = datetime.now(UTC) - timedelta(seconds=(count - number) * SECONDS + 3600)
    chance = random.Random(number)
    cause = chance.choice(ENDS)
    state = {None: "SUCCEEDED", Cause.TIMEOUT: "TIMEOUT", Cause.CANCELLED: "CANCELLED"}.get(cause, "FAILED")
    return chance.choice(rows) | {
        "id": f"{earliest('exe', at)}{number:016}",
        "state": state,
        "cause": cause.value if cause else None,
        "trigger_type": chance.choice(TRIGGERS),
        "created_at": at,
        "claimed_at": at + timedelta(seconds=1),
        "ended_at": at + timedelta(seconds=20),
    }


def _paid(cost: dict[str, object], row: dict[str, object]) -> dict[str, object]:
    at = row["created_at"]
    assert isinstance(at, datetime)
    told = {"execution_id": row["id"], "flow": row["flow_name"], "at": at, "day": at.date().isoformat()}
    return cost | told | {"id": str(row["id"]).replace("exe", "att")}


def _remember(tx: Tx, its: list[dict[str, object]], paid: list[dict[str, object]]) -> None:
    tx.execute(sa.insert(executions), its)
    tx.execute(sa.insert(entries), paid)


def _run_some(tx: Tx, ids: list[str]) -> None:
    running = sa.update(executions).where(executions.c.id.in_(ids))
    tx.execute(running.values(state="RUNNING", claimed_at=tx.now(), lease_until=tx.now()))


async def _asked(http: httpx.AsyncClient, query: str) -> float:
    """Milliseconds of one page."""
    began = perf_counter()
    answer = await http.get(f"/executions?{query}")
    took = perf_counter() - began
    assert answer.status_code == 200, answer.text[:300]
    return took * 1000


async def _later(http: httpx.AsyncClient) -> str:
    """The cursor of a page further back."""
    cursor = ""
    for _ in range(LATER):
        found = (await http.get("/api/v1/executions", params={"cursor": cursor} if cursor else {})).json()
        cursor = found["next"]
    return f"cursor={cursor}"


async def compared(
    folder: Path, urls: Sequence[str] | None, finished: tuple[int, int], looks: int, say: Judged
) -> None:
    """Says for each page its p95 of so many `looks` with the short and with the long history, and whether the second is
    less than twice the first. `folder` has the folders `NAMES`; `urls` are two empty PostgreSQL databases."""
    async with AsyncExitStack() as stack:
        sides = []
        for name, url, count in zip(NAMES, urls or (None, None), finished, strict=True):
            world = await aged(stack, folder / name, url, count)
            origin = await stack.enter_async_context(serving(world.app))
            cookies = {"preloop": await world.token()}
            http = httpx.AsyncClient(base_url=origin, cookies=cookies, headers={"accept": "text/html"}, timeout=60)
            sides.append(await stack.enter_async_context(http))
        pages = [PAGES | {"later": await _later(http)} for http in sides]
        for name in pages[0]:
            took: list[list[float]] = [[], []]
            for number in range(looks + 5):
                for http, its, asked in zip(sides, took, pages, strict=True):
                    ms = await _asked(http, asked[name])
                    if number >= 5:  # the first ones find cold caches
                        its.append(ms)
            young, old = (quantiles(its, n=20)[18] for its in took)
            usual = ", ".join(f"{median(its):.1f}" for its in took)
            told = f"{young:.1f} with {finished[0]}, {old:.1f} with {finished[1]}, ratio {old / young:.2f}"
            told += f" (medians {usual})"
            say(f"executions_{name}_p95_ms", told, old / young < WORST)
