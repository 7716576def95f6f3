"""The engine over a real swarm of one node: names, secrets, what a container may, output, ends, what is refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kit.errors import Conflict, Missing, Unsuitable
from preloop.house import open_engine
from preloop.settings import load
from runner import swarm_box
from runner.engine import Exit, Job
from runner.swarm import SwarmEngine
from tests.runner.containers import job
from tests.swarms import MANAGER, NETWORK, Swarm, swarm

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def made(anyio_backend: str, box: str) -> AsyncIterator[Swarm]:
    async with swarm(MANAGER) as made:
        await made.load(box, MANAGER)
        yield made


@pytest.fixture
async def engine(made: Swarm, instance: str) -> AsyncIterator[SwarmEngine]:
    """Whatever a test started ends with it."""
    async with SwarmEngine(made.url(), swarm_box.Swarm(network=NETWORK, grace_s=1)) as engine:
        yield engine
        for found in await engine.jobs(instance):
            await engine.remove(found.name)
        assert await engine.jobs(instance) == ()
        for kind in ("service", "secret"):
            assert await made.ask(kind, "ls", "-q") == ""


async def ran(engine: SwarmEngine, made: Job) -> tuple[list[str], Exit]:
    with anyio.fail_after(60):
        await engine.prepare(made)
        handle = await engine.start(made)
        said = [line.text async for line in engine.logs(handle, after="")]
        return said, await engine.wait(handle)


async def test_a_job_finds_its_files_and_variables_and_its_code_is_told(engine: SwarmEngine, instance: str) -> None:
    files = {"a/prompt": b"Pay.\n", "seed": b"\0'\\"}
    script = 'cat a/prompt; od -An -tx1 seed; echo "$TOLD"; rm a/prompt && echo mine; exit 3'
    said, ended = await ran(engine, job(instance, script, files=files, env={"TOLD": "it's"}))
    assert [line.strip() for line in said] == ["Pay.", "00 27 5c", "it's", "mine"]
    assert (ended.code, ended.gone) == (3, False)


async def test_a_container_is_closed_and_its_network_leads_nowhere(
    engine: SwarmEngine, instance: str, made: Swarm
) -> None:
    script = """
