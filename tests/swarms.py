"""A swarm of three Docker Engines on this machine: a manager and two workers, each in a network namespace of its own.

Cables and their switch are in namespaces, too: the machine's own network never changes. All of it ends with the test,
and two of them side by side don't meet.
"""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import anyio
from anyio.abc import Process

from tests.components import need_program
from tests.waiting import until

NODES = ("n1", "n2", "n3")
MANAGER, *WORKERS = NODES
NETWORK = "agents"
_UP_S = 60
_END_S = 30
_ALONE = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"
_CLONE_NEWNET = 0x40000000


@dataclass(kw_only=True)
class Swarm:
    folder: Path
    prefix: str
    nodes: tuple[str, ...] = NODES
    ids: dict[str, str] = field(default_factory=dict)
    """Of nodes, as the swarm calls them."""

    def url(self, node: str = MANAGER) -> str:
        return f"unix://{self.folder}/{node}/socket"

    async def docker(self, node: str, *words: str, check: bool = True) -> str:
        done = await anyio.run_process(["docker", "-H", self.url(node), *words], check=False)
        assert not check or done.returncode == 0, f"{node}: docker {' '.join(words)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    async def ask(self, *words: str) -> str:
        """Of the manager."""
        return await self.docker(MANAGER, *words)

    async def label(self, node: str, label: str) -> None:
        await self.ask("node", "update", "--label-add", label, self.ids[node])

    async def made(self, label: str) -> dict[str, int]:
        """How many containers with that label each worker has ever made, of those that made any."""
        asked = ("events", "--since", "1h", "--until", "0s", "--filter", f"label={label}", "--filter", "event=create")
        found = {node: len((await self.docker(node, *asked)).splitlines()) for node in WORKERS}
        return {node: count for node, count in found.items() if count}

    async def left(self, label: str) -> dict[str, int]:
        """How many containers with that label are on each worker now, running or not, of those that have any."""
        asked = ("ps", "-a", "-q", "--filter", f"label={label}")
        found = {node: len((await self.docker(node, *asked)).split()) for node in WORKERS}
        return {node: count for node, count in found.items() if count}

    def cut(self, node: str) -> None:
        ip(f"-n {self.prefix}-hub link set {node} down")

    def heal(self, node: str) -> None:
        ip(f"-n {self.prefix}-hub link set {node} up")

    async def state(self, node: str) -> str:
        return await self.ask("node", "inspect", "--format", "{{.Status.State}}", self.ids[node])

    async def load(self, image: str, *nodes: str) -> None:
        packed = self.folder / "image.tar"
        await anyio.run_process(["docker", "save", "-o", str(packed), image])
        async with anyio.create_task_group() as loading:
            for node in nodes:
                loading.start_soon(self.docker, node, "load", "-q", "-i", str(packed))
        packed.unlink()

    async def door(self, box: str) -> str:
        """The process id of a container on the agents' network that does nothing, found there as `preloop`."""
        on = ("--network", NETWORK, "--network-alias", "preloop")
        await self.ask("run", "-d", "--name", "door", "--init", *on, box, "sleep", "3600")
        return await self.ask("inspect", "--format", "{{.State.Pid}}", "door")


@asynccontextmanager
async def swarm(*nodes: str) -> AsyncIterator[Swarm]:
    """Of these nodes, the manager first; of all when none is named."""
    need_program("dockerd")
    folder = Path(tempfile.mkdtemp(prefix="preloop-swarm-"))  # short, as sockets are in it
    made = Swarm(folder=folder, prefix=f"preloop-{secrets.token_hex(3)}", nodes=nodes or NODES)
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(_cabled(made))
            await stack.enter_async_context(_engines(made))
            await _join(made)
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _join(made: Swarm) -> None:
    for node in made.nodes:
        await until(lambda node=node: _answers(made, node), _UP_S, what=f"the engine of {node}")  # type: ignore[misc]
    await made.ask("swarm", "init", "--advertise-addr", "10.88.0.1", "--listen-addr", "10.88.0.1")
    token = await made.ask("swarm", "join-token", "-q", "worker")
    for number, node in enumerate(made.nodes, 1):
        if node != MANAGER:
            here = f"10.88.0.{number}"
            await made.docker(node, "swarm", "join", "--advertise-addr", here, "--token", token, "10.88.0.1:2377")
        made.ids[node] = await made.docker(node, "info", "--format", "{{.Swarm.NodeID}}")
    await made.ask("network", "create", "-d", "overlay", "--internal", "--attachable", NETWORK)


async def _answers(made: Swarm, node: str) -> bool:
    return bool(await made.docker(node, "version", "--format", "{{.Server.Version}}", check=False))


@contextmanager
def _cabled(made: Swarm) -> Iterator[None]:
    """A switch, and a namespace for each node with a cable to it."""
    hub = f"{made.prefix}-hub"
    spaces = [hub, *(f"{made.prefix}-{node}" for node in made.nodes)]
    try:
        for space in spaces:
            ip(f"netns add {space}")
            ip(f"-n {space} link set lo up")
        ip(f"-n {hub} link add switch type bridge")
        ip(f"-n {hub} link set switch up")
        for number, node in enumerate(made.nodes, 1):
            space = f"{made.prefix}-{node}"
            ip(f"-n {hub} link add {node} type veth peer name eth0 netns {space}")
            ip(f"-n {hub} link set {node} master switch up")
            ip(f"-n {space} addr add 10.88.0.{number}/24 dev eth0")
            ip(f"-n {space} link set eth0 up")
        yield
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], check=False, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def _engines(made: Swarm) -> AsyncIterator[None]:
    """All begin, and end, at once."""
    running: list[Process] = []
    try:
        for node in made.nodes:
            running.append(await _engine(made, node))  # noqa: PERF401 - those that began end, whatever the next does
        yield
    finally:
        with anyio.CancelScope(shield=True):
            for engine in running:
                engine.terminate()
            with anyio.move_on_after(_END_S):
                for engine in running:
                    await engine.wait()
            for engine in running:
                if engine.returncode is None:
                    engine.kill()
                await engine.aclose()
        _unmount(made.folder)


async def _engine(made: Swarm, node: str) -> Process:
    """Its namespace alone is entered: `ip netns exec` would hide the cgroups, too."""
    at = made.folder / node
    at.mkdir()
    places = f"-H {made.url(node)} --data-root {at}/data --exec-root {at}/exec -p {at}/pid"
    inside = f"exec dockerd {places} {_ALONE} --shutdown-timeout 1 >{at}/log 2>&1"
    command = ["nsenter", f"--net=/run/netns/{made.prefix}-{node}", "sh", "-c", inside]
    return await anyio.open_process(command, start_new_session=True)


def _unmount(folder: Path) -> None:
    """What an engine that was killed leaves."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", mount], check=False)


@contextmanager
def listening_in(pid: str) -> Iterator[socket.socket]:
    """A socket that listens where that process is, and is ours: connections to it leave its network for this process
    alone."""
    found: list[socket.socket] = []

    def listen() -> None:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(there, _CLONE_NEWNET):  # of this thread alone, which ends here
                raise OSError(ctypes.get_errno(), "setns")
            found.append(socket.create_server(("0.0.0.0", 0)))
        finally:
            os.close(there)

    thread = Thread(target=listen)
    thread.start()
    thread.join()
    assert found, f"could not listen where {pid} is"
    with found[0] as sock:
        yield sock


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)
