"""Hard budgets under a race on two gateway processes, and the ledger against a provider's own count.

    scripts/show money [--short]

64 clients ask at once for budgets that can't serve them all, 200 rounds; then 10,000 requests over every wire, while
clients leave, providers break off or refuse, and gateways end by SIGTERM and SIGKILL. `--short`: 20 rounds, 400
requests.
Prints `name: value` lines; exit 0 when every nano-dollar is where it belongs, 1 when not.
"""

import logging
import sys
import tempfile
from pathlib import Path

import anyio

from bench import ledger_truth
from bench.figures import say
from tests.gateway import racing
from tests.gateway.racing import Outcome

CLIENTS = 64


async def race(rounds: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        outcome = await racing.race(Path(folder), rounds=rounds, clients=CLIENTS)
    for name, value in vars(outcome).items():
        say(f"race_{name}", value or "none" if isinstance(value, list) else value)
    return _is_exact(outcome)


def _is_exact(outcome: Outcome) -> bool:
    """Nobody spent too much, nothing is held, all was counted, and there was a race."""
    wrong = (outcome.overshoot_nano, outcome.held_nano, outcome.miscounted, outcome.strange)
    asked = outcome.rounds * CLIENTS == outcome.admitted + outcome.refused
    return not any(wrong) and asked and min(outcome.admitted, outcome.refused) > 0


async def truth(requests: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        found = await ledger_truth.drive(Path(folder), requests=requests)
    for line in found.lines():
        print(f"ledger_{line}", flush=True)
    return found.holds


async def run(short: bool) -> bool:
    exact = await race(20 if short else 200)
    same = await truth(400 if short else 10_000)
    return exact and same


def main() -> int:
    logging.disable(logging.CRITICAL)  # the provider breaks off on purpose, and its server says so each time
    held = anyio.run(run, "--short" in sys.argv[1:])
    say("holds", "yes" if held else "no")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
