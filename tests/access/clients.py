"""Raw clients and small real upstreams: what an agent's programs and the hosts behind the door would be."""

import base64
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WAIT_S = 15


@dataclass
class Upstream:
    """A host that was dialled: how often, and what it heard."""

    port: int = 0
    dialled: int = 0
    heard: bytearray = field(default_factory=bytearray)
    ended: list[str] = field(default_factory=list)


async def echo(stream: SocketStream, upstream: Upstream) -> None:
    async for data in stream:
        upstream.heard += data
        await stream.send(data)


async def after_the_end(stream: SocketStream, upstream: Upstream) -> None:
    """Speaks when the client has said everything."""
    async for data in stream:
        upstream.heard += data
    await stream.send(b"heard " + upstream.heard)


async def flood(stream: SocketStream, upstream: Upstream) -> None:
    while True:
        await stream.send(b"x" * 65536)


@asynccontextmanager
async def standing(
    talk: Callable[[SocketStream, Upstream], Awaitable[None]] = echo,
) -> AsyncIterator[Upstream]:
    """An upstream on 127.0.0.1."""
    upstream = Upstream()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    upstream.port = listener.extra(SocketAttribute.local_port)

    async def serve(stream: SocketStream) -> None:
        upstream.dialled += 1
        try:
            async with stream:
                await talk(stream, upstream)
            upstream.ended.append("over")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            upstream.ended.append("broken")

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield upstream
        tasks.cancel_scope.cancel()


def asking(target: str, token: str | None = None, *lines: str) -> bytes:
    head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *lines]
    if token is not None:
        head.append("Proxy-Authorization: Basic " + base64.b64encode(f"agent:{token}".encode()).decode())
    return "\r\n".join([*head, "", ""]).encode()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[SocketStream]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        with anyio.fail_after(WAIT_S):
            yield stream


async def whole(stream: SocketStream) -> bytes:
    """All that comes until the other end closes."""
    found = b""
    try:
        async for data in stream:
            found += data
    except anyio.BrokenResourceError:
        pass  # cut, not closed
    return found


async def said(port: int, request: bytes) -> bytes:
    """All that is answered to a request on a connection of its own."""
    async with connected(port) as stream:
        await stream.send(request)
        return await whole(stream)


@asynccontextmanager
async def tunnel(port: int, target: str, token: str) -> AsyncIterator[SocketStream]:
    """A connection through the door."""
    async with connected(port) as stream:
        await stream.send(asking(target, token))
        answer = await stream.receive()
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n", answer
        yield stream


async def run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> tuple[int, str, str]:
    """A program to its end: its code and what it said."""
    with anyio.fail_after(60):
        done = await anyio.run_process(command, env=env, cwd=cwd, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def certificate(folder: Path, *names: str) -> Path:
    """A certificate for these names with its key, in one PEM file that a client may also trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return path


def tls(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
