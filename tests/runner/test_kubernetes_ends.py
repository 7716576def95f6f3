"""How a pod ends, or never begins, and what the engine makes of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from kit.errors import Missing
from runner.engine import Exit
from tests.fakes.kubernetes import Agent
from tests.runner.clusters import NAME, Bench, benched, job
from tests.waiting import until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched(tmp_path) as bench:
        yield bench


async def test_an_agent_without_memory_was_killed_for_it(bench: Bench) -> None:
    agent = await bench.begin()
    agent.end(137, reason="OOMKilled")
    assert await bench.engine.wait(NAME) == Exit(code=137, oom_killed=True)


async def test_the_time_of_the_end_is_the_clusters(bench: Bench) -> None:
    (await bench.begin()).end(0)
    ended = bench.cluster.of("pods")[0]["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    assert (await bench.engine.wait(NAME)).at == ended.replace("Z", ".000000000Z")


async def test_a_pod_that_was_thrown_out_was_killed_and_the_log_says_by_whom(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("one")
    agent.evicted("Usage of EmptyDir volume work exceeds the limit 4Gi.")
    assert await bench.engine.wait(NAME) == Exit(code=137)
    said = "The cluster ended it: Evicted: Usage of EmptyDir volume work exceeds the limit 4Gi."
    assert await bench.output() == ["one", said]


@pytest.mark.parametrize(("reason", "end"), [("Evicted", Exit(code=137)), ("NodeLost", Exit(gone=True))])
async def test_an_end_that_no_node_saw_is_what_the_cluster_did_or_a_loss(bench: Bench, reason: str, end: Exit) -> None:
    agent = await bench.begin()
    agent.end(137, reason="ContainerStatusUnknown")
    bench.cluster.of("pods")[0]["status"]["reason"] = reason
    assert await bench.engine.wait(NAME) == end


async def test_a_pod_in_its_grace_has_not_ended(bench: Bench) -> None:
    agent = await bench.begin()
    status = bench.cluster.of("pods")[0]["status"]
    status |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    with anyio.move_on_after(0.3) as waiting:
        await bench.engine.wait(NAME)
    assert waiting.cancelled_caught
    agent.end(9)
    assert await bench.engine.wait(NAME) == Exit(code=9)


async def test_files_that_could_not_be_copied_end_it_with_their_code(bench: Bench) -> None:
    await bench.begin()
    status = bench.cluster.of("pods")[0]["status"]
    failed = {"name": "files", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    waits = {"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}
    status |= {"phase": "Failed", "initContainerStatuses": [failed], "containerStatuses": [waits]}
    assert await bench.engine.wait(NAME) == Exit(code=1)


async def test_a_pod_that_somebody_removed_is_gone(bench: Bench) -> None:
    await bench.begin()
    found: list[Exit] = []

    async def wait() -> None:
        found.append(await bench.engine.wait(NAME))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: bench.cluster.watching, what="a watch")
        bench.cluster.delete_pod(bench.cluster.of("pods")[0], grace=0)
    assert found == [Exit(gone=True)]
    assert await bench.output() == ["The cluster ended it: Job has reached the backoff limit"]


async def lost(bench: Bench) -> Agent:
    """Its machine went away in mid-run."""
    agent = await bench.begin()
    agent.say("one")
    await bench.first("one")
    agent.lost()
    return agent


async def test_an_agent_on_a_machine_that_is_lost_is_gone_in_bounded_time(bench: Bench) -> None:
    await lost(bench)
    with anyio.fail_after(10):
        assert await bench.engine.wait(NAME) == Exit(gone=True)


async def test_what_a_lost_machine_held_is_forced_out_of_the_cluster(tmp_path: Path) -> None:
    async with benched(tmp_path, force_s=0.1) as bench:
        await lost(bench)
        with anyio.fail_after(10):
            await bench.engine.remove(NAME)
        assert not [kind for kind in ("jobs", "pods", "secrets") if bench.cluster.of(kind)]


async def test_a_node_that_is_silent_for_a_moment_costs_no_line(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("one")
    agent.silent = True
    got: list[str] = []

    async with anyio.create_task_group() as group:
        group.start_soon(bench.follow, got)
        opened = ("", "pods/log", "get")
        await until(lambda: bench.cluster.asked.count(opened) >= 2, what="a second try")
        agent.silent = False
        agent.end(0)
    assert got == ["one"]


@pytest.mark.parametrize("reason", ["InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError"])
async def test_an_image_that_does_not_come_is_missing(bench: Bench, reason: str) -> None:
    bench.cluster.unpulled = reason
    await bench.engine.start(job())
    with pytest.raises(Missing, match="Back-off pulling image") as missing, anyio.fail_after(10):
        await bench.engine.wait(NAME)
    assert "registry" in missing.value.hint


async def test_why_a_pod_waits_for_a_machine_is_in_its_log_once(tmp_path: Path) -> None:
    async with benched(tmp_path, silence_s=0.1) as bench:
        bench.cluster.unscheduled = "0/3 nodes are available: 3 Insufficient memory."
        await bench.engine.start(job())
        got: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(bench.follow, got)
            looks = ("", "pods", "list")
            await until(lambda: bench.cluster.asked.count(looks) >= 3, what="a third look")
            await bench.engine.stop(NAME, grace_s=1)
        assert got == ["The cluster says: Unschedulable: 0/3 nodes are available: 3 Insufficient memory."]


async def test_of_two_pods_of_one_job_the_first_counts(bench: Bench) -> None:
    """A controller that is cut off may make a second one; its agent finds the token used."""
    agent = await bench.begin()
    first = bench.cluster.objects["pods", agent.pod]
    second = {**first, "metadata": {**first["metadata"], "name": f"{NAME}-zzzzz"}, "status": {"phase": "Pending"}}
    bench.cluster.objects["pods", f"{NAME}-zzzzz"] = second
    agent.say("one")
    agent.end(0)
    assert await bench.output() == ["one"]
    assert await bench.engine.wait(NAME) == Exit(code=0)
