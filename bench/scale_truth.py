"""What was left after all replicas stopped: from the database, the agents' own spools, the payments that were made and
the provider's own list of what it was asked."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from bench import chaos_truth, ledger_truth
from bench.processes import PYTHON, ROOT
from bench.scale_house import Fleet
from bench.scale_pages import Page
from control.tables import events, executions, log_chunks
from kit.bus import Bus
from kit.db import Database
from ledger.tables import budgets, entries, leases
from preloop.database import read_database

RESERVED_NANO = 2_000_000
"""More than one call reserves; what is left of a budget that refused one is less."""
LOST = "runner_lost"
PAGE = 400
LATE = timedelta(seconds=5)
"""How far a page may be behind on a busy machine, as in `show live`."""


@dataclass(kw_only=True)
class Truth(chaos_truth.Truth):
    """All from `unfinished` on is to be 0; `ledger` has figures of its own."""

    because: Counter[str] = field(default_factory=Counter)
    """What the verdicts of failed ones say."""
    adopted: int = 0
    decided: int = 0
    decided_twice: int = 0
    """By the record: requests that were closed more than once, or with other than one vote."""
    watched: int = 0
    torn_pages: int = 0
    """Pages that missed a line or an event, or were told one twice."""
    ledger: ledger_truth.Truth = field(default_factory=lambda: ledger_truth.Truth(requests=0))
    spent_nano: int = 0
    """Of the budget of flow `frugal`, which is asked for more than it has."""
    limit_nano: int = 0

    @property
    def holds(self) -> bool:
        wrong = (self.decided_twice, self.torn_pages)
        return super().holds and not any(wrong) and self.watched > 0 and self.decided > 0 and self.ledger.holds

    @property
    def broken(self) -> int:
        """Executions whose agents failed though nobody declined, cut them off or took their money."""
        return sum(count for end, count in self.ends.items() if end.endswith(("_error", "agent_unverified")))

    @property
    def spent_well(self) -> bool:
        """Never more than the limit, and no call refused that it had room for."""
        return 0 <= self.limit_nano - self.spent_nano < RESERVED_NANO


async def compare(fleet: Fleet, ids: Mapping[str, int], pages: Sequence[Page], at: Path = ROOT) -> Truth:
    """After `fleet.stop`; `ids` has the number of each execution, `at` the code that knows its schema."""
    truth = Truth()
    db = await read_database(fleet.folder, fleet.database, Bus())
    try:
        rows = await every(db, executions)
        truth.unfinished += len(ids) - len(rows)
        starts = Counter(line.split()[0] for line in chaos_truth.lines(fleet.folder / "starts"))
        truth.agents, truth.twice_begun = starts.total(), sum(count > 1 for count in starts.values())
        for row in rows:
            await _one(db, fleet, row, truth)
        await _watched(db, pages, truth)
        await chaos_truth.pay(db, fleet.journal, ids, rows, truth)
        await _approvals(db, truth)
        await _ledger(db, fleet, truth)
    finally:
        await db.close()
    env = {"PRELOOP_DATABASE": fleet.database, "PRELOOP_DATA": str(fleet.replicas["one"].folder)}
    audit = [PYTHON, "-m", "preloop", "audit", "verify"]
    done = await anyio.run_process(audit, cwd=at, env=env, check=False)
    truth.broken_record = int(done.returncode != 0)
    truth.wrong += [done.stdout.decode()[-1000:]] if done.returncode else []
    truth.broke = sum(code != 0 for code in fleet.codes)
    runs = [plane.folder / "runs" for plane in fleet.replicas.values() if not (plane.folder / "runs").is_symlink()]
    truth.left = sum(len(list(path.glob("*/"))) + chaos_truth.processes(path) for path in runs)
    return truth


async def every(db: Database, table: sa.Table) -> list[Row[Any]]:
    """All rows: a read has its limit."""
    found: list[Row[Any]] = []
    asked = sa.select(table).order_by(*table.primary_key.columns)
    while more := await db.read(asked.offset(len(found)).limit(PAGE)):
        found += more
    return found


async def _one(db: Database, fleet: Fleet, row: Row[Any], truth: Truth) -> None:
    """Of a lost one nobody read the log to its end: what is there is its beginning."""
    truth.ends[f"{row.state}{' ' + row.cause if row.cause else ''}"] += 1
    if row.state == "FAILED":
        truth.because[f"{row.cause}: {row.message}"] += 1
    truth.adopted += row.epoch > 1
    ended = await chaos_truth.ended_once(db, row)
    stored = await chaos_truth.log_of(db, row.id)
    said = [line.text for line in stored if line.source != "preloop"]
    spool = fleet.folder / "spools" / row.id
    spooled = chaos_truth.spooled(spool.read_bytes()) if spool.exists() else said
    truth.spooled += len(spooled)
    whole = said == (spooled[: len(said)] if row.cause == LOST else spooled)
    numbered = [line.number for line in stored] == list(range(1, len(stored) + 1))
    truth.unfinished += not ended
    truth.wrong_logs += not (whole and numbered)
    if not (ended and whole and numbered):
        at = next((n for n, pair in enumerate(zip(said, spooled, strict=False)) if pair[0] != pair[1]), len(spooled))
        least = f"differs at {at} ({said[at : at + 1]}), "
        least += f"{len(said)} of {len(spooled)} lines, {'numbered' if numbered else 'numbers torn'}"
        truth.wrong.append(f"{row.id} {row.state} {row.cause} epoch {row.epoch}: {least}")


async def _watched(db: Database, pages: Sequence[Page], truth: Truth) -> None:
    truth.watched = len(pages)
    for page in pages:
        stored = [(line.number, line.text) for line in await chaos_truth.log_of(db, page.execution_id)]
        chunks = await db.read(sa.select(log_chunks).where(log_chunks.c.execution_id == page.execution_id))
        due = sum(row._mapping["count"] for row in chunks if row.at < page.closed - LATE)
        if not page.whole(stored, due):
            truth.torn_pages += 1
            truth.wrong.append(f"page of {page.execution_id}: {len(page.lines)} of {due} (now {len(stored)}) lines")


async def _approvals(db: Database, truth: Truth) -> None:
    votes, closed = Counter[str](), Counter[str]()
    for row in await every(db, events):
        if row.type in ("approval.voted", "approval.closed"):
            approval = re.search(r'"approval":"(\w+)"', row.body)
            assert approval
            (votes if row.type == "approval.voted" else closed)[approval[1]] += 1
    truth.decided = len(votes)
    truth.decided_twice = sum(votes[id_] != 1 or closed[id_] != 1 for id_ in votes)


async def _ledger(db: Database, fleet: Fleet, truth: Truth) -> None:
    """Execution by execution, then the budgets."""
    heard: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(fleet.provider.heard, 1):
        found = re.search(rb"(exe_\w+) call", one.raw)
        assert found
        heard[found[1].decode()].append(place)
    wrote: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in await every(db, entries):
        wrote[row.execution_id].append(dict(row._mapping))
    ledger = truth.ledger
    ledger.heard, ledger.entries = len(fleet.provider.heard), sum(map(len, wrote.values()))
    for id_ in heard.keys() | wrote.keys():
        ledger_truth.compare_one(heard[id_], wrote[id_], ledger)
    rows = await every(db, budgets)
    ledger.held_nano = sum(row.held_nano for row in rows) + sum(row.amount_nano for row in await every(db, leases))
    for row in rows:
        its = [one for some in wrote.values() for one in some if _counts(row, one)]
        ledger.budgets_off += row.spent_nano != sum(one["cost_nano"] for one in its) or row.spent_nano > row.limit_nano
        if (row.scope, row.subject) == ("flow", "frugal"):
            truth.spent_nano, truth.limit_nano = row.spent_nano, row.limit_nano
    ledger.open_journals = len(list(fleet.folder.glob("*/journal/*.journal")))


def _counts(budget: Row[Any], entry: Mapping[str, Any]) -> bool:
    mine = {"account": True, "flow": entry["flow"] == budget.subject, "run": entry["execution_id"] == budget.subject}
    return bool(mine[budget.scope])
