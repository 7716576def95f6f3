"""The door to a Docker Engine: two clients, a time limit on every question, and its refusals as our faults.

Follow streams have a client of their own, so that many of them never keep a question waiting for a connection.
Knows aiodocker's way of failing; knows nothing of jobs.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiodocker
import aiohttp
import anyio
from aiodocker import DockerError
from aiodocker.networks import DockerNetwork
from aiodocker.volumes import DockerVolume

from kit.errors import Fault, Missing, Unavailable, Unsuitable

ASK_TIMEOUT_S = 30.0
_OPEN_TIMEOUT_S = 10.0
_NO_ANSWER = 900
"""aiodocker's status for an engine that could not be connected to."""

T = TypeVar("T")


class DockerDoor:
    """`ask` answers soon or fails; `stream` is for what stays open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._ask: aiodocker.Docker | None = None
        self._stream: aiodocker.Docker | None = None
        self.api = (0, 0)
        """The version that the engine speaks, once open."""

    @property
    def ask(self) -> aiodocker.Docker:
        assert self._ask, "open() first"
        return self._ask

    @property
    def stream(self) -> aiodocker.Docker:
        assert self._stream, "open() first"
        return self._stream

    async def open(self) -> None:
        """Raises `Unsuitable('docker_unreachable')` when no engine answers there."""
        self._ask, self._stream = _client(self.url), _client(self.url)
        try:
            async with self.asking("tell its version", _OPEN_TIMEOUT_S):
                version = await self.ask.version()
                await self.stream.version()
            self.api = _numbers(version["ApiVersion"])
        except Fault as fault:
            await self.close()
            raise Unsuitable("docker_unreachable", *_why_unreachable(self.url, fault.message)) from fault

    async def close(self) -> None:
        for client in (self._ask, self._stream):
            if client:
                await client.close()
                await client.connector.close()
        self._ask = self._stream = None

    async def open_log(self, name: str, *, since: str, follow: bool) -> aiohttp.ClientResponse | None:
        """The raw frames of a container's log; None when there is no such container. The caller closes it."""
        # aiodocker's own log() makes one text of the frames and takes a broken connection for the end.
        asked = self.stream._do_query(
            f"containers/{name}/logs",
            "GET",
            params={"stdout": True, "stderr": True, "timestamps": True, "since": since, "follow": follow},
            timeout=aiohttp.ClientTimeout(),
        )
        async with self.asking(f"open the log of {name}"):
            # 409: it is being removed, and its log with it.
            return await unless(404, unless(409, asked))

    async def open_archive(self, name: str, path: str) -> aiohttp.ClientResponse | None:
        """A tar of one path in a container; None when there is no such path or container. The caller closes it."""
        # aiodocker's own get_archive() reads all of it into memory.
        asked = self.stream._do_query(
            f"containers/{name}/archive", "GET", params={"path": path}, timeout=aiohttp.ClientTimeout()
        )
        async with self.asking(f"give {path} of {name}"):
            return await unless(404, asked)

    async def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """One that is there stays as it is."""
        async with self.asking(f"make the volume {name}"):
            await self.ask.volumes.create({"Name": name, "Labels": dict(labels)})  # type: ignore[no-untyped-call]

    async def drop_volume(self, name: str) -> None:
        await DockerVolume(self.ask, name).delete()  # type: ignore[no-untyped-call]

    async def fill(self, name: str, folder: str, archive: bytes) -> None:
        """Before the start: a running container with a read-only root takes no files."""
        container = self.ask.containers.container(name)
        async with self.asking(f"give {name} its files"):
            await container.put_archive(folder, archive)  # type: ignore[no-untyped-call]

    async def start(self, name: str) -> None:
        async with self.asking(f"start {name}"):
            await self.ask.containers.container(name).start()

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """Those with this label, as the engine lists them, running or not."""
        async with self.asking("list containers"):
            return [held._container for held in await self.ask.containers.list(all=True, filters={"label": [label]})]

    async def left_over(self, label: str) -> list[dict[str, Any]]:
        """Volumes and networks with this label, as the engine lists them."""
        async with self.asking("list volumes and networks"):
            volumes = await self.ask.volumes.list(filters={"label": [label]})  # type: ignore[no-untyped-call]
            networks = await self.ask.networks.list(filters={"label": [label]})
        return [*(volumes["Volumes"] or []), *networks]

    async def network(self, name: str) -> dict[str, Any] | None:
        return await unless(404, DockerNetwork(self.ask, name).show())  # type: ignore[no-untyped-call]

    async def drop_network(self, name: str) -> None:
        await DockerNetwork(self.ask, name).delete()  # type: ignore[no-untyped-call]

    async def join(self, network: str, endpoint: Mapping[str, Any]) -> None:
        await DockerNetwork(self.ask, network).connect(dict(endpoint))  # type: ignore[no-untyped-call]

    async def leave(self, network: str, container: str) -> None:
        """Also one that was never on it, or is no more."""
        left = DockerNetwork(self.ask, network).disconnect({"Container": container, "Force": True})  # type: ignore[no-untyped-call]
        try:
            await unless(404, left)
        except DockerError as exc:
            if "is not connected to" not in exc.message:
                raise

    @asynccontextmanager
    async def asking(self, what: str, timeout_s: float = ASK_TIMEOUT_S) -> AsyncIterator[None]:
        """Bounds what is asked inside. `what` completes "Docker refused to …"."""
        try:
            with anyio.fail_after(timeout_s):
                yield
        except TimeoutError as exc:
            raise self._silent(f"It took longer than {timeout_s:g} s to {what}.") from exc
        except DockerError as exc:
            if exc.status == _NO_ANSWER:
                raise self._silent(exc.message) from exc
            raise Fault("engine_refused", f"Docker refused to {what}: {exc.message}") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise self._silent(str(exc)) from exc

    def _silent(self, detail: str) -> Unavailable:
        return Unavailable(
            "engine_unreachable",
            f"The Docker Engine at {self.url} does not answer. {detail}",
            "Is it running? `docker info` tells, and the engine's own log says why it stopped.",
        )


async def unless(status: int, asked: Awaitable[T]) -> T | None:
    """None where the engine answers with that status, as 404 for what is not there."""
    try:
        return await asked
    except DockerError as exc:
        if exc.status == status:
            return None
        raise


def image_missing(image: str) -> Missing:
    """Images of ours are built; any other is for an operator to pull, as agents have no registry to pull from."""
    owner, _, name = image.rpartition("/")
    ours = owner == "preloop"
    hint = f"Build it: preloop images build {name.partition(':')[0]}" if ours else f"Fetch it: docker pull {image}"
    return Missing("image_missing", f"The image {image} is not on this engine.", hint)


def _client(url: str) -> aiodocker.Docker:
    # aiohttp's own limit of 100 connections hangs the 101st follower, and every question after it.
    if url.startswith("unix://"):
        # With a connector of the caller's, aiodocker wants a host to build addresses with, not the socket.
        return aiodocker.Docker("unix://localhost", aiohttp.UnixConnector(url.removeprefix("unix://"), limit=0))
    return aiodocker.Docker(url, aiohttp.TCPConnector(limit=0))


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _why_unreachable(url: str, detail: str) -> tuple[str, str]:
    if "Permission denied" in detail:
        return (
            f"We may not talk to the Docker Engine at {url}.",
            "Add your user to the group `docker` and sign in again, or run as root.",
        )
    return (
        f"No Docker Engine answers at {url}.",
        "Start it (`docker info` tells), or set `runner.engine` to `bwrap` or `auto`, if bubblewrap is installed.",
    )
