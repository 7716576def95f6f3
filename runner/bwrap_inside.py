"""The first process of an agent's sandbox: the way to the control plane, beside the agent that it starts.

The sandbox has no network but its own loopback. What connects to PORT there is carried to the unix socket of the
containers' listener. While nobody answers there, connections are held and the socket is dialled again for two minutes:
to an agent a restart of the plane is a pause. Run as a plain script with the standard library only:

    python -I -S bwrap_inside.py PORT SOCKET OPEN_FILES MEMORY PROCESSES COMMAND...

MEMORY is in bytes and of each process (what it may write to and shares with nobody), for want of control groups.
PROCESSES are those of the sandbox, threads too; the kernel doesn't hold a plane to it that runs as root.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from typing import NoReturn

REDIAL_S = 0.5
HOLD_S = 120.0
CHUNK = 64 * 1024
LIMITED = (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_NPROC)


async def _dial(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    until = asyncio.get_running_loop().time() + HOLD_S
    while True:
        try:
            return await asyncio.open_unix_connection(path)
        except OSError:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(REDIAL_S)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the end of one direction, which is told to the other side."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _serve(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        far_reader, far_writer = await _dial(path)
        with contextlib.closing(far_writer):
            await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))


async def live(port: int, path: str, command: list[str]) -> NoReturn:
    """Run the command with the way open, then end with its exit code as a shell tells it, whatever is carried still."""
    server = await asyncio.start_server(lambda *ends: _serve(path, *ends), "127.0.0.1", port)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)  # before there is an agent that TERM is for
    async with server:
        agent = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)

        async def stop() -> None:
            await told.wait()
            with contextlib.suppress(ProcessLookupError):
                agent.terminate()

        stopping = asyncio.create_task(stop())
        code = await agent.wait()
        stopping.cancel()
        os._exit(code if code >= 0 else 128 - code)


def limit(kind: int, wanted: int) -> None:
    """For us and all that we start; a limit that is lower already stays."""
    _, most = resource.getrlimit(kind)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    limit(resource.RLIMIT_CORE, 0)
    for kind, said in zip(LIMITED, sys.argv[3:6], strict=True):
        limit(kind, int(said))
    asyncio.run(live(int(sys.argv[1]), sys.argv[2], sys.argv[6:]))
