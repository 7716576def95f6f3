"""The relay as a container: who makes it, who takes it up, when it goes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network

import anyio
import pytest

from kit.errors import Unsuitable
from runner import docker_probe, images
from runner.docker import DockerEngine
from tests.ports import free_port
from tests.runner.containers import begin, docker, first, job
from tests.runner.doors import token_door
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.node]


@pytest.fixture(scope="module", autouse=True)
async def built(anyio_backend: str) -> None:
    await images.build("relay", report=lambda _: None)


@pytest.fixture
def port() -> int:
    return free_port("127.0.0.1")


@asynccontextmanager
async def led(instance: str, *ports: int) -> AsyncIterator[DockerEngine]:
    async with DockerEngine() as engine:
        await engine.lead(instance, ports)
        yield engine


async def relays(instance: str) -> list[str]:
    """Their ids, running or not."""
    return (await docker("ps", "-aq", "--no-trunc", "--filter", f"label=preloop.relay={instance}")).split()


async def state(container: str) -> dict[str, object]:
    return dict(json.loads(await docker("inspect", container))[0]["State"])


async def test_it_stays_for_an_agent_and_the_next_plane_takes_it_up(instance: str, box: str, port: int) -> None:
    async with led(instance, port) as engine:
        made = await begin(engine, job(instance, "echo ready; sleep 600"))
        await first(engine, made, "ready")
        mine = await relays(instance)
        started = (await state(mine[0]))["StartedAt"]
    assert await relays(instance) == mine
    async with led(instance, port) as engine:
        assert await relays(instance) == mine
        assert (await state(mine[0]))["StartedAt"] == started
        await engine.remove(made)
    assert await relays(instance) == []


async def test_one_of_other_settings_serves_its_agents_to_their_end_beside_the_new_one(
    instance: str, box: str, port: int
) -> None:
    async with led(instance, port) as engine:
        made = await begin(engine, job(instance, "echo ready; sleep 600"))
        before = await relays(instance)
    async with led(instance, port, port + 1) as engine:
        both = await relays(instance)
        assert len(both) == 2 and set(before) < set(both)
        await engine.remove(made)
    async with led(instance, port) as engine:
        assert len(await relays(instance)) == 1
    assert await relays(instance) == []


async def test_one_that_was_removed_or_can_t_start_is_made_anew_for_the_next_agent(
    instance: str, box: str, port: int
) -> None:
    async with led(instance, port) as engine:
        (gone,) = await relays(instance)
        await docker("rm", "-f", gone)
        one = await begin(engine, job(instance, "true", name=f"preloop-{instance}-1"))
        (next_,) = await relays(instance)
        await docker("stop", "-t", "0", next_)
        await docker("rm", "-f", one)
        await docker("network", "rm", one)  # what it is to be on is gone
        two = await begin(engine, job(instance, "true", name=f"preloop-{instance}-2"))
        (third,) = await relays(instance)
        assert (await state(third))["Running"] and len({gone, next_, third}) == 3
        for made in (one, two):
            await engine.remove(made)


async def test_it_comes_back_by_itself(instance: str, port: int) -> None:
    async with led(instance, port):
        (mine,) = await relays(instance)
        before = await state(mine)
        await anyio.run_process(["kill", "-9", str(before["Pid"])])

        async def again() -> bool:
            now = await state(mine)
            return now["Running"] is True and now["StartedAt"] != before["StartedAt"]

        await until(again, 30, what="the relay to come back")
    assert await relays(instance) == []


async def test_one_whose_networks_are_no_more_goes_with_its_plane(instance: str, box: str, port: int) -> None:
    async with led(instance, port) as engine:
        made = await begin(engine, job(instance, "true"))
        (mine,) = await relays(instance)
        await docker("stop", "-t", "0", mine)
        await docker("rm", "-fv", made)
        await docker("network", "rm", made)
        await docker("volume", "rm", made)
    assert await relays(instance) == []


async def test_it_is_never_taken_for_a_job(instance: str, port: int) -> None:
    async with led(instance, port) as engine:
        assert await engine.jobs(instance) == ()


async def test_a_container_that_reaches_us_past_the_relay_is_an_error_at_the_start() -> None:
    async with DockerEngine() as engine:
        here = engine.outer.gateway
        with token_door(here) as door:
            body = docker_probe.body(images.tag("relay"), door.url, here, {"NetworkMode": "bridge"}, None)
            with pytest.raises(Unsuitable) as refused:
                await docker_probe.run(engine._door, docker_probe.name(), body, door.url, engine.outer)
    assert refused.value.code == "container_network_open"


async def test_where_planes_are_containers_their_network_is_made_with_them_and_not_by_us() -> None:
    engine = DockerEngine(network="preloop-test-nobodys", door="10.231.255.2")
    with pytest.raises(Unsuitable) as refused:
        await engine.open()
    assert refused.value.code == "container_network_missing"
    assert "preloop-test-nobodys" not in await docker("network", "ls", "--format", "{{.Name}}")


async def test_it_leads_to_the_door_of_planes_in_containers(instance: str) -> None:
    network, subnet = f"preloop-test-{instance}-door", IPv4Network("10.231.253.0/24")
    await docker("network", "create", "--internal", "--subnet", str(subnet), network)
    try:
        async with DockerEngine(network=network, subnet=subnet, door="10.231.253.2") as engine:
            await engine.lead(instance, [8081])
            (mine,) = await relays(instance)
            (told,) = json.loads(await docker("inspect", mine))
            assert told["Args"][-1] == "8081=10.231.253.2:8081"
            assert set(told["NetworkSettings"]["Networks"]) == {network}
    finally:
        await docker("network", "rm", network)
