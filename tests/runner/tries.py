"""Trying to get out of a container: of a job of ours, and of an ordinary one of the same image, which gets through."""

import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from runner import images
from runner.docker import DockerEngine
from tests.runner.containers import begin, docker, job, output

REACH = Path(__file__).with_name("reach.py")
IMAGE = images.tag("scripted")
GREETING = b"plane\n"


@contextmanager
def serving(host: str, port: int = 0) -> Iterator[int]:
    """Greets whoever comes; its port. On `::` it is on every address of both families."""
    dual = host == "::"
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server((host, port), family=family, dualstack_ipv6=dual) as listening:

        def greet() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.sendall(GREETING)

        thread = Thread(target=greet)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@asynccontextmanager
async def led(instance: str, port: int) -> AsyncIterator[DockerEngine]:
    """An engine whose jobs reach that port; nothing of it is left."""
    async with DockerEngine() as engine:
        await engine.lead(instance, [port])
        try:
            yield engine
        finally:
            for found in await engine.jobs(instance):
                await engine.remove(found.name)
    assert await docker("ps", "-aq", "--filter", f"label=preloop.relay={instance}") == ""
    assert await docker("network", "ls", "-q", "--filter", f"label=preloop.instance={instance}") == ""


async def tried(engine: DockerEngine, instance: str, wanted: dict[str, Any], *, part: str = "tries") -> dict[str, Any]:
    """What a job got through to."""
    made = job(
        instance,
        "",
        name=f"preloop-{instance}-{part}",
        image=IMAGE,
        memory_bytes=256 << 20,
        argv=("python3", "reach.py", json.dumps(wanted)),
        files={"reach.py": REACH.read_bytes()},
    )
    said = await output(engine, await begin(engine, made))
    return dict(json.loads(said[-1]))


async def tried_by_another(wanted: dict[str, Any], *more: str) -> dict[str, Any]:
    """What an ordinary container got through to, of the same image."""
    mount = f"{REACH}:/reach.py:ro"
    said = await docker("run", "--rm", "-v", mount, *more, IMAGE, "python3", "/reach.py", json.dumps(wanted))
    return dict(json.loads(said))


def addresses_of_this_host() -> list[str]:
    told = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout)
    found = [found["local"] for one in told for found in one["addr_info"]]
    return [f"{address}%eth0" if address.startswith("fe80") else address for address in found if address != "::1"]


async def relay_of(instance: str) -> str:
    return await docker("ps", "--filter", f"label=preloop.relay={instance}", "--format", "{{.Names}}")


async def address_of(container: str, network: str) -> str:
    found = json.loads(await docker("inspect", container))[0]["NetworkSettings"]["Networks"][network]
    assert found["IPAddress"], f"{container} does not run"
    return str(found["IPAddress"])
