"""What a storm left, read from the database, the agents' spools and the payments server's journal after all ended."""

import json
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from bench.chaos_house import Chaos
from bench.chaos_storm import FINAL, Storm
from bench.processes import PYTHON, ROOT
from control import events
from control.executions import logs
from control.executions.logs import Line
from control.identity.accounts import DEFAULT
from control.tables import approvals, executions, tool_calls
from kit.bus import Bus
from kit.db import Database
from preloop.database import read_database
from runner import watch
from runner.lines import LineSplitter


@dataclass(kw_only=True)
class Truth:
    """All from `unfinished` on is to be 0."""

    ends: Counter[str] = field(default_factory=Counter)
    """Executions by state and cause."""
    agents: int = 0
    payments: int = 0
    spooled: int = 0
    """Lines of the agents' spools, markers not counted."""
    unfinished: int = 0
    """Executions that are not final, that have no end or several in their record, or whose job is still there."""
    twice_begun: int = 0
    """Executions for which more than one agent began."""
    wrong_logs: int = 0
    """Executions whose stored lines are not those of the spool, in order, numbered without gap."""
    paid_twice: int = 0
    paid_unapproved: int = 0
    """Payments above the limit without a yes."""
    unpaid: int = 0
    """Successful executions without their payment."""
    open_calls: int = 0
    broken_record: int = 0
    """1 when `preloop audit verify` says no."""
    broke: int = 0
    """Processes that ended by themselves, or would not end."""
    left: int = 0
    """Job folders and processes of agents that are still there."""
    wrong: list[str] = field(default_factory=list)
    """Executions that something is wrong with."""

    @property
    def holds(self) -> bool:
        wrong = (self.unfinished, self.twice_begun, self.wrong_logs, self.paid_twice, self.paid_unapproved)
        rest = (self.unpaid, self.open_calls, self.broken_record, self.broke, self.left)
        return not any((*wrong, *rest)) and self.payments > 0 and self.ends["SUCCEEDED"] > 0


async def compare(chaos: Chaos, storm: Storm) -> Truth:
    """After `chaos.settle`."""
    truth = Truth()
    db = await read_database(chaos.data, chaos.database, Bus())
    try:
        starts = Counter(line.split()[0] for line in lines(chaos.folder / "starts"))
        truth.agents = starts.total()
        rows = await db.read(sa.select(executions))
        truth.unfinished += storm.executions - len(rows)
        for row in rows:
            truth.ends[f"{row.state}{' ' + row.cause if row.cause else ''}"] += 1
            at = truth.unfinished + truth.wrong_logs
            truth.unfinished += not await ended_once(db, row)
            truth.wrong_logs += not await _logged(db, chaos.folder, row, truth)
            if at != truth.unfinished + truth.wrong_logs or starts[row.id] > 1:
                truth.wrong.append(row.id)
        truth.twice_begun = sum(count > 1 for count in starts.values())
        await pay(db, chaos.journal, storm.ids, rows, truth)
    finally:
        await db.close()
    truth.broke = len(chaos.doors.broke) + len(chaos.worker.broke) + chaos.ended_well.count(False)
    done = await anyio.run_process([PYTHON, "-m", "preloop", "audit", "verify"], cwd=ROOT, env=chaos.env, check=False)
    truth.broken_record = int(done.returncode != 0)
    if done.returncode:
        truth.wrong.append(done.stdout.decode()[-2000:])
    truth.left = len(list((chaos.data / "runs").glob("*/"))) + processes(chaos.data / "runs")
    return truth


async def ended_once(db: Database, row: Row[Any]) -> bool:
    told = [event.type for event in await events.read(db, DEFAULT, row.id)]
    tidy = row.job is None or row.cleaned_at is not None
    return row.state in FINAL and told.count("execution.ended") == 1 and told[-1] != "execution.claimed" and tidy


async def _logged(db: Database, folder: Path, row: Row[Any], truth: Truth) -> bool:
    """Is every line of the spool stored, once, in its place? Of a run that never began there is none."""
    stored = await log_of(db, row.id)
    numbered = [line.number for line in stored] == list(range(1, len(stored) + 1))
    spool = folder / "spools" / row.id
    if not spool.exists():
        return numbered
    said = spooled(spool.read_bytes())
    truth.spooled += len(said)
    return numbered and [line.text for line in stored if line.source != "preloop"] == said


async def log_of(db: Database, execution_id: str) -> list[Line]:
    found: list[Line] = []
    while more := await logs.read(db, DEFAULT, execution_id, after=found[-1].number if found else 0):
        found += more
    return found


async def _calls(db: Database, row: Row[Any]) -> list[str]:
    """What became of each call of an execution that paid more than once."""
    its = sa.select(tool_calls).where(tool_calls.c.execution_id == row.id).order_by(tool_calls.c.asked_at)
    told = ("id", "status", "asked_at", "sent_at", "settled_at", "delivered_at")
    return [f"{row.id}: " + " ".join(f"{name}={getattr(call, name)}" for name in told) for call in await db.read(its)]


def spooled(raw: bytes) -> list[str]:
    splitter, phase, said = LineSplitter(), watch.Phase(), []
    for text in [*(line.text for line in splitter.feed(raw)), *splitter.rest()]:
        phase, marker = watch.read(phase, text)
        if not marker:
            said.append(text)
    return said


async def pay(db: Database, journal: Path, ids: Mapping[str, int], rows: Sequence[Row[Any]], truth: Truth) -> None:
    """Compare the payments that were made with the yeses; `ids` has the number of each execution."""
    paid = Counter(json.loads(line)["recipient"] for line in lines(journal))
    truth.payments = paid.total()
    truth.paid_twice = sum(count > 1 for count in paid.values())
    said_yes = {
        row.execution_id
        for row in await db.read(
            sa.select(tool_calls.c.execution_id)
            .join(approvals, approvals.c.call_id == tool_calls.c.id)
            .where(approvals.c.status.in_(["approved", "consumed"]))
        )
    }
    for row in rows:
        number = ids.get(row.id, -1)
        mine = paid[f"person-{number}@example.com"]
        truth.paid_unapproved += bool(mine and number % 3 and row.id not in said_yes)
        truth.unpaid += row.state == "SUCCEEDED" and not mine
        if mine > 1:
            truth.wrong += await _calls(db, row)
    still = tool_calls.c.status.in_(["waiting", "ready", "sent"])
    truth.open_calls = len(await db.read(sa.select(tool_calls.c.id).where(still)))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def processes(folder: Path) -> int:
    """How many processes have this folder in their command line."""
    told = subprocess.run(["ps", "-axo", "args="], capture_output=True, text=True, check=True)
    return sum(str(folder) in line for line in told.stdout.splitlines())
