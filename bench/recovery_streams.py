"""Many containers that talk at once: is every line stored, how late, and what does reading them cost?"""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio
import sqlalchemy as sa

from bench.processes import cpu_s
from control.tables import log_chunks
from kit.bus import Bus
from preloop.database import read_database
from tests.journeys.plane import plane

RATE, SECONDS = 200, 10
START_S = 0.8
"""How long a container may take to start, one after the other; all of them talk from the same moment on."""
TALK = (
    "let n = 0; const t = setInterval(() => {"
    f" const due = Math.min({RATE * SECONDS}, Math.floor((Date.now() - {{began}}) * {RATE} / 1000));"
    " let said = ''; while (n < due) said += 'line ' + n++ + '\\n'; if (said) process.stdout.write(said);"
    f" if (n === {RATE * SECONDS}) clearInterval(t) }}, 50)"
)
FLOW = """
version: 1
name: talking
agent: {{runtime: command, image: preloop/base, command: [node, -e, {talk}]}}
triggers: [{{type: manual}}]
prompt: talk
limits: {{concurrency: 1000}}
resources: {{memory: 128m, cpus: 1, pids: 64}}
"""
END_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """`missing` of `lines`; lateness is from the engine's time of a line to that of the transaction that stored it."""

    abreast: int
    """Containers that talked when the last one began."""
    lines: int
    missing: int
    p50_s: float
    p99_s: float
    cpu_s: float
    wall_s: float


async def streamed(folder: Path, containers: int) -> Streams:
    slots, parallel = "\n[plans.pro]\nslots = 1000\n", f"parallel = {containers}"
    async with plane(folder, engine="docker", more=slots, runner=parallel) as (running, _):
        begins = time.time() + containers * START_S + 5
        talk = TALK.replace("{began}", str(int(begins * 1000)))
        await running.apply(FLOW.format(talk=json.dumps(talk)))
        assert running.process
        before, began = cpu_s(running.process.pid), anyio.current_time()
        ids = [await running.trigger("talking", {}) for _ in range(containers)]
        await anyio.sleep(begins + SECONDS - time.time())  # who looks at runs all the time is not what is shown here
        for id_ in ids:
            await running.ended(id_, limit_s=END_S)
        spent, wall = cpu_s(running.process.pid) - before, anyio.current_time() - began
        db = await read_database(running.folder, None, Bus())
        try:
            late: list[float] = []
            spans: list[tuple[datetime, datetime]] = []
            missing = 0
            for id_ in ids:
                rows = await db.read(sa.select(log_chunks).where(log_chunks.c.execution_id == id_))
                rows = sorted(rows, key=lambda row: row.first)
                found = [(row.at, line) for row in rows for line in json.loads(row.lines)]
                mine = [(at, line) for at, line in found if line[1] == "agent"]
                missing += [line[3] for _, line in mine] != [f"line {n}" for n in range(RATE * SECONDS)]
                times = [datetime.fromisoformat(line[0]) for _, line in mine]
                late += [(at - said).total_seconds() for (at, _), said in zip(mine, times, strict=True)]
                spans.append((min(times), max(times)))
        finally:
            await db.close()
    last = max(first for first, _ in spans)
    return Streams(
        abreast=sum(end > last for _, end in spans),
        lines=containers * RATE * SECONDS,
        missing=missing,
        p50_s=_percentile(late, 0.5),
        p99_s=_percentile(late, 0.99),
        cpu_s=spent,
        wall_s=wall,
    )


def _percentile(values: Iterable[float], share: float) -> float:
    found = sorted(values)
    return found[min(len(found) - 1, math.ceil(len(found) * share) - 1)] if found else math.nan
