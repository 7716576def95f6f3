"""Does a kill at any moment leave an execution undecided, an agent twice, a line lost or a call sent twice?

    scripts/show chaos [--short]

200 random SIGKILLs of the worker (`serve runner`) and of the doors (`serve web gateway mcp`) across 300 executions of
the scripted agent as processes, with approvals, declines and cancels on the way; then one delivery 50 times at once to
two processes. On SQLite and on PostgreSQL. `--short`: 8 kills, 10 executions, on SQLite; its first line says so. SEED
draws other moments. On a slow machine time ends the killing before the number is reached: the figures say how many.
Prints `name: value` lines; exit 0 when all of it holds, 1 when something does not, 2 when PostgreSQL is missing.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench import chaos_truth, chaos_twins
from bench.chaos_house import open_chaos
from bench.chaos_storm import Storm
from bench.chaos_truth import Truth
from bench.figures import postgres, say
from kit import observe
from tests.postgres import cluster

TIMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is shown."""

    kills: int
    executions: int
    abreast: int
    limit_s: float
    """When killing ends even if fewer were killed, which the figures say."""
    deliveries: int


WHOLE = Size(kills=200, executions=300, abreast=8, limit_s=3600, deliveries=10)
SHORT = Size(kills=8, executions=10, abreast=6, limit_s=25, deliveries=2)


async def storm(folder: Path, database: str | None, size: Size, seed: int) -> tuple[Storm, Truth]:
    async with open_chaos(folder, database, abreast=size.abreast) as chaos:
        raging = Storm(chaos=chaos, wanted=size.kills, executions=size.executions, seed=seed, limit_s=size.limit_s)
        await raging.rage()
        await chaos.settle()
        return raging, await chaos_truth.compare(chaos, raging)


async def shown(name: str, database: tuple[str, str] | None, size: Size, seed: int) -> bool:
    """`database`: one for the storm, one for the deliveries; without it both are files."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as at:
        raging, truth = await storm(Path(at), database[0] if database else None, size, seed)
    holds = truth.holds and raging.kills.total() > 0
    kills = f"{raging.kills.total()} of {size.kills}, {dict(raging.kills)}"
    told: dict[str, object] = {"kills": kills, "executions": len(raging.ids)}
    told |= {"verdicts": dict(raging.decided), **vars(truth), "seconds": f"{time.monotonic() - began:.0f}"}
    with tempfile.TemporaryDirectory() as at:
        url = database[1] if database else None
        named, made, odd = await chaos_twins.delivered(Path(at), url, deliveries=size.deliveries, times=TIMES)
    told["deliveries"] = f"{size.deliveries}, each {TIMES} times at once to two processes"
    told |= {"executions_of_them": made, "executions_named": named, "not_accepted": odd}
    holds &= (named, made, odd) == (size.deliveries, size.deliveries, [])
    for key, value in told.items():
        say(f"{name}_{key}", value if value or value == 0 else "none")
    say(name, "holds" if holds else "DOES NOT HOLD")
    return holds


def main() -> int:
    short = "--short" in sys.argv[1:]
    size, seed = (SHORT if short else WHOLE), int(os.environ.get("SEED", "1"))
    observe.configure("error")
    print(f"size: {size.kills} kills across {size.executions} executions{', short, SQLite alone' if short else ''}")
    if short:
        return 0 if anyio.run(shown, "sqlite", None, size, seed) else 1
    if (programs := postgres()) is None:
        return 2
    held = [anyio.run(shown, "sqlite", None, size, seed)]
    with cluster(programs) as server:
        both = server.make_database("storm"), server.make_database("twins")
        held.append(anyio.run(shown, "postgresql", both, size, seed))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
