"""Where a container can go: to the plane, and nowhere else."""

import json
from ipaddress import IPv4Network

import anyio
import pytest

from kit.errors import Conflict, Fault, Missing, Unavailable, Unsuitable
from runner import docker_network
from runner.docker import DockerEngine
from tests.runner.containers import begin, docker, first, job, output

pytestmark = pytest.mark.docker


SMALL = IPv4Network("10.231.254.0/28")
"""Room for two jobs."""


def test_every_subnet_of_the_range_is_offered_once_and_first_one_of_the_name_s_own() -> None:
    offered = [list(docker_network.subnets(IPv4Network("10.0.0.0/24"), name)) for name in ("a", "c")]
    assert [len(set(subnets)) for subnets in offered] == [32, 32]
    assert {subnet.prefixlen for subnet in offered[0]} == {29}
    assert all(subnet.subnet_of(IPv4Network("10.0.0.0/24")) for subnet in offered[0])
    assert offered[0][0] != offered[1][0]


def test_an_engine_that_knows_a_gateway_mode_is_told_it() -> None:
    bodies = [docker_network.body("n", SMALL, {}, api)["Options"] for api in ((1, 41), (1, 48), (2, 0))]
    mode = "com.docker.network.bridge.gateway_mode_ipv4"
    assert [options.get(mode) for options in bodies] == [None, "isolated", "isolated"]
    assert all(options["com.docker.network.bridge.inhibit_ipv4"] == "true" for options in bodies)


async def test_a_job_has_a_network_of_its_own_without_this_host_on_it(engine: DockerEngine, instance: str) -> None:
    made = await begin(engine, job(instance, "echo ready; sleep 600"))
    await first(engine, made, "ready")
    found = json.loads(await docker("network", "inspect", made))[0]
    subnet = IPv4Network(found["IPAM"]["Config"][0]["Subnet"])
    assert (found["Internal"], found["EnableIPv6"], subnet.prefixlen) == (True, False, 29)
    assert subnet.subnet_of(docker_network.AGENTS)
    assert str(subnet)[:-4] not in (await anyio.run_process(["ip", "route"])).stdout.decode()
    assert len(found["Containers"]) == 1
    await engine.remove(made)
    assert await docker("network", "ls", "-q", "--filter", f"name={made}") == ""
    await engine.remove(made)


async def test_a_subnet_that_is_taken_is_passed_over_until_none_is_left(box: str, instance: str) -> None:
    async with DockerEngine(agents=SMALL) as engine:
        jobs = [job(instance, "true", name=f"preloop-{instance}-{number}") for number in range(3)]
        await begin(engine, jobs[0])
        await begin(engine, jobs[1])
        with pytest.raises(Unavailable) as refused:
            await begin(engine, jobs[2])
        assert (refused.value.code, "runner.agent_networks" in refused.value.hint) == ("container_networks_full", True)
        await engine.remove(jobs[0].name)
        await begin(engine, jobs[2])
        assert {found.name for found in await engine.jobs(instance)} == {made.name for made in jobs[1:]}
        for made in jobs:
            await engine.remove(made.name)


async def test_a_network_of_the_job_s_name_that_leads_elsewhere_is_refused(engine: DockerEngine, instance: str) -> None:
    made = job(instance, "true")
    labels = [word for name, value in made.labels.items() for word in ("--label", f"{name}={value}")]
    await docker("network", "create", *labels, made.name)
    with pytest.raises(Conflict) as refused:
        await begin(engine, made)
    assert refused.value.code == "job_name_taken"
    assert await docker("inspect", "-f", "{{.State.Status}}", made.name) == "created"


async def test_the_runtime_is_passed_on(box: str, instance: str) -> None:
    async with DockerEngine(runtime="runc") as engine:
        made = await begin(engine, job(instance, "true"))
        assert json.loads(await docker("inspect", made))[0]["HostConfig"]["Runtime"] == "runc"
        await engine.remove(made)
    async with DockerEngine(runtime="nothing") as engine:
        with pytest.raises(Fault, match="nothing") as refused:
            await begin(engine, job(instance, "true"))
        assert refused.value.code == "engine_refused"
        await engine.remove(made)


async def test_neither_another_container_nor_another_network_is_reachable(engine: DockerEngine, instance: str) -> None:
    peer = await begin(engine, job(instance, "echo ready; nc -l -p 7000", name=f"preloop-{instance}-peer"))
    await first(engine, peer, "ready")
    outside = f"preloop-{instance}-outside"
    label = f"preloop.instance={instance}"
    await docker("run", "-d", "--name", outside, "--label", label, "preloop-test/box", "nc", "-l", "-p", "7000")
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    script = ""
    for name in (peer, outside):
        address = await docker("inspect", "-f", form, name)
        script += f"nc -w 1 {address} 7000 < /dev/null > /dev/null 2>&1 && echo reached {name}\n"
    handle = await begin(engine, job(instance, script + "echo done"))
    assert await output(engine, handle) == ["done"]


async def test_a_network_of_that_name_that_is_another_is_refused(box: str, instance: str) -> None:
    await docker("network", "create", "--internal", instance)
    try:
        with pytest.raises(Unsuitable) as refused:
            await DockerEngine(network=instance, subnet=IPv4Network("10.231.254.0/24")).open()
        assert refused.value.code == "container_network_differs"
    finally:
        await docker("network", "rm", instance)


async def test_a_subnet_in_use_is_refused_with_the_setting_to_change(engine: DockerEngine, instance: str) -> None:
    with pytest.raises(Unsuitable) as refused:
        await DockerEngine(network=instance).open()
    assert refused.value.code == "container_network_taken"
    assert "runner.network" in refused.value.hint


async def test_the_probe_needs_an_image_that_can_connect(engine: DockerEngine) -> None:
    with pytest.raises(Unsuitable) as refused:
        await engine.probe("preloop-test/box", "http://preloop:1")
    assert refused.value.code == "image_unsuitable"
    with pytest.raises(Missing) as missing:
        await engine.probe("preloop/nothing", "http://preloop:1")
    assert missing.value.code == "image_missing"
