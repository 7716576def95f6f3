"""Sockets and uvicorn: both listeners of one process, bound before anything starts and stopped together."""

import asyncio
import contextlib
import errno
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kit.errors import Unsuitable
from preloop import inherited

STOP_S = 3
"""Seconds that open requests get when we stop."""


_FREEBIND = 15  # IP_FREEBIND of linux/in.h, which Python has no name for


def bind(host: str, port: int, *, coming: bool = False) -> socket.socket:
    """A listening socket, or Unsuitable: a taken port is an error, never another port. `coming`: an IPv4 address that
    this machine may have only later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so that asyncio sets TCP_NODELAY
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if coming and sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Unsuitable(
                "port_in_use",
                f"Port {port} on {host} is in use.",
                "Stop what uses it, or set server.port and server.container_port to free ones.",
            ) from error
        raise Unsuitable(
            "address_unusable", f"Can't listen on {host}:{port}: {error.strerror}.", "Look at [server]."
        ) from error
    sock.setblocking(False)
    return sock


def bind_unix(path: Path) -> socket.socket:
    """A listening unix socket at this path, for our own user; one that a dead process left there goes."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        hint = "A unix socket's path has about a hundred characters: PRELOOP_DATA may be too deep."
        raise Unsuitable("address_unusable", f"Can't listen on {path}: {error}.", hint) from error
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def opened(given: Mapping[str, socket.socket], name: str, host: str, port: int) -> socket.socket:
    """The socket that was handed over under this name, or one of our own."""
    if name not in given:
        return bind(host, port)
    if not inherited.stands_at(given[name], host, port):
        address, found = given[name].getsockname()[:2]
        raise Unsuitable(
            "address_differs",
            f"The socket handed over as {name} listens on {address}:{found}, the settings say {host}:{port}.",
            "Let ListenStream= of its unit and [server] say the same address.",
        )
    return given[name]


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


class Joined:
    """A transport that writes an answer's head together with the first bytes of its body: one system call, not two, and
    the client wakes once. A head with nothing behind it goes out before the loop turns again."""

    __slots__ = ("_head", "_loop", "plain")

    def __init__(self, plain: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.plain = plain
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            self.plain.write(self._head + data)
            self._head = b""
        elif data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self.plain.write(data)

    def flush(self) -> None:
        if self._head:
            self.plain.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self.plain.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a transport has
        return getattr(self.plain, name)


class _Protocol(HttpToolsProtocol):
    """HTTP on one connection, its answers written through `Joined`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, Joined(transport, self.loop))

    def handle_websocket_upgrade(self) -> None:
        self.transport = cast(Joined, self.transport).plain
        super().handle_websocket_upgrade()


Take = Callable[[asyncio.Transport, bytes], None]
"""Whoever serves connections that begin with `TUNNEL`, and is given those bytes with them."""
TUNNEL = b"CONNECT "
HEAD_S = 30.0
"""How long a container may take to say what it wants."""


class _Guarded(_Protocol):
    """The same for whom we trust less: a head that does not come is not waited for, and a connection that begins with
    CONNECT is no request of ours. Only one that begins so: behind a request nothing is taken for it."""

    def __init__(self, *args: Any, take: Take, head_s: float, **named: Any) -> None:  # noqa: ANN401 - what uvicorn gives
        super().__init__(*args, **named)
        self._take = take
        self._head_s = head_s
        self._early: bytes | None = b""
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._early is None:
            super().data_received(data)
            return
        early = self._early + data
        if len(early) < len(TUNNEL) and TUNNEL.startswith(early):
            self._early = early
            return
        self._early = None
        if early.startswith(TUNNEL):
            self._came()
            self.connections.discard(self)
            self._take(cast(Joined, self.transport).plain, early)
        else:
            super().data_received(early)

    def on_message_begin(self) -> None:
        self._hurry()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._came()
        super().on_headers_complete()

    def _hurry(self) -> None:
        self._came()
        self._late = self.loop.call_later(self._head_s, self.transport.close)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    """A server that leaves signals to us and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An application and its sockets. Where `take` is given it is the one of containers."""

    app: ASGIApp
    sockets: list[socket.socket]
    take: Take | None = None
    head_s: float = HEAD_S


@asynccontextmanager
async def listening(*listeners: Served) -> AsyncIterator[None]:
    """Serve each application on its sockets inside of this context."""
    servers = [(_Server(_config(one)), one.sockets) for one in listeners]
    async with anyio.create_task_group() as tasks:
        for server, sockets in servers:
            tasks.start_soon(server.serve, sockets)
        for server, _ in servers:
            await server.listens.wait()
        try:
            yield
        finally:
            for server, _ in servers:
                server.should_exit = True


def spare_collector() -> None:
    """What stands when we begin to serve stays: Python's collector need not look at it again and again. A tenth of what
    a short request costs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 5)


def _config(served: Served) -> uvicorn.Config:
    http: type[asyncio.Protocol] = _Protocol
    if served.take is not None:
        http = cast(type[asyncio.Protocol], partial(_Guarded, take=served.take, head_s=served.head_s))
    return uvicorn.Config(
        served.app,
        http=http,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=30,
    )
