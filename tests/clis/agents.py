"""Agent CLIs on this machine, as somebody's own agents: with what `runner/agents` writes into containers, each in a
home of its own. Their programs are those of the images."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anyio

from kit.errors import Unsuitable
from runner import clis
from runner.agents import adapters, events
from runner.agents.events import Said
from runner.agents.script import WORK, Brief, assemble
from runner.engine import Job
from runner.images import CACHE
from tests.components import absent


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an agent finds us, and what it may show."""

    home: Path
    origin: str
    token: str
    prompt: str

    @property
    def said(self) -> Path:
        """Its output, also of one that never ended."""
        return self.home / "said"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a CLI."""

    code: int
    well: bool
    said: str

    def __bool__(self) -> bool:
        return self.code == 0 and self.well


async def run(name: str, at: Place) -> Ended:
    """Start a CLI in its home and wait until it ended; cancelled, it is killed. What it says stands in its home."""
    brief = Brief(
        execution_id="journey",
        model="default",
        prompt=at.prompt,
        payload_json="{}",
        control_url=at.origin,
        mcp_url=f"{at.origin}/mcp/v1",
        gateway_url=at.origin,
    )
    plan = adapters.plan(name, "docker", brief)
    job = assemble(plan, brief, name=name, instance="journey", bootstrap_token="none")
    for path, content in job.files.items():
        (at.home / path).parent.mkdir(parents=True, exist_ok=True)
        (at.home / path).write_bytes(content)
    (at.home / WORK).mkdir()
    env = {"HOME": str(at.home), "TERM": "dumb", **job.env, **_given(job, at)}
    env["PATH"] = f"{_programs(name, at.home / 'bin')}:{os.environ['PATH']}"
    with at.said.open("wb") as output:
        process = await anyio.run_process(
            ["sh", "-c", 'exec "$@"', "sh", *plan.argv],  # found on the PATH that it is given
            input=plan.stdin.encode(),
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=at.home / WORK,
            env=env,
        )
    said = at.said.read_text(errors="replace")
    return Ended(code=process.returncode, well=_well(name, said), said=said)


def _given(job: Job, at: Place) -> dict[str, str]:
    """What the entry script adds in a container: the token under its names, and paths."""
    keys = job.files[".preloop/keys"].decode().split()
    paths = dict(line.split(" ", 1) for line in job.files[".preloop/paths"].decode().splitlines())
    return dict.fromkeys(keys, at.token) | {key: str(at.home / path) for key, path in paths.items()}


def _programs(name: str, folder: Path) -> Path:
    """A folder with the CLI; where its maker has none for this machine, the test is skipped."""
    folder.mkdir()
    try:
        for program in clis.PROGRAMS[name]:
            (folder / program).symlink_to(clis.installed(name, program, CACHE))
        if name == "gemini":
            bundle = clis.folder(name, CACHE) / "node_modules/@google/gemini-cli/bundle/gemini.js"
            (folder / name).write_text(f'#!/bin/sh\nexec node {bundle} "$@"\n')
            (folder / name).chmod(0o755)
    except Unsuitable as fault:
        absent(fault.message)
    return folder


def _well(name: str, said: str) -> bool:
    """Does its last word say so?"""
    read = adapters.read(name)
    assert read
    found = [event for line in said.splitlines() if (event := events.parse(line)) is not None]
    told: list[Said] = [one for event in found for one in events.heard(read, event) or ()]
    return any(one.ok for one in [one for one in told if one.kind == "final"][-1:])
