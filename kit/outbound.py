"""Dialling addresses that a user wrote: resolved here, checked here, and exactly the checked address is dialled.

Private, loopback and link-local addresses only when the host was named by an admin. No redirects, bounded in time and
size.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx

from kit import tls
from kit.errors import Refused, Unavailable

LIMIT_S = 10.0
TRIED = 4
"""Addresses of one host that are dialled in turn, whatever its resolver says."""
OTHERS_S = 3.0
"""How long one of several addresses of a host is tried before the next."""
MAX_ANSWER = 64 * 1024


V6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is routed globally (RFC 4291); the rest is local, multicast or holds an IPv4 address."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host for a port, or OSError."""


async def resolved(host: str, port: int) -> Sequence[str]:
    """As this machine resolves names."""
    return [str(entry[4][0]) for entry in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Outbound:
    """One HTTP client for messages that leave the house. `hint` is for whoever meant a private host; without `ours`
    this machine is no public host either, whatever addresses it has."""

    def __init__(
        self,
        *,
        private_hosts: Collection[str] = (),
        hint: str = "Name the host in notify.private_hosts if that is meant.",
        ours: bool = True,
        resolve: Resolve = resolved,
    ) -> None:
        self._private = frozenset(private_hosts)
        self._hint = hint
        self._ours = ours
        self._resolve = resolve
        alone = httpx.Limits(max_keepalive_connections=0)  # one that is kept is known by its address, not by its name
        self._client = httpx.AsyncClient(
            follow_redirects=False, timeout=LIMIT_S, trust_env=False, limits=alone, verify=tls.context()
        )

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST once. Any status is an Answer; a refused or unreachable address is a Fault."""
        host = urlsplit(url).hostname or ""
        try:
            with anyio.fail_after(LIMIT_S):
                return await self._send(url, body, headers, host)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise _unreached(host, error) from error

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str], host: str) -> Answer:
        response = await self._open("POST", url, body, headers, LIMIT_S)
        try:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    break
            return Answer(status=response.status_code, body=answer[:MAX_ANSWER])
        finally:
            await response.aclose()

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | AsyncIterable[bytes],
        silent_s: float,
    ) -> httpx.Response:
        """An answer whose head is here, of any status; whoever takes it closes it. `silent_s` bounds each wait for
        bytes. A refused or unreachable address is a Fault."""
        try:
            return await self._open(method, url, content, headers, silent_s)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise _unreached(urlsplit(url).hostname or "", error) from error

    async def _open(
        self,
        method: str,
        url: str,
        content: bytes | AsyncIterable[bytes],
        headers: Mapping[str, str],
        silent_s: float,
    ) -> httpx.Response:
        """Asked at the address that was checked, under the name that was meant."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = (await self.checked(host, parts.port or (443 if parts.scheme == "https" else 80)))[0]
        dialled = f"[{address}]" if ":" in address else address
        netloc = dialled if parts.port is None else f"{dialled}:{parts.port}"
        target = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
        request = self._client.build_request(
            method,
            target,
            content=content,
            headers={**headers, "host": parts.netloc.rpartition("@")[2]},
            timeout=httpx.Timeout(LIMIT_S, read=silent_s, write=silent_s),
            extensions={"sni_hostname": host},
        )
        return await self._client.send(request, stream=True)

    async def dial(self, host: str, port: int) -> socket.socket:
        """A connected socket for a protocol that is not HTTP; whoever takes it closes it."""
        return await connected(host, await self.checked(host, port), port)

    async def refuse_private(self, host: str) -> None:
        """For libraries that dial by themselves: Refused for a host that is at a private address now and was not named.
        Weaker than dialling the checked address: the name may mean another one a moment later."""
        try:
            await self.checked(host, 0)
        except Unavailable:
            return

    async def checked(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, in the order to try them: all of them may be dialled, or it is Refused."""
        try:
            with anyio.fail_after(LIMIT_S):
                addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unavailable("outbound_failed", f"{host} has no address: {error}.") from error
        if not addresses:
            raise Unavailable("outbound_failed", f"{host} has no address.")
        for address in () if host in self._private else addresses:
            if not public(address):
                said = f"{host} is at {address}, which is not a public address."
                raise Refused("address_private", said, self._hint)
            if not self._ours and _own(address):
                raise Refused("address_private", f"{host} is at {address}, which is this machine.", self._hint)
        return addresses[:TRIED]

    async def close(self) -> None:
        await self._client.aclose()


async def connected(host: str, addresses: Sequence[str], port: int) -> socket.socket:
    """A socket to the first of some checked addresses that answers, or Unavailable."""
    for number, address in enumerate(addresses, 1):
        last = number == len(addresses)
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with anyio.fail_after(LIMIT_S if last else OTHERS_S):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException as error:
            sock.close()
            if not isinstance(error, TimeoutError | OSError):
                raise
            if last:
                raise _unreached(host, error) from error
        else:
            return sock
    raise Unavailable("outbound_failed", f"{host} has no address.")


def _unreached(host: str, error: Exception) -> Unavailable:
    return Unavailable("outbound_failed", f"{host} could not be reached: {str(error) or type(error).__name__}.")


def _own(address: str) -> bool:
    """Is this an address of this machine? A datagram socket that is sent nowhere is told its own end of the way."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False  # no way there at all
        return ipaddress.ip_address(probe.getsockname()[0]) == ipaddress.ip_address(address)


def public(address: str) -> bool:
    """Is this, or the IPv4 address inside of it, one that anybody in the internet may dial?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is None:
            return found in V6_UNICAST and found.is_global
        found = inner
    return found.is_global and not found.is_multicast
