"""The ledger against the upstream's own count, while clients leave, upstreams break off and gateways are killed.

    python -m bench.ledger_truth [REQUESTS]

`drive` sends each request in a session of its own through two gateways in processes of their own, which are stopped by
SIGTERM and SIGKILL on the way, and then compares, request by request, what a small real provider heard with the
entries that are written. The ledger is read by SQLite itself, after everybody has ended.
"""

import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import msgspec

from bench.gateway_house import LASTS, PRICES
from bench.ledger_clients import ABORTING, ALIASES, ENDS_S, Plan, ask
from bench.processes import PYTHON, ROOT
from control.identity import accounts, sessions
from control.identity.charter import Charter
from control.identity.principals import AUDIENCE
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database, Tx
from kit.tokens import Signer
from preloop.database import open_database
from tests.fakes.providers import server
from tests.fakes.providers.manner import CACHED, INPUT, SAID, THOUGHT
from tests.fakes.providers.server import Provider

ROUND = 100
AT_ONCE = 24
BUDGET_NANO = 10**9
COST = INPUT * 2500 + CACHED * 250 + (SAID + THOUGHT) * 10_000
UNSENT = ("lost", "cut")
"""Statuses of an attempt that may have been stopped before the provider heard of it. One that is known to have been is
`failed` at no cost, by a fault that is not the provider's."""


@dataclass(kw_only=True)
class Truth:
    """What came of it. All from `missing` on is to be 0, except what stands in `unsent`."""

    requests: int
    heard: int = 0
    entries: int = 0
    killed: int = 0
    stopped: int = 0
    left: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    """Entries whose request the provider did not get: their gateway was ended in between. By status."""
    missing: int = 0
    """Requests that the provider got and the ledger does not know."""
    surplus: int = 0
    """Entries that claim a request which the provider never got."""
    foreign: int = 0
    """Entries with the provider's name for another request, or one that two entries have."""
    miscounted: int = 0
    """Answers that were billed at anything but what the provider said."""
    open_journals: int = 0
    held_nano: int = 0
    budgets_off: int = 0
    """Budgets that were charged anything but the sum of their entries."""
    stuck: int = 0
    """Gateways that did not stop, clients that heard nothing."""

    @property
    def holds(self) -> bool:
        wrong = (self.missing, self.surplus, self.foreign, self.miscounted, self.open_journals, self.held_nano)
        return not any((*wrong, self.budgets_off, self.stuck)) and self.heard > 0

    def lines(self) -> list[str]:
        """`name: value`, for people and for claims."""
        texts = [f"{name}: {value}" for name, value in vars(self).items() if not isinstance(value, Counter)]
        counters = {"statuses": self.statuses, "unsent": self.unsent}
        return texts + [f"{name}: {dict(sorted(value.items())) or 'none'}" for name, value in counters.items()]


