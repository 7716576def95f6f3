"""The network of one job: on it are the job's container and a relay to the control plane, under the name `preloop`.

`internal` leaves out the way outside, `inhibit_ipv4` the host's own address, a network for each job the way to another,
and a resolver on the container's own loopback every name but ours: without it an engine before 25 forwards names from
inside an internal network. Subnets are cut from a range of ours: what engines give out by themselves ends after 30.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv4Network
from typing import Any

import anyio
from aiodocker import DockerError

from kit.errors import Conflict, Fault, Unavailable
from runner.docker_door import DockerDoor, unless

PLANE_HOST = "preloop"
AGENTS = IPv4Network("10.231.0.0/17")
PREFIX = 29
"""Room for an address that engines keep for a gateway, a relay and a container; /30 has none for the third."""

_RELAY = 2
_ISOLATED_API = (1, 48)
"""Engine 28, whose gateway mode `isolated` is `inhibit_ipv4` for both families."""
_INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
_BREATH_S = 0.1


def host_config(network: str) -> dict[str, Any]:
    """What a container on a network of ours is created with."""
    return {"NetworkMode": network, "Dns": ["127.0.0.1"], "DnsOptions": ["timeout:1", "attempts:1"]}


def subnets(agents: IPv4Network, name: str) -> Iterator[IPv4Network]:
    """Every subnet of the range once, from a place of the name's own on: who comes first finds his free."""
    count = 1 << (PREFIX - agents.prefixlen)
    first = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
    for step in range(count):
        start = int(agents.network_address) + ((first + step) % count << (32 - PREFIX))
        yield IPv4Network((start, PREFIX))


def body(name: str, subnet: IPv4Network, labels: Mapping[str, str], api: tuple[int, int]) -> dict[str, Any]:
    """A create request. `api` is the version that the engine speaks."""
    modes = {f"com.docker.network.bridge.gateway_mode_ipv{family}": "isolated" for family in (4, 6)}
    return {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": True,
        "EnableIPv6": False,
        "IPAM": {"Config": [{"Subnet": str(subnet)}]},
        "Options": {_INHIBIT: "true", **(modes if api >= _ISOLATED_API else {})},
        "Labels": dict(labels),
    }


async def ensure(door: DockerDoor, name: str, labels: Mapping[str, str], agents: IPv4Network) -> str:
    """Create it, or find it as it should be; the relay's address on it. May run twice, but not at once."""
    async with door.asking(f"make the network {name}"):
        for subnet in subnets(agents, name):
            try:
                await door.ask.networks.create(body(name, subnet, labels, door.api))
            except DockerError as exc:
                if exc.status == 409:
                    return await _known(door, name, labels, agents)
                if "overlap" in exc.message:
                    continue
                raise
            return str(subnet[_RELAY])
    raise Unavailable(
        "container_networks_full",
        f"Every /{PREFIX} of {agents} is used by a network of this machine.",
        "Set `runner.agent_networks` to a wider or another range, or remove networks: `docker network prune`.",
    )


async def drop(door: DockerDoor, name: str, *relays: str) -> None:
    """Take everybody off it and remove it. May run twice. Relays are named: the engine doesn't list one that is down
    just then, and it would never start again without the network."""
    async with door.asking(f"remove the network {name}"):
        while (found := await door.network(name)) is not None:
            for member in {*(held["Name"] for held in found["Containers"].values()), *relays}:
                await door.leave(name, member)
            try:
                await unless(404, door.drop_network(name))
            except DockerError as exc:
                if exc.status != 403:  # somebody came between
                    raise
                await anyio.sleep(_BREATH_S)


async def _known(door: DockerDoor, name: str, labels: Mapping[str, str], agents: IPv4Network) -> str:
    found = await door.network(name)
    if found is None:
        raise Fault("engine_refused", f"Docker has a network {name} and does not know it.")
    subnet = IPv4Network((found["IPAM"]["Config"] or [{}])[0].get("Subnet", "0.0.0.0/0"))
    closed = found["Internal"] and found["Options"].get(_INHIBIT) == "true" and not found["EnableIPv6"]
    if not closed or found["Labels"] != dict(labels) or subnet.prefixlen != PREFIX or not subnet.subnet_of(agents):
        raise Conflict("job_name_taken", f"Another network is called {name}.", f"docker network inspect {name}")
    return str(subnet[_RELAY])
