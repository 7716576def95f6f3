"""The Kubernetes engine on a real cluster, by whoever has one: PRELOOP_TEST_KUBECONFIG names it, and
PRELOOP_TEST_KUBERNETES_IMAGE an image with a shell and wget, if busybox can't be pulled there. docs/kubernetes.md says
what must be applied before."""

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from runner.engine import Exit, Job
from runner.kubernetes import KubernetesEngine
from runner.kubernetes_box import Cluster
from runner.kubernetes_door import KubernetesDoor

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
LIMIT_S = 300


def opened() -> KubernetesEngine:
    door = KubernetesDoor("preloop-agents", kubeconfig=os.environ["PRELOOP_TEST_KUBECONFIG"])
    return KubernetesEngine(door, Cluster(disk_bytes=64 << 20, grace_s=5))


@pytest.fixture
async def engine(instance: str) -> AsyncIterator[KubernetesEngine]:
    """Whatever a test started ends with it."""
    async with opened() as engine:
        yield engine
        for found in await engine.jobs(instance):
            await engine.remove(found.name)
        assert await engine.jobs(instance) == ()


def job(instance: str, script: str, **fields: object) -> Job:
    made = Job(
        name=f"preloop-{instance}-{secrets.token_hex(4)}",
        image=os.environ.get("PRELOOP_TEST_KUBERNETES_IMAGE", "busybox:1.36"),
        argv=("sh", "-c", script),
        env={"GIVEN": "a value"},
        files={".preloop/file": b"a file\n"},
        memory_bytes=64 << 20,
        cpus=0.1,
        labels={"preloop.instance": instance, "preloop.execution": "exe_1"},
    )
    return replace(made, **fields)  # type: ignore[arg-type]


async def output(engine: KubernetesEngine, handle: str, after: str = "") -> list[str]:
    with anyio.fail_after(LIMIT_S):
        return [line.text async for line in engine.logs(handle, after=after)]


async def first(engine: KubernetesEngine, handle: str, wanted: str) -> str:
    with anyio.fail_after(LIMIT_S):
        async for line in engine.logs(handle, after=""):
            if line.text == wanted:
                return line.cursor
    pytest.fail(f"the output ended without {wanted!r}")


async def test_output_code_variables_and_files(engine: KubernetesEngine, instance: str) -> None:
    script = "id -u; pwd; echo $GIVEN; cat .preloop/file; rm .preloop/file; touch work /tmp/it $HOME/it; exit 3"
    handle = await engine.start(job(instance, script))
    assert await output(engine, handle) == ["1000", "/workspace", "a value", "a file"]
    assert await engine.wait(handle) == Exit(code=3)


async def test_starting_twice_runs_once(engine: KubernetesEngine, instance: str) -> None:
    made = job(instance, "echo ran")
    assert await engine.start(made) == await engine.start(made)
    assert await output(engine, made.name) == ["ran"]


async def test_a_fresh_engine_goes_on_after_a_cursor(engine: KubernetesEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "for n in $(seq 200); do echo $n; sleep 0.05; done"))
    cursor = await first(engine, handle, "50")
    async with opened() as later:
        assert await later.began(handle)
        assert await output(later, handle, cursor) == [str(n) for n in range(51, 201)]


async def test_stop_lets_it_say_goodbye_and_keeps_output_and_code(engine: KubernetesEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done"))
    await first(engine, handle, "ready")
    await engine.stop(handle, grace_s=5)
    assert await engine.wait(handle) == Exit(code=9)
    assert await output(engine, handle) == ["ready", "bye"]


async def test_too_much_memory_is_told_as_that(engine: KubernetesEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "exec tail /dev/zero"))
    with anyio.fail_after(LIMIT_S):
        assert await engine.wait(handle) == Exit(code=137, oom_killed=True)


async def test_an_image_that_is_not_there_is_said(engine: KubernetesEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "true", image="preloop.invalid/nothing:1"))
    with pytest.raises(Exception, match="can't start the agent"), anyio.fail_after(LIMIT_S):
        await engine.wait(handle)


async def test_a_pod_reaches_neither_the_world_nor_the_cluster(engine: KubernetesEngine, instance: str) -> None:
    """The network plugin enforces the policy: without that nothing is isolated."""
    script = (
        "for at in 1.1.1.1 169.254.169.254 $KUBERNETES_SERVICE_HOST:443; do"
        " wget -q -T 5 -O /dev/null http://$at && echo reached $at; done; nslookup kubernetes.default && echo named;"
        " ls /var/run/secrets 2>/dev/null; echo done"
    )
    said = await output(engine, await engine.start(job(instance, script)))
    assert not [line for line in said if line.startswith(("reached", "named", "kubernetes.io"))]
    assert said[-1] == "done"


async def test_removing_leaves_nothing(engine: KubernetesEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "sleep 600"))
    with anyio.fail_after(LIMIT_S):
        await engine.remove(handle)
    assert await engine.wait(handle) == Exit(gone=True)
