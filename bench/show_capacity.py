"""How many agents does what hold, and how far is the model of it from a real run?

    scripts/show capacity [--short]

The 50-container run of `scripts/show recovery` is made now and compared with what the model says of it; then the
model goes on to 10,000 agents. `--short`: the comparison is with the run that is on the page.
Prints `name: value` lines; exit 0 when the rate of lines and the CPU are within a third of what was predicted, 1 when
not, 2 when a part is missing.
"""

import sys

import anyio

from bench import capacity_page as page
from bench.capacity_measured import run_of
from bench.capacity_model import streamed as predicted
from bench.capacity_scale import ROLES, scaled, wall
from bench.figures import say
from tests.components import COMPONENTS

OFF = 1 / 3
"""How far the model may be off where it says that it knows."""


def compared(measured: dict[str, float]) -> bool:
    expected = predicted(page.costs(), page.CONTAINERS, page.RATE, page.SECONDS)
    held = True
    for name in ("starts_per_s", "lines_per_s", "p50_s", "p99_s", "cpu_s"):
        model, value = getattr(expected, name), measured[name]
        off = model / value - 1
        judged = name in ("lines_per_s", "cpu_s")
        held &= not judged or abs(off) <= OFF
        limit = f", may be {OFF:.0%}" if judged else ""
        say(name, f"predicted {model:,.3g}, measured {value:,.3g}, off by {off:+.0%}{limit}")
    return held


def main() -> int:
    short = "--short" in sys.argv[1:]
    for name in () if short else ("docker", "node"):
        if reason := COMPONENTS[name].missing():
            print(f"{name} is missing: {reason} ({COMPONENTS[name].install})", file=sys.stderr)
            return 2
    measured = page.measured() if short else anyio.run(run_of, page.CONTAINERS)
    held = compared(measured)
    for role in ROLES:
        say(f"agents_of_one_{role}", wall(page.costs(), role))
    for agents in page.AGENTS:
        of = scaled(page.costs(), agents)
        needs = ", ".join(f"{of.needs[role]} {role}" for role in ROLES)
        late = f"{of.line_p99_s * 1000:.0f}, {of.model_p99_s * 1000:.0f}, {of.tool_p99_s * 1000:.0f}"
        say(f"agents_{agents}", f"{needs}; {of.load.writes:.0f} writes/s; p99 ms of line, model, tool {late}")
    say("holds", "yes" if held else "no")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
