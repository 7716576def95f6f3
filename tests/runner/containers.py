"""Jobs for the Docker tests, and what one does with them."""

from dataclasses import replace

import anyio
import pytest

from runner.docker import DockerEngine
from runner.engine import Job


def job(instance: str, script: str, **fields: object) -> Job:
    labels = {"preloop.instance": instance, "preloop.execution": "exe_1"}
    made = Job(
        name=f"preloop-{instance}",
        image="preloop-test/box",
        argv=("sh", "-c", script),
        env={},
        files={},
        memory_bytes=64 << 20,
        labels=labels,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


async def docker(*words: str) -> str:
    return (await anyio.run_process(["docker", *words])).stdout.decode().strip()


async def begin(engine: DockerEngine, made: Job) -> str:
    await engine.prepare(made)
    return await engine.start(made)


async def output(engine: DockerEngine, handle: str, after: str = "") -> list[str]:
    with anyio.fail_after(60):
        return [line.text async for line in engine.logs(handle, after=after)]


async def first(engine: DockerEngine, handle: str, wanted: str) -> str:
    """The cursor after the line `wanted`."""
    with anyio.fail_after(60):
        async for line in engine.logs(handle, after=""):
            if line.text == wanted:
                return line.cursor
    pytest.fail(f"the output ended without {wanted!r}")
