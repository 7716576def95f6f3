"""Is every event served in its turn, whatever waits before it and whatever ran before?

    scripts/show queue [--short]

10,000 executions of 20 flows are drained within the limits of account, flow and runner; the slots are shared evenly; a
claim is timed with 10,000 and with 1,000,000 finished executions behind it; real agents start in free slots. On SQLite
and on PostgreSQL. `--short` has fewer of each, and its first line says how many.
Prints `name: value` lines; exit 0 when all of it holds, 1 when something does not, 2 when PostgreSQL is missing.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from bench import queue_claims, queue_drain, queue_shares, queue_starts
from bench.figures import Sum, postgres
from kit import observe
from tests.postgres import cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is shown."""

    drained: int
    ends: int
    history: tuple[int, int]
    claims: int
    starts: int


WHOLE = Size(drained=10_000, ends=3000, history=(10_000, 1_000_000), claims=1000, starts=40)
SHORT = Size(drained=100, ends=300, history=(10_000, 100_000), claims=150, starts=5)


async def shown(database: str, make: Callable[[str], str] | None, size: Size) -> bool:
    """`make` gives an empty PostgreSQL database of a name; without it each part has a file."""
    sum_ = Sum(database)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        for name in ("drain", "shares", "starts", *(f"claims/{name}" for name in queue_claims.NAMES)):
            (at / name).mkdir(parents=True)
        both = [make(name) for name in queue_claims.NAMES] if make else None
        await queue_claims.compared(at / "claims", both, size.history, size.claims, sum_.say)
        await queue_shares.shared(at / "shares", make and make("shares"), size.ends, sum_.say)
        await queue_drain.drained(at / "drain", make and make("drain"), size.drained, sum_.say)
        await queue_starts.started(at / "starts", make and make("starts"), size.starts, sum_.say)
    return sum_.held


def main() -> int:
    size = SHORT if "--short" in sys.argv[1:] else WHOLE
    observe.configure("error")
    if (programs := postgres()) is None:
        return 2
    print("size: " + ", ".join(f"{name} {value}" for name, value in asdict(size).items()), flush=True)
    with cluster(programs) as server:
        held = [anyio.run(shown, "sqlite", None, size), anyio.run(shown, "postgresql", server.make_database, size)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
