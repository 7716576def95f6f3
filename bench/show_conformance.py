"""Does our endpoint conform, seen through it and not past it? The official suite against the SDK's everything-server
behind a whole control plane, with an approval on one of its tools.

Prints a score for each revision and for the tasks extension; exit 0 when all are full, 1 when not, 2 when a part is
missing. `--short` runs the same: it takes a minute.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from bench.conformance import parts
from bench.conformance.scene import scene

WANTED = {"2026-07-28": 37, "2025-11-25": 30}
TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
SUITE_S = 300
_SCORE = re.compile(r"^([✓✗]) (\S+): (\d+) passed, (\d+) failed", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one run of the suite said: scenario → did all its checks pass."""

    name: str
    scenarios: dict[str, bool]
    wanted: int
    said: str

    @property
    def passed(self) -> int:
        return sum(self.scenarios.values())

    @property
    def failed(self) -> list[str]:
        return sorted(name for name, good in self.scenarios.items() if not good)

    def __bool__(self) -> bool:
        return self.passed == self.wanted


async def measure(names: Sequence[str] = (*WANTED, "tasks")) -> tuple[list[Score], int]:
    """The scores, and how often a person was asked."""
    with tempfile.TemporaryDirectory() as folder:
        async with scene(Path(folder)) as on:
            scores = [
                await (_tasks(await on.agent()) if name == "tasks" else _revision(await on.agent(), name))
                for name in names
            ]
            return scores, len(on.decided)


async def _revision(url: str, revision: str) -> Score:
    said = await _suite("--url", url, "--requirements", revision)
    unscored = set(re.findall(r"^  [✓✗] (\S+) \(", said, re.MULTILINE))
    found = {name: mark == "✓" for mark, name, _, _ in _SCORE.findall(said) if name not in unscored}
    return Score(name=revision, scenarios=found, wanted=WANTED[revision], said=said)


async def _tasks(url: str) -> Score:
    found, all_said = {}, ""
    for name in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            said = await _suite("--url", url, "--scenario", name, "-o", folder)
            found[name] = _all_good(Path(folder))
        all_said += said
    return Score(name="tasks", scenarios=found, wanted=len(TASKS), said=all_said)


def _all_good(folder: Path) -> bool:
    """Did any check succeed and none fail?"""
    checks = [check for file in folder.rglob("checks.json") for check in json.loads(file.read_text())]
    statuses = {check["status"] for check in checks}
    return "SUCCESS" in statuses and "FAILURE" not in statuses


async def _suite(*words: str) -> str:
    node = parts.node()
    assert node
    ask = partial(anyio.run_process, check=False, stderr=subprocess.STDOUT)
    with anyio.fail_after(SUITE_S):
        return (await ask([node, str(parts.script()), "server", *words])).stdout.decode(errors="replace")


def main() -> int:
    if missing := parts.missing():
        for part in missing:
            print(f"missing: {part}")
        return 2
    scores, approvals = anyio.run(measure)
    for score in scores:
        print(f"{score.name}: {score.passed}/{score.wanted}")
        if score.failed:
            print(f"{score.name} failed: {' '.join(score.failed)}")
        if "--verbose" in sys.argv:
            print(score.said)
    print(f"approvals given: {approvals}")
    return 0 if all(scores) and approvals else 1


if __name__ == "__main__":
    sys.exit(main())
