"""What the capacity page is fed with, measured on this machine: `python -m bench.capacity_measured [PART…]`.

    models      CPU of a model call, and of an event of its stream
    tools       CPU of a tool call
    writes      units a second on SQLite and PostgreSQL (with fsync), and what one takes alone
    execution   writes of one whole execution with an approval, by lane
    containers  CPU of a container's life, and of each line it says
    streams     the run of 50 containers that the model is compared with

Prints `name: value` lines, which somebody copies into bench/capacity.toml. Nothing else of this is used anywhere.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import anyio
import sqlalchemy as sa

from bench import load, mcp_gateways, model_gateways
from bench.figures import postgres, say
from bench.model_answers import EVENTS, PROOFS, QUESTIONS
from bench.processes import cpu_s
from bench.queue_house import open_house
from bench.recovery_streams import START_S, streamed
from bench.show_mcp import WARM, cost_ms
from control.executions import logs
from control.identity.accounts import DEFAULT
from control.tables import executions, log_chunks
from kit.bus import Bus
from kit.db import Lane, Tx
from preloop.database import read_database
from tests.journeys.plane import plane
from tests.postgres import cluster

WRITERS, WRITES_S, IDLE_S = 64, 4.0, 5.0
LINES = 20
"""In a chunk: what an agent of 200 lines a second says in 100 ms."""
COUNTED = r'preloop_db_write_seconds_count\{lane="\w+"\} (\S+)'
QUIET, TALKING, ABREAST = 12, 12, 50
SLEEPY = """
version: 1
name: talking
agent: {{runtime: command, image: preloop/base, command: [node, -e, {talk}]}}
triggers: [{{type: manual}}]
prompt: talk
limits: {{concurrency: 1000}}
resources: {{memory: 128m, cpus: 1, pids: 64}}
"""


def model_calls() -> None:
    with tempfile.TemporaryDirectory() as at, ExitStack() as stack:
        folder = Path(at)
        folder.chmod(0o755)  # nginx's worker is somebody else when we are root
        there = stack.enter_context(model_gateways.upstream(folder))
        ours = stack.enter_context(model_gateways.preloop(folder, there))
        spent = {}
        for name in ("small", "streamed"):
            to = load.Server(name=name, url=ours.url + "/v1/chat/completions", pid=ours.pid, headers=ours.headers)
            body = folder / f"{name}.json"
            body.write_bytes(QUESTIONS[name])
            load.once(to, QUESTIONS[name], PROOFS[name])
            load.post(to, body, connections=4, seconds=1)
            spent[name] = load.post(to, body, connections=32, seconds=4)
        say("model_call_cpu_ms", f"{spent['small'].cpu_ms:.3f}")
        say("model_calls_per_s", f"{spent['small'].per_s:.0f}")
        say("stream_event_cpu_us", f"{(spent['streamed'].cpu_ms - spent['small'].cpu_ms) * 1000 / EVENTS:.1f}")


async def tool_calls() -> None:
    with tempfile.TemporaryDirectory() as at, ExitStack() as stack:
        upstream = stack.enter_context(mcp_gateways.echo())
        gateway = stack.enter_context(mcp_gateways.ours(upstream, Path(at)))
        await cost_ms(gateway.free, WARM)
        before = _writes(gateway.api, gateway.admin)
        say("tool_call_cpu_ms", f"{min([await cost_ms(gateway.free, 400) for _ in range(3)]):.2f}")
        say("tool_call_writes", f"{(_writes(gateway.api, gateway.admin) - before) / 1200:.2f}")


def _writes(api: str, token: str) -> float:
    """How many the plane has made."""
    url = api.removesuffix("/api/v1") + "/metrics"
    with urlopen(Request(url, headers={"authorization": f"Bearer {token}"})) as answer:
        return sum(float(count) for count in re.findall(COUNTED, answer.read().decode()))


async def writes() -> None:
    programs = postgres()
    with tempfile.TemporaryDirectory() as at:
        await _written("sqlite", Path(at), None)
    assert programs
    with cluster(programs) as running, tempfile.TemporaryDirectory() as at:
        for name in ("fsync", "full_page_writes"):
            statement = f"ALTER SYSTEM SET {name} = on"
            running.run("psql", "-h", str(running.folder), "-U", "preloop", "-d", "postgres", "-qc", statement)
        running.run("pg_ctl", "-D", str(running.folder / "data"), "reload")
        pid = int((running.folder / "data" / "postmaster.pid").read_text().split()[0])
        await _written("postgres", Path(at), running.make_database("capacity"), pid)


async def _written(name: str, folder: Path, url: str | None, server: int | None = None) -> None:
    """Chunks of lines by many at once, then by one alone."""
    house = await open_house(folder, url, 100)
    ids = [await house.start("flow-0") for _ in range(WRITERS)]
    text = [("2026-01-01T00:00:00.000000000Z", "agent", "info", f"line {n}") for n in range(LINES)]
    done = 0

    async def write(id_: str) -> None:
        nonlocal done

        def unit(tx: Tx) -> None:
            logs.append(tx, DEFAULT, id_, text)

        await house.db.write(unit, lane=Lane.BULK)
        done += 1

    async def on(id_: str) -> None:
        while True:
            await write(id_)

    await write(ids[0])
    there = cpu_s(server) if server else 0.0
    done, before, began = 0, time.process_time(), time.perf_counter()
    with anyio.move_on_after(WRITES_S):
        async with anyio.create_task_group() as tasks:
            for id_ in ids:
                tasks.start_soon(on, id_)
    say(f"{name}_writes_per_s", f"{done / (time.perf_counter() - began):.0f}")
    say(f"{name}_write_cpu_ms", f"{(time.process_time() - before) * 1000 / done:.3f}")
    if server:
        say(f"{name}_database_cpu_ms", f"{(cpu_s(server) - there) * 1000 / done:.3f}")
    alone = []
    for _ in range(100):
        began = time.perf_counter()
        await write(ids[0])
        alone.append(time.perf_counter() - began)
    say(f"{name}_write_alone_ms", f"{sorted(alone)[50] * 1000:.2f}")
    await house.db.close()


async def execution() -> None:
    """The example's flow, whose agent asks its model three times and two tools, one of them with an approval."""
    with tempfile.TemporaryDirectory() as at:
        async with plane(Path(at)) as (running, _):
            api, token = running.found["url"] + "/api/v1", running.found["token"]
            before, began = _writes(api, token), anyio.current_time()
            await anyio.sleep(IDLE_S)
            idle = (_writes(api, token) - before) / (anyio.current_time() - began)
            say("idle_writes_per_s", f"{idle:.1f}")
            before, began, runs = _writes(api, token), anyio.current_time(), 5
            for _round in range(runs):
                id_ = await running.trigger()
                await running.waiting(id_)
                asked = (await running.get("/approvals"))["items"]
                asking = next(one for one in asked if one["execution_id"] == id_)
                yes = {"verdict": "approved", "digest": (await running.get(f"/approvals/{asking['id']}"))["digest"]}
                async with running.http() as http:
                    (await http.post(f"/api/v1/approvals/{asking['id']}/decide", json=yes)).raise_for_status()
                await running.ended(id_)
            spent = _writes(api, token) - before - idle * (anyio.current_time() - began)
            say("execution_writes", f"{spent / runs:.1f}")


