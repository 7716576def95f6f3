"""Dialling addresses that a user wrote: resolved here, checked here, and exactly the checked address is dialled.

Private, loopback and link-local addresses only when the host was named by an admin. No redirects, bounded in time and
size.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx

from kit.errors import Refused, Unavailable

LIMIT_S = 10.0
MAX_ANSWER = 64 * 1024


V6_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is routed globally (RFC 4291); the rest is local, multicast or holds an IPv4 address."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes


class Outbound:
    """One HTTP client for messages that leave the house."""

    def __init__(self, *, private_hosts: Collection[str] = ()) -> None:
        self._private = frozenset(private_hosts)
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=LIMIT_S, trust_env=False)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST once. Any status is an Answer; a refused or unreachable address is a Fault."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = await self._checked(host, parts.port or (443 if parts.scheme == "https" else 80))
        dialled = f"[{address}]" if ":" in address else address
        netloc = dialled if parts.port is None else f"{dialled}:{parts.port}"
        target = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
        sent = {**headers, "host": parts.netloc.rpartition("@")[2]}
        try:
            with anyio.fail_after(LIMIT_S):
                return await self._send(target, body, sent, host)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unavailable("outbound_failed", f"{host} could not be reached: {why}.") from error

    async def _send(self, target: str, body: bytes, headers: Mapping[str, str], host: str) -> Answer:
        request = self._client.build_request(
            "POST", target, content=body, headers=dict(headers), extensions={"sni_hostname": host}
        )
        response = await self._client.send(request, stream=True)
        try:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    break
            return Answer(status=response.status_code, body=answer[:MAX_ANSWER])
        finally:
            await response.aclose()

    async def dial(self, host: str, port: int) -> socket.socket:
        """A connected socket for a protocol that is not HTTP; whoever takes it closes it."""
        address = await self._checked(host, port)
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with anyio.fail_after(LIMIT_S):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException as error:
            sock.close()
            if isinstance(error, TimeoutError | OSError):
                why = str(error) or type(error).__name__
                raise Unavailable("outbound_failed", f"{host} could not be reached: {why}.") from error
            raise
        return sock

    async def refuse_private(self, host: str) -> None:
        """For libraries that dial by themselves: Refused for a host that is at a private address now and was not named.
        Weaker than dialling the checked address: the name may mean another one a moment later."""
        try:
            await self._checked(host, 0)
        except Unavailable:
            return

    async def _checked(self, host: str, port: int) -> str:
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable("outbound_failed", f"{host} has no address: {error}.") from error
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if host not in self._private and not public(address):
                raise Refused(
                    "address_private",
                    f"{host} is at {address}, which is not a public address.",
                    "Name the host in notify.private_hosts if that is meant.",
                )
        return addresses[0]

    async def close(self) -> None:
        await self._client.aclose()


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
