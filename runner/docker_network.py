"""The network of the agents' containers: it leads to the control plane, under the name `preloop`, and nowhere else.

`internal` leaves out the way outside, `icc` off the way to each other, and a resolver on the container's own loopback
every name but ours: without it an engine before 25 forwards names from inside an internal network.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from aiodocker import DockerError

from kit.errors import Fault, Unsuitable
from runner.docker_door import DockerDoor, unless

PLANE_HOST = "preloop"
SUBNET = IPv4Network("10.231.255.0/24")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The gateway is the host's own address on it: the containers' listener binds there."""

    name: str = "preloop"
    subnet: IPv4Network = SUBNET

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    def host_config(self) -> dict[str, Any]:
        return {
            "NetworkMode": self.name,
            "ExtraHosts": [f"{PLANE_HOST}:{self.gateway}"],
            "Dns": ["127.0.0.1"],
            "DnsOptions": ["timeout:1", "attempts:1"],
        }


async def ensure(door: DockerDoor, network: Network) -> None:
    """Create it, or find it as it should be. May run twice, also at once."""
    async with door.asking(f"make the network {network.name}"):
        found = await _look(door, network.name)
        if found is None:
            found = await _create(door, network)
    if _shape(found) != (str(network.subnet), network.gateway, True):
        raise Unsuitable(
            "container_network_differs",
            f"There is a Docker network {network.name}, but not the one for agents: internal, {network.subnet}.",
            f"Remove it with `docker network rm {network.name}`, or set `runner.network` to its subnet.",
        )


async def _look(door: DockerDoor, name: str) -> dict[str, Any] | None:
    found = await unless(404, door.ask.networks.get(name))
    return await found.show() if found else None


async def _create(door: DockerDoor, network: Network) -> dict[str, Any]:
    wanted = {
        "Name": network.name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": True,
        "IPAM": {"Config": [{"Subnet": str(network.subnet), "Gateway": network.gateway}]},
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"preloop.network": network.name},
    }
    try:
        await unless(409, door.ask.networks.create(wanted))
    except DockerError as exc:
        if "overlaps" not in str(exc):
            raise
        raise Unsuitable(
            "container_network_taken",
            f"The subnet {network.subnet} is used by another network of this machine.",
            "Choose a free one: `runner.network` in preloop.toml.",
        ) from exc
    found = await _look(door, network.name)
    if found is None:
        raise Fault("engine_refused", f"Docker made the network {network.name} and does not know it.")
    return found


def _shape(found: dict[str, Any]) -> tuple[str, str, bool]:
    config = (found["IPAM"]["Config"] or [{}])[0]
    return config.get("Subnet", ""), config.get("Gateway", ""), bool(found["Internal"])