id -u; grep CapBnd /proc/self/status; touch /bin/x 2>/dev/null || echo read-only; ulimit -n
cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max
ip route | grep -c default; nc -w 2 10.88.0.1 2377 2>&1 || echo no host
nslookup example.com 2>&1 | grep -q 'Address.*[0-9]$' || echo no names
"""
    said, _ = await ran(engine, job(instance, script, pids=77))
    assert said[:6] == ["1000", "CapBnd:\t0000000000000000", "read-only", "4096", "77", "0"]
    assert said[-2:] == ["no host", "no names"]
    (service,) = json.loads(await made.ask("service", "inspect", f"preloop-{instance}"))
    room = service["Spec"]["TaskTemplate"]["Resources"]
    assert room["Reservations"] == {"NanoCPUs": 10**9, "MemoryBytes": 64 << 20}


async def test_a_second_start_meets_the_first_also_when_that_has_ended(
    engine: SwarmEngine, instance: str, made: Swarm
) -> None:
    first = job(instance, "echo once; exit 4")
    handle = await engine.start(first)
    assert await engine.start(first) == handle
    assert (await engine.wait(handle)).code == 4
    assert await engine.start(first) == handle
    assert len((await made.ask("service", "ps", "-q", handle)).split()) == 1
    with pytest.raises(Conflict):
        await engine.start(job(instance, "true", labels={"preloop.instance": instance, "preloop.execution": "exe_2"}))


async def test_another_runner_takes_a_job_up_and_reads_on_after_its_cursor(
    engine: SwarmEngine, instance: str, made: Swarm
) -> None:
    script = "for n in 1 2 3; do echo $n; done; until [ -e go ]; do sleep 0.1; done; echo 4; printf 5"
    handle = await engine.start(job(instance, script))
    cursor = ""
    with anyio.fail_after(60):
        async for line in engine.logs(handle, after=""):
            cursor = line.cursor
            if line.text == "2":
                break
    container = await made.ask("ps", "-q", "--filter", "label=preloop.execution=exe_1")
    async with SwarmEngine(made.url(), swarm_box.Swarm(network=NETWORK, grace_s=1)) as other:
        assert await other.began(handle)
        assert [found.running for found in await other.jobs(instance)] == [True]
        await made.ask("exec", container, "touch", "go")
        with anyio.fail_after(60):
            assert [line.text async for line in other.logs(handle, after=cursor)] == ["3", "4", "5"]
        assert await other.wait(handle) == Exit(code=0)


async def test_a_stop_keeps_code_and_last_words_and_a_removed_job_is_gone(engine: SwarmEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "trap 'echo bye; exit 7' TERM; echo hi; while :; do sleep 0.1; done"))
    with anyio.fail_after(60):
        async for line in engine.logs(handle, after=""):
            if line.text == "hi":
                break
        await engine.stop(handle, grace_s=1)
        await engine.stop(handle, grace_s=1)
        assert await engine.wait(handle) == Exit(code=7)
        assert [line.text async for line in engine.logs(handle, after="")] == ["hi", "bye"]
        await engine.remove(handle)
        await engine.remove(handle)
    assert not await engine.began(handle)
    assert (await engine.wait(handle)).gone
    assert [line.text async for line in engine.logs(handle, after="")] == []


async def test_a_job_that_has_no_place_says_so_and_can_be_stopped(made: Swarm, instance: str) -> None:
    nowhere = swarm_box.Swarm(network=NETWORK, constraints=("node.labels.gpu==yes",))
    async with SwarmEngine(made.url(), nowhere) as engine:
        handle = await engine.start(job(instance, "true"))
        with anyio.fail_after(30):
            async for line in engine.logs(handle, after=""):
                assert line.ours
                assert "The swarm says: no suitable node" in line.text
                break
            await engine.stop(handle, grace_s=1)
        assert await engine.jobs(instance) == ()


async def test_an_image_that_no_node_has_is_named(engine: SwarmEngine, instance: str) -> None:
    handle = await engine.start(job(instance, "true", image="preloop-test/nowhere"))
    with anyio.fail_after(60), pytest.raises(Missing, match="preloop-test/nowhere"):
        await engine.wait(handle)


async def test_a_secret_that_a_dead_runner_left_is_found_and_removed(
    engine: SwarmEngine, instance: str, made: Swarm
) -> None:
    labels = (f"--label=preloop.instance={instance}", "--label=preloop.execution=exe_1")
    await made.ask("secret", "create", *labels, f"preloop-{instance}", "/etc/hostname")
    assert [(found.name, found.running) for found in await engine.jobs(instance)] == [(f"preloop-{instance}", False)]
    await engine.remove(f"preloop-{instance}")
    assert await engine.jobs(instance) == ()


async def test_a_network_that_leads_outside_is_refused(made: Swarm) -> None:
    await made.ask("network", "create", "-d", "overlay", "open")
    for network, code in {"open": "network_open", "host": "network_open", "none-such": "network_missing"}.items():
        with pytest.raises(Unsuitable) as refused:
            await SwarmEngine(made.url(), swarm_box.Swarm(network=network)).open()
        assert (refused.value.code, "--internal" in refused.value.hint) == (code, True)


async def test_an_engine_that_is_no_manager_and_a_swarm_that_forgets_are_refused(made: Swarm) -> None:
    with pytest.raises(Unsuitable, match="no manager"):
        await SwarmEngine("unix:///var/run/docker.sock", swarm_box.Swarm()).open()
    await made.ask("swarm", "update", "--task-history-limit", "1")
    try:
        with pytest.raises(Unsuitable, match="keeps 1 ended tasks"):
            await SwarmEngine(made.url(), swarm_box.Swarm(network=NETWORK)).open()
    finally:
        await made.ask("swarm", "update", "--task-history-limit", "5")


async def test_what_settings_say_of_a_swarm_is_in_its_services(made: Swarm, instance: str, tmp_path: Path) -> None:
    config = tmp_path / "preloop.toml"
    config.write_text(f"""
[runner]
engine = "swarm"
docker_socket = "{made.url()}"
stop_grace_s = 9
swarm = {{network = "{NETWORK}", registry = "registry.example.com", constraints = ["node.labels.a==b"]}}
""")
    async with open_engine(load(config=config, data=tmp_path / "data")) as place:
        assert not isinstance(place, str)
        assert (place.engine.name, place.host, place.gateway) == ("swarm", "preloop", None)
        handle = await place.engine.start(job(instance, "true", image="preloop/codex"))
        (service,) = json.loads(await made.ask("service", "inspect", handle))
        await place.engine.remove(handle)
    template: dict[str, Any] = service["Spec"]["TaskTemplate"]
    assert template["ContainerSpec"]["Image"] == "registry.example.com/preloop/codex"
    assert template["ContainerSpec"]["StopGracePeriod"] == 9 * 10**9
    assert template["Placement"]["Constraints"] == ["node.labels.a==b"]
