"""The Kubernetes engine over a small API server that refuses what a real one refuses, with the runner's own Role."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from kit.errors import Conflict, Fault, Invalid, Unsuitable
from runner.engine import Exit
from runner.kubernetes_door import KubernetesDoor
from tests.fakes.kubernetes import NAMESPACE
from tests.fakes.kubernetes_api import kubernetes
from tests.runner.clusters import LABELS, NAME, Bench, benched, engine_of, job
from tests.waiting import until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched(tmp_path) as bench:
        yield bench


async def test_output_and_code_of_a_job(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("one")
    agent.say("two")
    agent.end(3)
    assert await bench.output() == ["one", "two"]
    assert await bench.engine.wait(NAME) == Exit(code=3)
    assert await bench.engine.wait(NAME) == Exit(code=3)


async def test_an_agent_is_given_its_variables_and_files(bench: Bench) -> None:
    agent = await bench.begin()
    made = job()
    assert agent.env == {"HOME": "/home/agent", **made.env}
    assert agent.files == made.files


async def test_what_differs_between_runs_is_in_the_secret_alone(bench: Bench) -> None:
    await bench.begin()
    shown = str(bench.cluster.of("pods")) + str(bench.cluster.of("jobs"))
    assert not [secret for secret in ("plb_secret", "Pay the invoice", "echo hello") if secret in shown]


async def test_starting_twice_runs_once(bench: Bench) -> None:
    await bench.begin()
    await bench.begin()
    assert [len(bench.cluster.of(kind)) for kind in ("jobs", "pods", "secrets")] == [1, 1, 1]


async def test_many_starters_at_once_run_it_once(bench: Bench) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(bench.engine.start, job())
    assert [len(bench.cluster.of(kind)) for kind in ("jobs", "pods", "secrets")] == [1, 1, 1]


async def test_another_job_of_that_name_is_not_adopted(bench: Bench) -> None:
    await bench.begin()
    with pytest.raises(Conflict, match="Another Job"):
        await bench.engine.start(job(labels={**LABELS, "preloop.instance": "else"}))


async def test_a_job_that_was_made_and_not_let_go_never_began(bench: Bench) -> None:
    """Its maker died between the two: whoever finds it starts it, with files."""
    bench.cluster.rules = [rule for rule in bench.cluster.rules if "secrets" not in rule["resources"]]
    with pytest.raises(Fault, match="refused to keep the files"):
        await bench.engine.start(job())
    assert not await bench.engine.began(NAME)
    bench.cluster.rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]})
    await bench.begin()
    assert await bench.engine.began(NAME)


async def test_a_fresh_engine_adopts_what_another_started(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("one")
    cursor = await bench.first("one")
    async with engine_of(bench.kubeconfig) as later:
        assert await later.began(NAME)
        assert [(found.name, dict(found.labels), found.running) for found in await later.jobs("t")] == [
            (NAME, LABELS, True)
        ]
        agent.say("two")
        agent.end(4)
        with anyio.fail_after(20):
            assert [line.text async for line in later.logs(NAME, after=cursor)] == ["two"]
        assert await later.wait(NAME) == Exit(code=4)
        assert [found.running for found in await later.jobs("t")] == [False]


async def test_only_jobs_of_the_instance_are_listed(bench: Bench) -> None:
    await bench.begin()
    assert await bench.engine.jobs("u") == ()


async def test_stop_ends_the_agent_and_keeps_its_output_and_code(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("ready")
    with anyio.fail_after(20):
        await bench.engine.stop(NAME, grace_s=1)
    assert await bench.engine.wait(NAME) == Exit(code=143)
    assert await bench.output() == ["ready"]
    await bench.engine.stop(NAME, grace_s=1)


async def test_stop_kills_what_ignores_it(bench: Bench) -> None:
    agent = await bench.begin()
    agent.deaf = True
    await bench.engine.stop(NAME, grace_s=1)
    assert await bench.engine.wait(NAME) == Exit(code=137)


async def test_stopping_what_never_began_leaves_nothing(bench: Bench) -> None:
    bench.cluster.unscheduled = "0/3 nodes are available"
    await bench.engine.start(job())
    await bench.engine.stop(NAME, grace_s=1)
    assert await bench.engine.wait(NAME) == Exit(gone=True)
    assert not [bench.cluster.of(kind) for kind in ("jobs", "pods", "secrets") if bench.cluster.of(kind)]


async def test_removing_ends_it_and_leaves_nothing(bench: Bench) -> None:
    await bench.begin()
    for _ in range(2):
        with anyio.fail_after(20):
            await bench.engine.remove(NAME)
    assert not [kind for kind in ("jobs", "pods", "secrets") if bench.cluster.of(kind)]
    await bench.begin()  # the name is free again


async def test_a_job_nobody_knows_is_gone(bench: Bench) -> None:
    assert await bench.engine.wait("never") == Exit(gone=True)
    assert [line async for line in bench.engine.logs("never", after="")] == []
    assert not await bench.engine.began("never")
    await bench.engine.stop("never", grace_s=1)
    await bench.engine.remove("never")


async def test_a_life_needs_every_right_of_the_role_and_no_other(bench: Bench) -> None:
    agent = await bench.begin()
    await bench.engine.jobs("t")
    agent.say("one")
    async with anyio.create_task_group() as group:
        group.start_soon(bench.engine.wait, NAME)
        await until(lambda: bench.cluster.watching, what="a watch")
        await bench.engine.stop(NAME, grace_s=1)
    assert await bench.output() == ["one"]
    await bench.engine.remove(NAME)
    used = set(bench.cluster.asked)
    given = {
        (group_, kind, verb)
        for rule in bench.cluster.rules
        for group_ in rule["apiGroups"]
        for kind in rule["resources"]
        for verb in rule["verbs"]
    }
    forced = {("", "pods", "delete")}  # of a node that is lost
    checked_by_the_server = {("batch", "jobs/finalizers", "update")}
    assert used == given - forced - checked_by_the_server


async def test_files_that_no_secret_holds_are_refused_by_name(bench: Bench) -> None:
    with pytest.raises(Invalid, match="1048576"):
        await bench.engine.start(job(files={"large": bytes(2 << 20)}))


async def test_a_cluster_whose_server_is_away_for_a_moment_keeps_its_runs(bench: Bench) -> None:
    agent = await bench.begin()
    found: list[Exit] = []

    async def wait() -> None:
        found.append(await bench.engine.wait(NAME))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: bench.cluster.watching, what="a watch")
        bench.cluster.down = True
        bench.cluster.tell()
        await until(lambda: bench.cluster.turned_away > 1, what="two questions that found nobody")
        agent.end(7)
        bench.cluster.down = False
    assert found == [Exit(code=7)]


@pytest.mark.parametrize("as_status", [False, True])
async def test_a_version_that_is_forgotten_is_another_look(bench: Bench, as_status: bool) -> None:
    agent = await bench.begin()
    bench.cluster.forgotten = 1 << 30
    bench.cluster.gone_as_status = as_status
    async with anyio.create_task_group() as group:
        group.start_soon(bench.engine.wait, NAME)
        watches = ("", "pods", "watch")
        await until(lambda: bench.cluster.asked.count(watches) > 1, what="a second watch")
        agent.end(0)
    assert await bench.engine.wait(NAME) == Exit(code=0)


async def test_a_token_that_is_not_ours_is_said_at_the_start(tmp_path: Path) -> None:
    async with kubernetes(tmp_path) as (_, kubeconfig):
        kubeconfig.write_text(kubeconfig.read_text().replace("of-the-runner", "of-another"))
        with pytest.raises(Unsuitable, match="Unauthorized"):
            await engine_of(kubeconfig).open()


async def test_a_runner_without_its_role_is_told_where_it_is(tmp_path: Path) -> None:
    async with kubernetes(tmp_path) as (cluster, kubeconfig):
        cluster.rules = []
        with pytest.raises(Unsuitable, match="cannot list") as refused:
            await engine_of(kubeconfig).open()
        assert "runner-role.yaml" in refused.value.hint


@pytest.mark.parametrize(
    "change", [None, {"policyTypes": ["Ingress"]}, {"podSelector": {"matchLabels": {"app": "other"}}}]
)
async def test_a_namespace_that_lets_agents_go_anywhere_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    async with kubernetes(tmp_path) as (cluster, kubeconfig):
        if change is None:
            cluster.drop("networkpolicies", "preloop-agents")
        else:
            cluster.objects["networkpolicies", "preloop-agents"]["spec"] |= change
        with pytest.raises(Unsuitable, match="where agents may go"):
            await engine_of(kubeconfig).open()


async def test_a_cluster_that_is_not_there_is_unsuitable(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match="Nothing says where the cluster is"):
        await KubernetesDoor(NAMESPACE).open()
    async with kubernetes(tmp_path) as (_, kubeconfig):
        pass
    with pytest.raises(Unsuitable, match="No Kubernetes API server answers"):
        await engine_of(kubeconfig).open()
