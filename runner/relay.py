"""The relay of one plane: a container of ours between the agents' networks and the plane's address on this host.

It outlives the plane: a next one takes it up by its name, which holds all that it was made of. One that was made of
something else stays for the agents it serves, beside the new one. The program is `images/relay/relay.js`.
"""

import json
from collections.abc import Collection
from hashlib import sha256
from ipaddress import IPv4Network
from typing import Any

import anyio
from aiodocker import DockerError

from runner import docker_box
from runner.docker_door import DockerDoor, image_missing, unless
from runner.docker_network import PLANE_HOST
from runner.docker_outer import Outer

IMAGE = "preloop/relay"
LABEL = "preloop.relay"
"""Its value is the instance; the job label is not on it, so no relay is ever taken for a job."""
_MEMORY = 256 << 20
_PIDS = 64


class Relay:
    """`ports` are those of the plane that agents may reach."""

    def __init__(
        self, door: DockerDoor, outer: Outer, *, instance: str, ports: Collection[int], agents: IPv4Network
    ) -> None:
        self._door = door
        self._outer = outer
        self._instance = instance
        self._ports = sorted(set(ports))
        self._agents = agents
        self._lock = anyio.Lock()
        self._name = ""
        self._body: dict[str, Any] = {}

    async def stand(self) -> str:
        """Its name; it runs then, made now or taken up. May run twice. Raises `Missing` without its image."""
        async with self._lock, self._door.asking("start the relay"):
            if not self._name:
                await self._settle()
            held = await unless(404, self._door.ask.containers.container(self._name).show())
            if held is None or not held["State"]["Running"]:
                await self._start(known=held is not None)
            return self._name

    async def join(self, name: str, network: str, address: str) -> None:
        """Let the relay of that name serve the agent on this network too. May run twice."""
        leg = {"IPAMConfig": {"IPv4Address": address}, "Aliases": [PLANE_HOST]}
        async with self._door.asking(f"join the relay to {network}"):
            try:
                await self._door.join(network, {"Container": name, "EndpointConfig": leg})
            except DockerError as exc:
                if exc.status != 403 or "already exists in network" not in exc.message:
                    raise

    async def sweep(self, *, last: bool = False) -> None:
        """Remove relays of this plane that serve nobody: earlier ones, and with `last` our own."""
        async with self._lock:
            # What is known of a relay that is down may name networks that are no more.
            agents = {held["Name"] for held in await self._door.left_over(f"preloop.instance={self._instance}")}
            for held in await self._door.containers(f"{LABEL}={self._instance}"):
                name = held["Names"][0].removeprefix("/")
                serves = agents & set(held["NetworkSettings"]["Networks"])
                if not serves and (last or name != self._name):
                    async with self._door.asking("remove a relay"):
                        await unless(404, self._door.ask.containers.container(name).delete(force=True, v=True))

    async def names(self) -> list[str]:
        """Every relay of this plane, also those that don't run."""
        return [held["Names"][0].removeprefix("/") for held in await self._door.containers(f"{LABEL}={self._instance}")]

    async def _settle(self) -> None:
        """What this process makes it of; a newer image counts from the next start on."""
        image = await unless(404, self._door.ask.images.inspect(IMAGE))
        if image is None:
            raise image_missing(IMAGE)
        self._body = self._request(image["Id"])
        digest = sha256(json.dumps(self._body, sort_keys=True).encode()).hexdigest()
        self._name = f"preloop-{self._instance}-relay-{digest[:12]}"

    async def _start(self, *, known: bool) -> None:
        container = self._door.ask.containers.container(self._name)
        if known:
            try:
                await container.start()
                return
            except DockerError:  # a network of its is gone: whom it served is too
                await unless(404, container.delete(force=True, v=True))
        await unless(409, self._door.ask.containers.create(self._body, name=self._name))
        await container.start()

    def _request(self, image_id: str) -> dict[str, Any]:
        doors = [f"{port}={self._outer.plane}:{port}" for port in self._ports]
        return {
            "Image": image_id,
            "Cmd": [str(self._agents), *doors],
            "User": f"{docker_box.UID}:{docker_box.UID}",
            "WorkingDir": "/",
            "Hostname": "relay",
            "Labels": {LABEL: self._instance},
            "HostConfig": {
                **docker_box.hardening(),
                "NetworkMode": self._outer.name,
                "Dns": ["127.0.0.1"],
                "Sysctls": {"net.ipv4.ip_forward": "0"},
                "RestartPolicy": {"Name": "unless-stopped"},
                "Memory": _MEMORY,
                "MemorySwap": _MEMORY,
                "PidsLimit": _PIDS,
                "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],  # of open files as many as the engine may give
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            },
        }
