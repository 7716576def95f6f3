"""Does a plane that dies lose a line, run an agent twice, or leave something behind? And does it keep up with many?

    scripts/show recovery [--short]

50 SIGKILLs of the plane at random moments under agents in Docker: counting ones, the scripted one, and Codex with a
scripted model; then 50 containers at 200 lines a second. `--short`: 5 kills, 8 containers. SEED draws other moments.
Prints `name: value` lines; exit 0 when all of it holds, 1 when something does not, 2 when a part is missing.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.figures import say
from bench.recovery_kills import killed
from bench.recovery_streams import RATE, streamed
from runner import images
from tests.components import COMPONENTS

P99_S = 1.0
IMAGES = ("base", "scripted", "codex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is shown."""

    kills: int
    abreast: int
    containers: int


WHOLE = Size(kills=50, abreast=8, containers=50)
SHORT = Size(kills=5, abreast=4, containers=8)


async def shown(size: Size, seed: int) -> bool:
    for name in IMAGES:
        await images.build(name, report=lambda said: print(said, file=sys.stderr))
    with tempfile.TemporaryDirectory() as at:
        seen = await killed(Path(at), kills=size.kills, abreast=size.abreast, seed=seed)
    say("kills", seen.kills)
    say("executions", f"{seen.ends.total()}, {dict(seen.ends)}")
    say("containers_begun_per_execution", sorted(set(seen.begun.values())))
    say("executions_with_torn_logs", len(seen.torn))
    say("payments_per_recipient", sorted(set(seen.paid.values())))
    say("left_after_a_minute", seen.left or "nothing")
    with tempfile.TemporaryDirectory() as at:
        flow = await streamed(Path(at), size.containers)
    say("containers_that_talk", f"{size.containers} at {RATE} lines/s")
    say("containers_abreast", flow.abreast)
    say("lines", flow.lines)
    say("containers_with_missing_lines", flow.missing)
    say("line_to_row_s", f"p50 {flow.p50_s:.3f}, p99 {flow.p99_s:.3f} (may be {P99_S:g})")
    say("cpu_of_the_plane_s", f"{flow.cpu_s:.1f} over {flow.wall_s:.1f}")
    holds = seen.holds and flow.abreast == size.containers and not flow.missing and flow.p99_s <= P99_S
    say("holds", "yes" if holds else "no")
    return holds


def main() -> int:
    for name in ("docker", "node"):
        if reason := COMPONENTS[name].missing():
            print(f"{name} is missing: {reason} ({COMPONENTS[name].install})", file=sys.stderr)
            return 2
    size = SHORT if "--short" in sys.argv[1:] else WHOLE
    return 0 if anyio.run(shown, size, int(os.environ.get("SEED", "1"))) else 1


if __name__ == "__main__":
    sys.exit(main())
