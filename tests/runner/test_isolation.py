"""What a hardened container reaches: the plane's port through the relay, and nothing else. Each try is also made by an
ordinary container, which gets through: so none fails for another reason."""

import json
import secrets
from collections.abc import Iterator

import anyio
import pytest

from runner import images
from runner.docker import DockerEngine
from tests.runner.containers import begin, docker, first, job, output
from tests.runner.engines import second_engine
from tests.runner.outside import Outside, outside, overheard
from tests.runner.tries import (
    GREETING,
    address_of,
    addresses_of_this_host,
    led,
    relay_of,
    serving,
    tried,
    tried_by_another,
)

pytestmark = [pytest.mark.docker, pytest.mark.node, pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
async def built(anyio_backend: str) -> None:
    await images.build("scripted", report=lambda _: None)


@pytest.fixture
def other() -> Iterator[Outside]:
    with outside() as there:
        yield there


async def test_the_world_and_its_metadata_are_unreachable(other: Outside, instance: str) -> None:
    tries = {"tcp": [[address, port] for address in other.addresses for port in other.ports], "names": []}
    with serving("10.231.255.1") as port:
        async with led(instance, port) as engine:
            assert (await tried(engine, instance, tries))["tcp"] == []
            assert other.came == []
    assert (await tried_by_another(tries))["tcp"] == tries["tcp"]
    assert len(other.came) == len(tries["tcp"])


async def test_no_resolver_is_ever_asked(other: Outside, instance: str) -> None:
    label = f"leak{secrets.token_hex(8)}"
    names = [f"{label}.example", label, f"{label}.local", f"{label}.internal"]
    asked = [[host, f"{label}.example"] for host in (*other.addresses, *addresses_of_this_host())]
    tries = {"tcp": [], "names": names, "ask": asked}
    with overheard(label.encode()) as seen:
        async with led(instance, 1) as engine:
            assert (await tried(engine, instance, tries))["names"] == []
        assert (seen, other.came) == ([], [])
        await tried_by_another(tries, "--dns", other.addresses[0])
    assert "docker0" in seen
    assert any(label.encode().hex() in line for line in other.came)


async def test_nor_is_the_one_on_this_host_s_loopback_by_the_engine_itself(box: str, instance: str) -> None:
    """Engines before 25 forward names from inside of an internal network to it: CVE-2024-29018."""
    async with second_engine(box) as second, DockerEngine(second.url) as engine:
        await output(engine, await begin(engine, job(instance, "nslookup leak.example")))
        assert second.came == []
        await second.docker("network", "create", "--internal", "ordinary", "--subnet", "10.9.0.0/29")
        await second.docker("run", "--rm", "--network", "ordinary", box, "nslookup", "leak.example")
        old = int((await second.docker("version", "--format", "{{.Server.Version}}")).partition(".")[0]) < 25
        assert bool(second.came) == old


async def test_of_this_host_one_port_is_reachable_under_one_name(instance: str) -> None:
    hosts = addresses_of_this_host()
    with serving("10.231.255.1") as port, serving("::") as service:
        async with led(instance, port) as engine:
            made = await begin(engine, job(instance, "echo ready; sleep 600", name=f"preloop-{instance}-held"))
            await first(engine, made, "ready")
            mine = json.loads(await docker("network", "inspect", made))[0]["IPAM"]["Config"][0]["Subnet"]
            around = [*hosts, mine.replace("/29", "").rpartition(".")[0] + ".1", "host.docker.internal", "gateway"]
            tries = [["preloop", port], *([host, open_] for host in around for open_ in (port, service))]
            assert (await tried(engine, instance, {"tcp": tries, "names": []}))["tcp"] == [["preloop", port]]
    free = [[host, service] for host in hosts if ":" not in host and not host.startswith("127.")]
    with serving("::", service):
        assert (await tried_by_another({"tcp": free, "names": []}))["tcp"] == free


async def test_the_relay_has_one_open_port(instance: str) -> None:
    with serving("10.231.255.1") as port:
        async with led(instance, port) as engine:
            tries = {"tcp": [], "names": [], "ports_of": ["preloop", 1, 65535]}
            assert (await tried(engine, instance, tries))["ports"] == [port]


async def test_no_agent_reaches_another_nor_another_s_relay(instance: str) -> None:
    with serving("10.231.255.1") as port:
        async with led(instance, port) as engine, led(f"{instance}x", port):
            script = "echo ready; while :; do nc -l -p 7000 -e echo hi; done"
            peer = await begin(engine, job(instance, script, name=f"preloop-{instance}-peer"))
            await first(engine, peer, "ready")
            address = await address_of(peer, peer)
            relays = [await address_of(await relay_of(name), "preloop") for name in (instance, f"{instance}x")]
            leg = await address_of(await relay_of(instance), peer)
            tries = [[address, 7000], *([held, port] for held in (*relays, leg))]
            assert (await tried(engine, instance, {"tcp": tries, "names": [peer]})) == {
                "tcp": [],
                "names": [],
                "ports": [],
            }
            inside = f"nc -w 2 {address} 7000 </dev/null"
            assert await docker("run", "--rm", "--network", peer, "preloop-test/box", "sh", "-c", inside) == "hi"


async def test_the_relay_serves_its_inner_legs_alone_and_routes_nothing(instance: str) -> None:
    with serving("10.231.255.1") as port:
        async with led(instance, port), led(f"{instance}x", port):
            mine, theirs = await relay_of(instance), await relay_of(f"{instance}x")
            outer = await address_of(theirs, "preloop")
            assert await greeting(outer, port) == b""
            script = (
                f"const end = () => process.exit(); require('net').connect({port}, '{outer}').setTimeout(2000)"
                ".on('data', () => console.log('in')).on('close', end).on('timeout', end).on('error', end)"
            )
            assert await docker("exec", mine, "node", "-e", script) == ""
            assert await docker("exec", mine, "cat", "/proc/sys/net/ipv4/ip_forward") == "0"
            config = json.loads(await docker("inspect", mine))[0]["HostConfig"]
            assert (config["CapDrop"], config["ReadonlyRootfs"]) == (["ALL"], True)
            assert config["SecurityOpt"] == ["no-new-privileges:true"]
        assert await greeting("10.231.255.1", port) == GREETING


async def greeting(host: str, port: int) -> bytes:
    """What somebody on this host is told there; nothing when he is cut off."""
    try:
        async with await anyio.connect_tcp(host, port) as client:
            return await client.receive()
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return b""
