"""Jobs for the Kubernetes tests, an engine over the small cluster, and what one does with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from runner.engine import Job
from runner.kubernetes import KubernetesEngine
from runner.kubernetes_box import Cluster as Told
from runner.kubernetes_door import KubernetesDoor
from tests.fakes.kubernetes import NAMESPACE, Agent, Cluster
from tests.fakes.kubernetes_api import kubernetes

LABELS = {"preloop.instance": "t", "preloop.execution": "exe_1"}
NAME = "preloop-t-exe-1"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The cluster, and an engine that speaks to it."""

    cluster: Cluster
    engine: KubernetesEngine
    kubeconfig: Path

    async def begin(self, made: Job | None = None) -> Agent:
        """The agent of a job that was started."""
        wanted = made or job()
        await self.engine.prepare(wanted)
        assert await self.engine.start(wanted) == wanted.name
        return await self.cluster.agent(wanted.name)

    async def output(self, after: str = "") -> list[str]:
        with anyio.fail_after(20):
            return [line.text async for line in self.engine.logs(NAME, after=after)]

    async def follow(self, into: list[str]) -> None:
        async for line in self.engine.logs(NAME, after=""):
            into.append(line.text)  # noqa: PERF401 - as they come

    async def first(self, wanted: str) -> str:
        """The cursor after the line `wanted`."""
        with anyio.fail_after(20):
            async for line in self.engine.logs(NAME, after=""):
                if line.text == wanted:
                    return line.cursor
        pytest.fail(f"the output ended without {wanted!r}")


def job(**fields: object) -> Job:
    made = Job(
        name=NAME,
        image="preloop/scripted",
        argv=("sh", ".preloop/entry.sh"),
        env={"PRELOOP_BOOTSTRAP_TOKEN": "plb_secret", "PRELOOP_MODEL": "default"},
        files={".preloop/entry.sh": b"echo hello\n", ".preloop/prompt.txt": b"Pay the invoice.", "seed": b"\0\xff"},
        labels=LABELS,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def engine_of(kubeconfig: Path, told: Told | None = None, **settings: Any) -> KubernetesEngine:
    quick = {"forsaken_s": 0.3, "pull_s": 0.3, "leaving_s": 0.3, "away_s": 10.0} | settings
    door = KubernetesDoor(NAMESPACE, kubeconfig=str(kubeconfig))
    return KubernetesEngine(door, told or Told(grace_s=1), plane="127.0.0.1", **quick)


@asynccontextmanager
async def benched(folder: Path, **settings: Any) -> AsyncIterator[Bench]:
    async with kubernetes(folder) as (cluster, kubeconfig), engine_of(kubeconfig, **settings) as engine:
        yield Bench(cluster=cluster, engine=engine, kubeconfig=kubeconfig)
        assert not cluster.refused