async def containers() -> None:
    """Some that say nothing, then as many that say 200 lines a second: the difference is lines and chunks."""
    quiet_s = await _lives("setTimeout(() => {}, 10000)", QUIET)
    say("container_cpu_ms", f"{quiet_s * 1000 / QUIET:.1f}")
    await _streams("talking", TALKING)


async def _lives(talk: str, count: int) -> float:
    """CPU seconds of the plane for so many containers; nobody looks at them meanwhile."""
    slots, parallel = "\n[plans.pro]\nslots = 1000\n", f"parallel = {count}"
    with tempfile.TemporaryDirectory() as at:
        async with plane(Path(at), engine="docker", more=slots, runner=parallel) as (running, _):
            await running.apply(SLEEPY.format(talk=json.dumps(talk)))
            assert running.process
            pid, before = running.process.pid, cpu_s(running.process.pid)
            await anyio.sleep(IDLE_S)
            idle = (cpu_s(pid) - before) / IDLE_S
            say("idle_cpu_ms_per_s", f"{idle * 1000:.1f}")
            before, began = cpu_s(pid), anyio.current_time()
            ids = [await running.trigger("talking", {}) for _ in range(count)]
            await anyio.sleep(count * START_S + 12)
            for id_ in ids:
                await running.ended(id_)
            return cpu_s(pid) - before - idle * (anyio.current_time() - began)


async def streams() -> None:
    await _streams("streams", ABREAST)


async def _streams(name: str, containers: int) -> None:
    for figure, value in (await run_of(containers)).items():
        say(f"{name}_{figure}", f"{value:.4g}")


async def run_of(containers: int) -> dict[str, float]:
    """So many containers that talk at once, bench/recovery_streams: figures by the model's own names."""
    with tempfile.TemporaryDirectory() as folder:
        flow = await streamed(Path(folder), containers)
        db = await read_database(Path(folder) / "data", None, Bus())
        runs = await db.read(sa.select(executions.c.created_at, executions.c.agent_started_at))
        talk = log_chunks.c.count > 4  # the others are the product's own lines
        at, lines = log_chunks.c.at, sa.func.sum(log_chunks.c.count).label("lines")
        sums = sa.select(
            sa.func.count().label("chunks"), lines, sa.func.min(at).label("first"), sa.func.max(at).label("last")
        )
        (stored,) = await db.read(sums.where(talk))
        await db.close()
    waited = max(row.agent_started_at for row in runs) - min(row.created_at for row in runs)
    return {
        "abreast": flow.abreast,
        "missing": flow.missing,
        "starts_per_s": containers / waited.total_seconds(),
        "lines_per_s": stored.lines / (stored.last - stored.first).total_seconds(),
        "p50_s": flow.p50_s,
        "p99_s": flow.p99_s,
        "cpu_s": flow.cpu_s,
        "chunks": stored.chunks,
    }


PARTS: dict[str, Callable[[], None]] = {
    "models": model_calls,
    "tools": partial(anyio.run, tool_calls),
    "writes": partial(anyio.run, writes),
    "execution": partial(anyio.run, execution),
    "containers": partial(anyio.run, containers),
    "streams": partial(anyio.run, streams),
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or PARTS:
        PARTS[chosen]()
