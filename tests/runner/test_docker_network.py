"""Where a container can go: to the plane, and nowhere else."""

from ipaddress import IPv4Network

import anyio
import anyio.abc
import pytest

from kit.errors import Missing, Unsuitable
from runner.docker import DockerEngine
from tests.runner.containers import begin, docker, first, job, output

pytestmark = pytest.mark.docker


async def test_the_plane_is_reachable_by_name_and_no_other_name_is_asked_for(
    engine: DockerEngine, instance: str
) -> None:
    listener = await anyio.create_tcp_listener(local_host=engine.network.gateway)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    script = f"grep nameserver /etc/resolv.conf; grep preloop /etc/hosts; nc -w 5 {engine.network.gateway} {port}"

    async def greet(client: anyio.abc.SocketStream) -> None:
        async with client:
            await client.send(b"hello\n")

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, greet)
        handle = await begin(engine, job(instance, script))
        told = await output(engine, handle)
        group.cancel_scope.cancel()
    assert told == ["nameserver 127.0.0.11", f"{engine.network.gateway}\tpreloop", "hello"]


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
