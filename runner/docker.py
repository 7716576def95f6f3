"""The engine that holds each job in a hardened container of a Docker Engine.

A job is one container, one volume and one network, all called as the job and labelled as it; the handle is that name.
Nothing is removed by the engine itself: its exit code and log stay until `remove`. What a container may do is
`docker_box`, where it may go is `docker_network`, and to the control plane through `relay`.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from ipaddress import IPv4Network
from typing import Any

import aiohttp
import anyio
from aiodocker import DockerError

from kit.errors import Conflict, Fault
from kit.observe import log
from kit.together import together
from runner import docker_box, docker_network, docker_outer, docker_probe
from runner.docker_door import ASK_TIMEOUT_S, DockerDoor, image_missing, unless
from runner.docker_logs import LogReader, stamp
from runner.engine import Exit, Found, Job, LogLine
from runner.relay import Relay

_STARTS_AT_ONCE = 4  # an engine starts 4–6 containers a second however many ask
_SILENCE_S = 30.0  # after so long without a word, the engine is asked whether the job still runs
_BREATH_S = 0.2
_SIP_BYTES, _SIP_S = 16 * 1024, 0.05  # of a log that trickles, more at once is cheaper
_PARTING_S = 10.0
_ENDED = {"exited", "dead", "removing"}


class DockerEngine:
    """Open it before use: `async with DockerEngine() as engine`."""

    name = "docker"
    gives_files = True

    def __init__(
        self,
        url: str = "unix:///var/run/docker.sock",
        *,
        subnet: IPv4Network = docker_outer.SUBNET,
        network: str = "preloop",
        door: str = "",
        agents: IPv4Network = docker_network.AGENTS,
        log_max_bytes: int | None = None,
        runtime: str | None = None,
        forsaken_s: float = 10.0,
    ) -> None:
        """`network`, `subnet` and `door` are of the relays, jobs get theirs out of `agents`. `log_max_bytes` is where
        the engine rotates a log, if not by what each job's may have. `forsaken_s` is how long whoever made a container
        may take to start it."""
        self._door = DockerDoor(url)
        self.outer = docker_outer.Outer(name=network, subnet=subnet, door=door)
        self._agents = agents
        self._relay: Relay | None = None
        self._log_max_bytes = log_max_bytes
        self._runtime = runtime
        self._forsaken_s = forsaken_s
        self._cpus = 1.0

    async def __aenter__(self) -> "DockerEngine":
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Makes the relays' network, as the plane binds to its gateway. Raises `Unsuitable` where it can't work."""
        await self._door.open()
        self._starts = anyio.Semaphore(_STARTS_AT_ONCE)
        self._networks = anyio.Lock()
        try:
            async with self._door.asking("tell its size"):
                self._cpus = float((await self._door.ask.system.info())["NCPU"])
            await docker_outer.ensure(self._door, self.outer)
        except BaseException:
            await self._door.close()
            raise

    async def close(self) -> None:
        """Jobs run on, and so does the relay while there are any."""
        with anyio.CancelScope(shield=True):
            try:
                if self._relay:
                    with anyio.move_on_after(_PARTING_S):
                        await self._relay.sweep(last=True)
            except Fault as fault:
                log.warning("could not remove the relay", error=fault.message)
            finally:
                await self._door.close()

    async def lead(self, instance: str, ports: Collection[int]) -> None:
        """What is started from now on reaches these ports of the plane, at the host `preloop`; before, none. Raises
        `Missing` as long as there is no image of the relay, and looks for it again at each start."""
        self._relay = Relay(self._door, self.outer, instance=instance, ports=ports, agents=self._agents)
        await docker_outer.ensure(self._door, self.outer)
        await self._relay.stand()
        await self._relay.sweep()

    async def prepare(self, job: Job) -> None:
        await self._door.make_volume(job.name, job.labels)

    async def start(self, job: Job) -> str:
        async with self._starts:
            new, _ = await together(lambda: self._create(job), lambda: self._connect(job.name, job.labels))
            # One that has ended is adopted as it is: to start it again would be a second run.
            if new or await self._is_forsaken(job):
                await self._door.start(job.name)
        return job.name

    async def began(self, handle: str) -> bool:
        with anyio.move_on_after(self._forsaken_s):
            while (state := await self._state(handle)) is not None:
                if state["Status"] != "created":
                    return True
                await anyio.sleep(_BREATH_S)
        return False

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        reader = LogReader(after)
        running = True
        while running:
            async with aclosing(self._read(handle, reader, follow=True)) as lines:
                async for line in lines:
                    yield line
            running = _runs(await self._state(handle))
            if running:
                await anyio.sleep(_BREATH_S)
        # Followers have been seen to end early: what a plain read still finds comes now.
        async with aclosing(self._read(handle, reader, follow=False)) as lines:
            async for line in lines:
                yield line
        for line in reader.rest():
            yield line

    async def wait(self, handle: str) -> Exit:
        while _runs(state := await self._state(handle)):
            with anyio.move_on_after(_SILENCE_S):
                async with self._door.asking(f"wait for {handle}", math.inf):
                    await unless(404, self._door.stream.containers.container(handle).wait())
            if state and state["Status"] == "created":
                await anyio.sleep(_BREATH_S)
        if state is None:
            return Exit(gone=True)
        return Exit(code=state["ExitCode"], oom_killed=state["OOMKilled"], at=stamp(state["FinishedAt"]))

    async def stop(self, handle: str, *, grace_s: float) -> None:
        async with self._door.asking(f"stop {handle}", grace_s + ASK_TIMEOUT_S):
            await unless(404, self._door.stream.containers.container(handle).stop(t=math.ceil(grace_s)))

    async def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        response = await self._door.open_archive(handle, f"{docker_box.WORK}/{path}")
        if response is None:
            return
        async with response:
            while True:
                async with self._door.asking(f"give the rest of {path} of {handle}"):
                    chunk = await response.content.readany()
                if not chunk:
                    return
                yield chunk

    async def remove(self, handle: str) -> None:
        async with self._door.asking(f"remove {handle}"):
            await _until_free(lambda: self._door.ask.containers.container(handle).delete(force=True, v=True))
            await _until_free(lambda: self._door.drop_volume(handle))
        await docker_network.drop(self._door, handle, *(await self._relay.names() if self._relay else ()))

    async def jobs(self, instance: str) -> tuple[Found, ...]:
        """Every job with the label `preloop.instance` = `instance`: containers, and volumes and networks alone."""
        label = f"preloop.instance={instance}"
        left = await self._door.left_over(label)
        found = {held["Name"]: Found(name=held["Name"], labels=held["Labels"], running=False) for held in left}
        for held in await self._door.containers(label):
            name = held["Names"][0].removeprefix("/")
            found[name] = Found(name=name, labels=held["Labels"], running=held["State"] not in _ENDED)
        return tuple(found[name] for name in sorted(found))

    async def probe(self, image: str, url: str) -> None:
        """Raises `Unsuitable` unless a container of `image` reaches `url` on the plane, which must be listening, and
        not the plane's own address."""
        name = docker_probe.name()
        try:
            await self._connect(name, {})
            body = docker_probe.body(image, url, self.outer.plane, docker_network.host_config(name), self._runtime)
            await docker_probe.run(self._door, name, body, url, self.outer)
        finally:
            with anyio.CancelScope(shield=True):
                await docker_network.drop(self._door, name)

    async def _connect(self, name: str, labels: Mapping[str, str]) -> None:
        """A network of this name, with the relay on it."""
        relay = self._relay
        if relay is None:
            await self._make_network(name, labels)
            return
        address, container = await together(lambda: self._make_network(name, labels), relay.stand)
        await relay.join(container, name, address)

    async def _make_network(self, name: str, labels: Mapping[str, str]) -> str:
        async with self._networks:  # an engine makes one at a time, and two of one name when it is asked at once
            return await docker_network.ensure(self._door, name, labels, self._agents)

    async def _create(self, job: Job) -> bool:
        """Whether the container is new, its files in it; False when there was one of that name and these labels."""
        body = docker_box.container(
            job,
            docker_network.host_config(job.name),
            cpus=self._cpus,
            log_max_bytes=self._log_max_bytes,
            runtime=self._runtime,
        )
        async with self._door.asking(f"create {job.name}"):
            while True:
                if await self._create_new(job.name, body):
                    await self._fill(job)
                    return True
                if held := await unless(404, self._door.ask.containers.container(job.name).show()):
                    break
                await anyio.sleep(_BREATH_S)  # a name is taken a moment before, and after, there is a container
        if held["Config"]["Labels"] != dict(job.labels):
            raise Conflict("job_name_taken", f"Another container is called {job.name}.")
        return False

    async def _create_new(self, name: str, body: dict[str, Any]) -> bool:
        try:
            await self._door.ask.containers.create(body, name=name)
        except DockerError as exc:
            if exc.status == 404 and "image" in exc.message.lower():
                raise image_missing(body["Image"]) from exc
            if exc.status != 409:
                raise
            return False
        return True

    async def _fill(self, job: Job) -> None:
        await self._door.fill(job.name, docker_box.WORK, docker_box.archive(job.files))

    async def _is_forsaken(self, job: Job) -> bool:
        """Created by somebody who never came to start it; its files are in it now. To start it while they do could run
        it twice."""
        if await self.began(job.name) or await self._state(job.name) is None:
            return False
        await self._fill(job)
        return True

    async def _state(self, handle: str) -> dict[str, Any] | None:
        async with self._door.asking(f"look at {handle}"):
            held = await unless(404, self._door.ask.containers.container(handle).show())
        return held["State"] if held else None

    async def _read(self, handle: str, reader: LogReader, *, follow: bool) -> AsyncGenerator[LogLine]:
        response = await self._door.open_log(handle, since=reader.reopen().since, follow=follow)
        if response is None:
            return
        async with response:
            while chunk := await self._chunk(handle, response):
                for line in reader.feed(chunk):
                    yield line
                if len(chunk) < _SIP_BYTES:
                    await anyio.sleep(_SIP_S)

    async def _chunk(self, handle: str, response: aiohttp.ClientResponse) -> bytes:
        """Empty at the end of the stream, also when it stays open although the job has ended."""
        if response.content.exception() is None and (chunk := response.content.read_nowait()):
            return chunk  # nothing to wait for
        while True:
            with anyio.move_on_after(_SILENCE_S):
                async with self._door.asking(f"tell the log of {handle}", math.inf):
                    return await response.content.readany()
            if not _runs(await self._state(handle)):
                return b""


def _runs(state: dict[str, Any] | None) -> bool:
    return state is not None and state["Status"] not in _ENDED


async def _until_free(delete: Callable[[], Awaitable[object]]) -> None:
    """409 says that somebody is at it: a removal under way, a volume of a container that is just going."""
    while True:
        try:
            await delete()
            return
        except DockerError as exc:
            if exc.status == 404:
                return
            if exc.status != 409:
                raise
        await anyio.sleep(_BREATH_S)