async def drive(folder: Path, *, requests: int, seed: int = 1, each: int = 4) -> Truth:
    """So many requests; in every `each`th round of a hundred a gateway is killed, in another one it is stopped."""
    truth, chance = Truth(requests=requests), random.Random(seed)
    async with server.serve() as provider, _house(folder, provider) as house:
        gateways = [Gateway(folder), Gateway(folder)]
        try:
            for number in range(0, requests, ROUND):
                for gateway in gateways:
                    await gateway.start()
                ending = {1: signal.SIGKILL, 3: signal.SIGTERM}.get(number // ROUND % each)
                asked = range(number, min(number + ROUND, requests))
                await _round(house, provider, gateways, asked, ending, chance, truth)
        finally:
            for gateway in gateways:
                truth.stuck += not await gateway.end(signal.SIGTERM)
        last = Gateway(folder)  # whatever the dead ones left is settled at the next start
        await last.start()
        truth.stuck += not await last.end(signal.SIGTERM)
    _compare(folder, house, provider, truth)
    return truth


@dataclass(kw_only=True)
class House:
    """Where sessions are made. `sessions` are their ids, by the number of the request."""

    db: Database
    signer: Signer
    sessions: dict[str, int] = field(default_factory=dict)

    async def tokens(self, numbers: range, aliases: tuple[str, ...]) -> list[str]:
        """One session and its token for each request."""
        until = Clock().now() + LASTS
        charter = Charter(flow="truth", tools=(), models=aliases, budget_nano=BUDGET_NANO)

        def unit(tx: Tx) -> list[str]:
            more: Any = {"kind": "execution", "principal": "truth", "charter": charter, "alive_until": until}
            return [sessions.open_session(tx, accounts.DEFAULT, **more) for _ in numbers]

        made = await self.db.write(unit)
        self.sessions |= dict(zip(made, numbers, strict=True))
        return [self.signer.sign(subject=id_, audience=AUDIENCE, expires_at=until) for id_ in made]


@asynccontextmanager
async def _house(folder: Path, provider: Provider) -> AsyncIterator[House]:
    """What gateways find when they start."""
    every = {"max_output_tokens": 100, "breaker_failures": 10**6, **PRICES, "retries": 1}
    models = {name: entry for name, entry in provider.models(**every).items() if name in ALIASES}
    models |= {ABORTING + name: entry | {"on_disconnect": "abort"} for name, entry in models.items()}
    settings = {"models": models, "patience_s": 0.05, "keepalive_s": 0.1, "drain_s": 10}
    await anyio.Path(folder / "gateway.json").write_bytes(msgspec.json.encode(settings))
    signer = Signer.open(folder / "keys" / "signing.pem")
    db = await open_database(folder, None, Bus())

    def unit(tx: Tx) -> None:
        accounts.ensure_default(tx)
        sessions.publish_key(tx, accounts.DEFAULT, signer)

    try:
        await db.write(unit)
        yield House(db=db, signer=signer)
    finally:
        await db.close()


class Gateway:
    """One process after the other in the same place."""

    def __init__(self, folder: Path) -> None:
        self._command = [PYTHON, "-m", "bench.gateway_role", str(folder)]
        self._process: anyio.abc.Process | None = None
        self.origin: str | None = None

    async def start(self) -> None:
        """Unless it runs."""
        if self._process is not None:
            return
        self._process = await anyio.open_process(self._command, cwd=ROOT, stderr=None)
        assert self._process.stdout
        with anyio.fail_after(ENDS_S):
            said = b""
            while not (found := re.search(rb"http://[\d.:]+(?=\s)", said)):
                said += await self._process.stdout.receive()
        self.origin = found[0].decode()

    async def end(self, how: signal.Signals) -> bool:
        """Did it end? It is killed when it does not."""
        process, self._process, self.origin = self._process, None, None
        if process is None:
            return True
        process.send_signal(how)
        with anyio.move_on_after(ENDS_S):
            await process.wait()
            return True
        process.kill()
        await process.wait()
        return False


async def _round(
    house: House,
    provider: Provider,
    gateways: list[Gateway],
    numbers: range,
    ending: signal.Signals | None,
    chance: random.Random,
    truth: Truth,
) -> None:
    tokens = await house.tokens(numbers, (*ALIASES, *(ABORTING + name for name in ALIASES)))
    ends_at = len(provider.heard) + chance.randrange(1, max(2, len(numbers) // 2))
    places = anyio.CapacityLimiter(AT_ONCE)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        anyio.create_task_group() as tasks,
    ):
        for number, token in zip(numbers, tokens, strict=True):
            plan = Plan.drawn(number, token, chance)
            tasks.start_soon(_client, http, gateways, plan, places, truth)
        if ending:
            await provider.until(ends_at)
            truth.stuck += not await gateways[0].end(ending)
            truth.killed += ending == signal.SIGKILL
            truth.stopped += ending == signal.SIGTERM


async def _client(
    http: aiohttp.ClientSession, gateways: list[Gateway], plan: Plan, places: anyio.CapacityLimiter, truth: Truth
) -> None:
    async with places:
        if origins := [gateway.origin for gateway in gateways if gateway.origin]:
            truth.stuck += not await ask(http, origins[plan.number % len(origins)], plan)
            truth.left += plan.leaves != "never"


def _compare(folder: Path, house: House, provider: Provider, truth: Truth) -> None:
    """The provider's list against the ledger's, request by request."""
    heard: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(provider.heard, 1):
        found = re.search(rb"request (\d{6}) of", one.raw)
        assert found
        heard[int(found[1])].append(place)
    entries: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    with sqlite3.connect(f"file:{_database(folder)}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        for row in db.execute("SELECT * FROM entries"):
            entries[house.sessions[row["session_id"]]].append(dict(row))
        spent = dict(db.execute("SELECT subject, sum(spent_nano) FROM budgets WHERE scope = 'run' GROUP BY subject"))
        truth.held_nano = sum(row[0] for row in db.execute("SELECT held_nano FROM budgets"))
        truth.held_nano += sum(abs(row[0]) for row in db.execute("SELECT amount_nano FROM leases"))
    truth.heard, truth.entries = len(provider.heard), sum(map(len, entries.values()))
    for number in range(truth.requests):
        compare_one(heard[number], entries[number], truth)
    for id_, number in house.sessions.items():
        truth.budgets_off += spent.get(id_, 0) != sum(row["cost_nano"] for row in entries[number])
    truth.open_journals = len(list((folder / "journal").glob("*.journal")))


def compare_one(heard: list[int], entries: Sequence[Mapping[str, Any]], truth: Truth) -> None:
    """What the provider heard of one session, by its own numbers, against the entries of it."""
    truth.statuses.update(row["status"] for row in entries)
    truth.missing += max(0, len(heard) - len(entries))
    maybe = [row["status"] for row in entries if _perhaps_unsent(row)]
    more = max(0, len(entries) - len(heard))
    truth.unsent.update(maybe[:more])
    truth.surplus += max(0, more - len(maybe))
    named = [int(row["upstream_id"].rpartition("-")[2].rpartition("_")[2]) for row in entries if row["upstream_id"]]
    truth.foreign += sum(name not in heard for name in named) + len(named) - len(set(named))
    truth.miscounted += sum(row["status"] == "answered" and row["cost_nano"] != COST for row in entries)
    truth.miscounted += sum(row["status"] == "failed" and row["cost_nano"] != 0 for row in entries)


def _perhaps_unsent(row: Mapping[str, Any]) -> bool:
    ours = row["status"] == "failed" and not row["error_class"].startswith("upstream_")
    return row["first_token_ms"] is None and (ours or row["status"] in UNSENT)


def _database(folder: Path) -> Path:
    (found,) = folder.glob("*.db")
    return found


def main() -> int:
    requests = int(sys.argv[1]) if sys.argv[1:] else 10_000
    with tempfile.TemporaryDirectory() as folder:
        truth = anyio.run(lambda: drive(Path(folder), requests=requests, seed=int(os.environ.get("SEED", "1"))))
    print("\n".join(truth.lines()))
    return 0 if truth.holds else 1


if __name__ == "__main__":
    sys.exit(main())
