"""The egress door: CONNECT to hosts that the session's flow lists, and to no other.

A name is resolved here and what was checked is dialled, so a resolver that changes its mind gains nothing. Each
connection is two events on the execution, each refusal one. Neighbours: `connect` reads and decides, `tunnel` carries.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import anyio
from anyio.abc import TaskGroup

from access import connect
from access.allowance import Meter
from access.parts import RECORD_S, Parts
from access.settings import EgressSettings
from access.tunnel import Tunnel, Why
from access.wire import Wire
from control.identity.principals import Principal
from kit.asgi import problem, refusal
from kit.errors import Fault, Refused, Throttled, Unauthorized, Unavailable
from kit.observe import log
from kit.outbound import Outbound, Resolve, connected, resolved

HEAD_S = 10.0
"""How long a client may take to say what it wants."""
STRANGERS = 1024
"""Connections that have not said it yet."""
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Egress:
    """The door of one process. It serves connections that its listener hands over, until `drain`."""

    def __init__(
        self, tasks: TaskGroup, parts: Parts, settings: EgressSettings, outbound: Outbound, *, head_s: float
    ) -> None:
        self._tasks = tasks
        self._parts = parts
        self._settings = settings
        self._outbound = outbound
        self._head_s = head_s
        self._strangers = 0
        self._stopping = False
        self._open: set[anyio.CancelScope] = set()

    def take(self, transport: asyncio.Transport, early: bytes) -> None:
        """A connection whose first bytes are `connect.METHOD`."""
        if self._stopping:
            transport.abort()
        else:
            self._tasks.start_soon(self._serve, Wire.take(transport, early))

    def drain(self) -> None:
        """We stop: end every connection, take no more."""
        self._stopping = True
        for scope in tuple(self._open):
            scope.cancel()

    async def _serve(self, client: Wire) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                await self._admit(client)
            except Fault as fault:
                await _refuse(client, fault)
                await client.leave()
            except OSError:
                pass  # it went away before it was answered
            except Exception:
                log.exception("the egress door broke")
            finally:
                self._open.discard(scope)
                client.cut()

    async def _admit(self, client: Wire) -> None:
        """Who asks for what?"""
        asked = connect.read(await self._head(client))
        if not asked.token:
            raise Unauthorized("proxy_credentials", "There is no token.", "HTTPS_PROXY has it as its password.")
        principal = await self._parts.doorkeeper.admit(asked.token)
        with self._parts.allowance.inside(principal.session_id) as meter:
            try:
                connect.check(principal.charter, asked, self._settings.wildcards)
                addresses = await self._outbound.checked(asked.host, asked.port)
            except (Refused, Unavailable) as fault:
                told = {"host": asked.host, "port": asked.port, "code": fault.code, "message": fault.message}
                await self._parts.tell(principal, "egress.refused", **told)
                raise _unsaid(asked, fault) from fault
            await self._carry(client, asked, principal, addresses, meter)

    async def _head(self, client: Wire) -> bytes:
        if self._strangers >= STRANGERS:
            raise Throttled("egress_busy", "Too many connections say nothing.", "Try again.", retry_after_s=1)
        self._strangers += 1
        try:
            with anyio.fail_after(self._head_s):
                return await client.head()
        except TimeoutError as error:
            said = f"The request's head did not come within {self._head_s:g} s."
            raise refusal(408, "connect_slow", said) from error
        finally:
            self._strangers -= 1

    async def _carry(
        self, client: Wire, asked: connect.Asked, principal: Principal, addresses: Sequence[str], meter: Meter
    ) -> None:
        """Written down, dialled, carried, written down."""
        where = {"host": asked.host, "port": asked.port}
        opened = await self._parts.tell(principal, "egress.opened", **where, addresses=addresses)
        began = time.monotonic()
        why: Why = "stopped"
        try:
            try:
                upstream = await Wire.of(await connected(asked.host, addresses, asked.port))
            except Unavailable as fault:
                why = "unreachable"
                raise Unavailable("egress_unreachable", f"{asked.host} does not answer.", "Try again later.") from fault
            tunnel = Tunnel(client, upstream, meter, idle_s=self._settings.idle)
            try:
                await client.say(ESTABLISHED)
                await tunnel.run(self._parts.ended(asked.token, principal))
                if tunnel.why == "over":
                    await upstream.leave()
                    await client.leave()
            finally:
                upstream.cut()
                why = tunnel.why
        finally:
            ms = round((time.monotonic() - began) * 1000)
            figures = {"up": meter.up, "down": meter.down, "duration_ms": ms, "why": why}
            await self._parts.tell_end(principal, "egress.closed", opened=opened, **where, **figures)


def _unsaid(asked: connect.Asked, fault: Refused | Unavailable) -> Fault:
    """What a container hears: where names inside lead to is not for it to know."""
    if fault.code == "egress_not_listed":
        return fault
    return Refused("egress_refused", f"{asked.host} is not reached from here.", "The run's record says why.")


async def _refuse(client: Wire, fault: Fault) -> None:
    """RFC 9110 §15.5.8: 407 for who is not known. The body says why, as REST does."""
    answer = problem(fault)
    status = {401: 407, 422: 400}.get(fault.status, fault.status)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "content-type: application/problem+json"]
    lines += [f"content-length: {len(answer.body)}", "connection: close"]
    lines += ['proxy-authenticate: Basic realm="preloop"'] if status == 407 else []
    with anyio.move_on_after(RECORD_S), suppress(OSError):
        await client.say("\r\n".join([*lines, "", ""]).encode() + bytes(answer.body))


@asynccontextmanager
async def open_egress(
    parts: Parts, settings: EgressSettings, *, resolve: Resolve = resolved, head_s: float = HEAD_S
) -> AsyncIterator[Egress]:
    """The door, open inside of this context; what goes through it ends with it."""
    hint = "Name the host in egress.private_hosts if that is meant."
    outbound = Outbound(private_hosts=settings.private_hosts, hint=hint, ours=False, resolve=resolve)
    try:
        async with anyio.create_task_group() as tasks:
            door = Egress(tasks, parts, settings, outbound, head_s=head_s)
            try:
                yield door
            finally:
                door.drain()
    finally:
        await outbound.close()
