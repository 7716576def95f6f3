"""A tool server that is a program of this machine and speaks over its standard streams: started, read, stopped.

It gets the variables it was given by name and a handful that every program needs, nothing else of our environment. A
line of its output is a message and no longer than `MAX_ANSWER`; what it says on stderr goes to our log. It lives in a
process group of its own, and the whole group ends with the connection.
"""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from kit.masking import MASK
from kit.observe import log
from mcp_server.upstream.veil import Unreadable, Veil
from mcp_server.upstream.wire import MAX_ANSWER

LEAVE_S = 2.0
"""After its stdin was closed, and again after SIGTERM."""
SAID = 2000
"""Characters of one line of its stderr that we keep."""

Incoming = SessionMessage | Exception


@contextlib.asynccontextmanager
async def child(
    name: str, command: Sequence[str], env: Mapping[str, str], lost: Callable[[str], None]
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    """A transport for the SDK's client. The streams close when the program ends or breaks the rules; `lost` is
    told why."""
    settled, veil = get_default_environment() | dict(env), Veil(env.values())
    process = await anyio.open_process(list(command), env=settled, start_new_session=True)
    to_us, reading = anyio.create_memory_object_stream[Incoming](0)
    writing, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as pipes:
        pipes.start_soon(_read, process, to_us, lost, veil)
        pipes.start_soon(_write, process, from_us)
        pipes.start_soon(_listen, name, process, veil)
        try:
            yield reading, writing
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)
            pipes.cancel_scope.cancel()


async def _read(
    process: Process, to_us: MemoryObjectSendStream[Incoming], lost: Callable[[str], None], veil: Veil
) -> None:
    assert process.stdout
    async with to_us:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for line in _lines(process.stdout):
                if len(line) > MAX_ANSWER:
                    lost(f"its answer is larger than {MAX_ANSWER // 2**20} MB")
                    return
                try:
                    said = await veil.aside(line)
                except Unreadable as error:
                    lost(str(error))
                    return
                await to_us.send(_message(said))
            lost("it ended")


def _message(line: bytes) -> Incoming:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return error


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    """Whole lines; one that is too long comes as far as it was read, and is the last."""
    held = bytearray()
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            held += await stream.receive()
            *whole, rest = held.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line)
            held = bytearray(rest)
            if len(held) > MAX_ANSWER:
                yield bytes(held)
                return


async def _write(process: Process, from_us: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin
    async with from_us:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            async for item in from_us:
                said = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(said.encode() + b"\n")


async def _listen(name: str, process: Process, veil: Veil) -> None:
    assert process.stderr
    async for line in _lines(process.stderr):
        try:
            said = (await veil.aside(line))[:SAID].decode(errors="replace")
        except Unreadable:
            said = MASK
        log.info("tool server says", server=name, text=said)
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:  # a pipe nobody reads would stop it
            await process.stderr.receive()


async def _stop(process: Process) -> None:
    """Close its stdin, then ask it, then end it, with all that it started."""
    if process.stdin:
        with contextlib.suppress(OSError, anyio.BrokenResourceError):
            await process.stdin.aclose()
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with anyio.move_on_after(LEAVE_S):
            await process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sent)
    await process.aclose()
