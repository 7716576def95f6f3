"""Clients that race for hard budgets on gateways in processes of their own, which share one database.

`race` is the driver. Run as a module this is one of the gateways: it prints its address and serves until its stdin
ends.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import sqlalchemy as sa

from control.identity.accounts import DEFAULT
from gateway.recovery import settle_lost
from ledger.book import Status
from ledger.tables import budgets, entries, leases
from tests.gateway.plane import PRICES, Plane, open_plane, script

ROOT = Path(__file__).parents[2]
ASK = {"model": "default", "messages": [{"role": "user", "content": "Go."}], "max_tokens": 40}
MOST_NANO = 9_000_000
"""Of one round's budget: room for some fifteen calls."""
STOP_S = 120.0
"""Only a gateway that hangs takes so long to end."""


@dataclass(kw_only=True)
class Outcome:
    """What came of a race. Amounts are nano-dollars; all but the first four are to be 0."""

    rounds: int
    admitted: int = 0
    refused: int = 0
    spent_nano: int = 0
    overshoot_nano: int = 0
    held_nano: int = 0
    miscounted: int = 0
    """Budgets that say anything else than their entries, and admitted calls without an exact one."""
    strange: list[str] = field(default_factory=list)
    """Answers that are neither 200 nor 402."""


async def race(folder: Path, *, url: str | None = None, rounds: int, clients: int = 64, seed: int = 1) -> Outcome:
    """So many rounds, each with a budget of its own, which `clients` ask for at once on two gateways."""
    outcome, chosen = Outcome(rounds=rounds), random.Random(seed)
    given: dict[str, int] = {}
    async with open_plane(folder, {}, url=url) as plane:
        with gateways(folder, url, count=2) as addresses:
            for _ in range(rounds):
                limit = chosen.randrange(MOST_NANO)
                session, token = await plane.session("default", budget_nano=limit)
                given[session] = limit
                await _round(addresses, token, clients, outcome)
        await settle_lost(plane.db, folder / "journals")  # of a gateway that had no time to, on a busy machine
        await _check(plane, given, outcome)
    return outcome


@contextmanager
def gateways(folder: Path, url: str | None, *, count: int) -> Iterator[list[str]]:
    """The addresses of gateways, each in a process of its own. They stop in order when the context ends: then all that
    happened is in the ledger or in a journal, and what was free of a lease was given back, however long that took."""
    command = [sys.executable, "-m", "tests.gateway.racing", str(folder), url or ""]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield [one.stdout.readline().strip() for one in running if one.stdout]
    finally:
        for one in running:
            one.communicate(timeout=STOP_S)


async def _round(addresses: list[str], token: str, clients: int, outcome: Outcome) -> None:
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(verify=False, limits=limits, timeout=60) as http, anyio.create_task_group() as tasks:
        for number in range(clients):
            tasks.start_soon(_ask, http, addresses[number % len(addresses)], token, outcome)


async def _ask(http: httpx.AsyncClient, address: str, token: str, outcome: Outcome) -> None:
    headers = {"authorization": f"Bearer {token}"}
    answer = await http.post(f"{address}/openai/v1/chat/completions", json=ASK, headers=headers)
    if answer.status_code == 200:
        outcome.admitted += 1
    elif answer.status_code == 402:
        outcome.refused += 1
    else:
        outcome.strange.append(f"{answer.status_code} {answer.text[:300]}")


async def _check(plane: Plane, given: dict[str, int], outcome: Outcome) -> None:
    exact = sa.select(sa.func.count()).where(entries.c.status == Status.ANSWERED.value)
    outcome.miscounted += abs((await plane.db.read(exact))[0][0] - outcome.admitted)
    outcome.held_nano += sum(row.amount_nano for row in await plane.db.read(sa.select(leases)))
    cost = sa.cast(sa.func.sum(entries.c.cost_nano), sa.BigInteger)
    for session, limit in given.items():
        mine = (budgets.c.account_id == DEFAULT) & (budgets.c.subject == session)
        row = (await plane.db.read(sa.select(budgets).where(mine)))[0]
        real = (await plane.db.read(sa.select(cost).where(entries.c.session_id == session)))[0][0] or 0
        outcome.spent_nano += real
        outcome.overshoot_nano += max(0, real - limit)
        outcome.held_nano += row.held_nano
        outcome.miscounted += row.spent_nano != real


async def serve(folder: Path, url: str | None) -> None:
    """One gateway, until stdin ends."""
    talk = script(folder, {"say": "There you are.", "delay_ms": 3, "usage": {"input": 70, "output": 40}})
    alias = {"provider": "scripted", "script": talk, **PRICES}
    async with open_plane(folder, {"default": alias}, url=url) as plane:
        print(plane.containers, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


async def _main(rounds: int) -> Outcome:
    async with anyio.TemporaryDirectory() as folder:
        return await race(Path(folder), rounds=rounds)


if __name__ == "__main__":
    if sys.argv[1] == "race":
        print(json.dumps(anyio.run(_main, int(sys.argv[2])).__dict__))
    else:
        anyio.run(serve, Path(sys.argv[1]), sys.argv[2] or None)
