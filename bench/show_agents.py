"""Every supported agent CLI, for real, in Docker: it pays once with a person's yes, and what goes wrong is told right.

    scripts/show agents [--short]

A scripted model stands behind each CLI's own wire, the one gated tool is real. Without `--short` each CLI also meets a
decline, a cancel, a spent budget, a provider that answers 401, 429 and 500 or breaks off, and a timeout; and one of its
approvals is held for six minutes. Prints `name: value` lines; exit 0 when all holds, 1 when not, 2 when a part is
missing.
"""

import sys
import tempfile
import time
from pathlib import Path

import anyio

from bench.agent_stage import PAYS, SCENES, Stage, models
from bench.figures import say
from runner import clis, images
from tests.components import COMPONENTS
from tests.journeys.plane import plane

CLIS = tuple(clis.PROGRAMS)


def missing() -> bool:
    """Is something not here that it needs? Says what, and how it comes."""
    for part in (COMPONENTS[name] for name in ("docker", "node")):
        if reason := part.missing():
            print(f"{part.name} is missing: {reason} ({part.install})", file=sys.stderr)
            return True
    return False


async def show(*, short: bool) -> bool:
    for name in CLIS:
        await images.build(name, report=lambda said: print(said, file=sys.stderr))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with plane(Path(folder), engine="docker", more=models(Path(folder), CLIS)) as (running, tools):
            stage = Stage(running, tools)
            async with anyio.create_task_group() as long:
                if not short:
                    for cli in CLIS:
                        long.start_soon(stage.play, cli, "held", SCENES["held"])
                for name, scene in {"pays": PAYS, **({} if short else SCENES)}.items():
                    if name != "held":
                        async with anyio.create_task_group() as together:
                            for cli in CLIS:
                                together.start_soon(stage.play, cli, name, scene)
    say("seconds", f"{time.monotonic() - began:.0f}")
    return stage.held


def main() -> int:
    if missing():
        return 2
    return 0 if anyio.run(lambda: show(short="--short" in sys.argv)) else 1


if __name__ == "__main__":
    sys.exit(main())
