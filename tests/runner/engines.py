"""A Docker Engine of a test's own, on a host whose resolver listens on the loopback. In a network
namespace of its own, so that the engine that is here never notices."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import anyio

from tests.components import need_program
from tests.runner.outside import SERVER
from tests.waiting import until

RESOLVER = "127.0.0.2"  # an engine looks past 127.0.0.53, to what systemd itself asks
UP_S = 60


@dataclass
class Second:
    """`came` is what its host's resolver was asked."""

    url: str
    came: list[str] = field(default_factory=list)

    async def docker(self, *words: str, stdin: bytes | None = None) -> str:
        done = await anyio.run_process(["docker", "-H", self.url, *words], input=stdin, check=False)
        return done.stdout.decode()


@contextmanager
def _resolving(found: Second, engine: str) -> Iterator[None]:
    """The loopback of that engine's host has a resolver, which tells."""
    command = ["nsenter", "-t", engine, "-n", sys.executable, str(SERVER), RESOLVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as resolver:
        assert resolver.stdout
        assert resolver.stdout.readline() == "ready\n"
        listening = Thread(target=lambda: found.came.extend(map(str.strip, resolver.stdout or ())))
        listening.start()
        try:
            yield
        finally:
            resolver.kill()
            listening.join()


@asynccontextmanager
async def second_engine(image: str) -> AsyncIterator[Second]:
    """With that image of the first one in it."""
    need_program("dockerd")
    folder = Path(tempfile.mkdtemp(prefix="preloop-engine-"))
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    found = Second(f"unix://{folder}/socket")
    inside = f"""
ip link set lo up && mount --bind {folder}/resolv.conf /etc/resolv.conf && cd {folder} || exit
exec dockerd -H {found.url} --bridge=none --data-root {folder}/data --exec-root {folder}/exec -p {folder}/pid 2>log
"""
    async with await anyio.open_process(["unshare", "-n", "-m", "sh", "-c", inside]) as engine:
        try:
            await until(lambda: _answers(found), UP_S, what="a second engine")
            with _resolving(found, (folder / "pid").read_text()):
                saved = await anyio.run_process(["docker", "save", image])
                await found.docker("load", stdin=saved.stdout)
                yield found
        finally:
            engine.terminate()
            await engine.wait()
            shutil.rmtree(folder, ignore_errors=True)


async def _answers(found: Second) -> bool:
    return (await anyio.run_process(["docker", "-H", found.url, "version"], check=False)).returncode == 0
