"""The outer network: between the relays, one for each plane, and this host, whose address on it the planes bind.

No agent is on it. `internal` leaves out the way outside, `icc` off the way from one relay to another. Where the planes
are containers, it is theirs: made with them, and their door stands on it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from aiodocker import DockerError

from kit.errors import Fault, Unsuitable
from runner.docker_door import DockerDoor, unless

SUBNET = IPv4Network("10.231.255.0/24")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """The gateway is the host's own address on it: the containers' listener binds there."""

    name: str = "preloop"
    subnet: IPv4Network = SUBNET
    door: str = ""
    """The address on it of a container that leads to the planes; empty: they are on this host."""

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def plane(self) -> str:
        """The address that relays dial, and nobody else may reach."""
        return self.door or self.gateway


async def ensure(door: DockerDoor, network: Outer) -> None:
    """Create it, or find it as it should be. May run twice, also at once."""
    async with door.asking(f"make the network {network.name}"):
        found = await door.network(network.name)
        if found is None and network.door:
            raise Unsuitable(
                "container_network_missing",
                f"There is no Docker network {network.name}, on which {network.door} would lead to the planes.",
                "It is made with the container that has that address; without `runner.door` this machine is the plane.",
            )
        if found is None:
            found = await _create(door, network)
    subnet, gateway, internal = _shape(found)
    if (subnet, internal) != (str(network.subnet), True) or not (network.door or gateway == network.gateway):
        raise Unsuitable(
            "container_network_differs",
            f"There is a Docker network {network.name}, but not the one for relays: internal, {network.subnet}.",
            f"Remove it with `docker network rm {network.name}`, or set `runner.network` to its subnet.",
        )


async def _create(door: DockerDoor, network: Outer) -> dict[str, Any]:
    wanted = {
        "Name": network.name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": True,
        "EnableIPv6": False,
        "IPAM": {"Config": [{"Subnet": str(network.subnet), "Gateway": network.gateway}]},
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"preloop.network": network.name},
    }
    try:
        await unless(409, door.ask.networks.create(wanted))
    except DockerError as exc:
        if "overlap" not in str(exc):
            raise
        raise Unsuitable(
            "container_network_taken",
            f"The subnet {network.subnet} is used by another network of this machine.",
            "Choose a free one: `runner.network` in preloop.toml.",
        ) from exc
    found = await door.network(network.name)
    if found is None:
        raise Fault("engine_refused", f"Docker made the network {network.name} and does not know it.")
    return found


def _shape(found: dict[str, Any]) -> tuple[str, str, bool]:
    config = (found["IPAM"]["Config"] or [{}])[0]
    return config.get("Subnet", ""), config.get("Gateway", ""), bool(found["Internal"])
