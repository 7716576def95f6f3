"""The doors on their two listeners. People get pages, REST, hooks and enrolled agents; containers get five things
only. A process of some roles has their doors; at every other address there is nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from access import left, token
from access.allowance import Allowance
from access.egress import Egress, open_egress
from access.git import Git, open_git
from access.parts import Parts
from control.identity.caps import Caps
from control.identity.doorkeeper import Doorkeeper, Listener
from gateway.app import GatewayApp
from gateway.opening import Gateway, open_gateway
from gateway.settings import GatewaySettings, limits
from kit import asgi
from kit.errors import Missing, Unavailable
from mcp_server.app import McpEndpoint
from mcp_server.settings import McpSettings
from preloop import in_force
from preloop.house import House, Place, host_address
from preloop.listen import STOP_S
from preloop.roles import Role
from web import app as web
from web import oidc
from web.parts import Check, Operated, Upstreams

if TYPE_CHECKING:
    from web.issuer import Issuer

MCP = "/mcp/v1"
LAST_WORDS_S = 1
"""What is left of the time to stop in when model calls are ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Two ASGI applications, who takes tunnels, and how to tell waiting clients that we stop."""

    people: ASGIApp
    containers: ASGIApp
    endpoint: McpEndpoint | None
    egress: Egress | None
    gateway: Gateway | None = None

    def take(self, transport: asyncio.Transport, early: bytes) -> None:
        """A container's connection that begins with CONNECT."""
        if self.egress is None:
            transport.abort()
        else:
            self.egress.take(transport, early)

    def drain(self) -> None:
        """Tell whoever waits. A model's answer may go on, and ends with its client being told before it is cut."""
        if self.gateway is not None:
            self.gateway.drain(STOP_S - LAST_WORDS_S)
        if self.endpoint is not None:
            self.endpoint.drain()
        if self.egress is not None:
            self.egress.drain()


class Front:
    """The first look at a path: model wires, MCP and git have doors of their own, everything else goes to `rest`."""

    def __init__(
        self, gateway: GatewayApp | None, mcp: ASGIApp | None, git: Git | None, rest: ASGIApp, door: str
    ) -> None:
        self._door = door
        self._gateway = gateway
        self._mcp = mcp
        self._git = git
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        called = scope["type"] == "http"
        if called and self._gateway is not None and self._gateway.serves(scope["path"]):
            await self._gateway(scope, receive, asgi.timed(send, "gateway"))
        elif called and self._mcp is not None and scope["path"] == MCP:
            await self._mcp(scope, receive, asgi.timed(send, "mcp"))
        elif called and self._git is not None and self._git.serves(scope["path"]):
            await self._git(scope, receive, asgi.timed(send, "git"))
        else:
            await self._rest(scope, receive, asgi.timed(send, self._door) if called else send)


@asynccontextmanager
async def open_doors(house: House, place: Place | str) -> AsyncIterator[Doors]:
    """Both listeners' applications, served inside of this context."""
    here = host_address(house.settings, house.roles, place)
    names = {
        Listener.PEOPLE: house.settings.server.names,
        Listener.CONTAINERS: frozenset({"preloop", "localhost", "127.0.0.1", here or "localhost"}),
    }
    caps = Caps(house.settings.server.share())
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(_gateway(house)) if Role.GATEWAY in house.roles else None
        endpoint = _endpoint(house) if Role.MCP in house.roles else None
        signin = oidc.opened(house.settings.server) if Role.WEB in house.roles else nullcontext()
        issuer = await stack.enter_async_context(signin)
        rest: dict[Listener, ASGIApp] = {
            Listener.PEOPLE: _pages(house, place, gateway.checks if gateway else None, issuer),
            Listener.CONTAINERS: _inner(house),
        }

        egress, git = await stack.enter_async_context(_access(house)) if Role.MCP in house.roles else (None, None)

        def front(listener: Listener) -> ASGIApp:
            hosts = [f"{name}{port}" for name in names[listener] for port in ("", ":*")]
            wires = gateway.app(Doorkeeper(house.db, house.bus, listener), caps) if gateway else None
            mcp = endpoint.app(listener, hosts=hosts, caps=caps) if endpoint else None
            inner = git if listener is Listener.CONTAINERS else None
            return asgi.Faults(asgi.Hosts(Front(wires, mcp, inner, rest[listener], listener), allowed=names[listener]))

        people, containers = front(Listener.PEOPLE), front(Listener.CONTAINERS)
        if endpoint is not None:
            await stack.enter_async_context(endpoint.run())
        yield Doors(people=people, containers=containers, endpoint=endpoint, egress=egress, gateway=gateway)


@asynccontextmanager
async def _access(house: House) -> AsyncIterator[tuple[Egress, Git]]:
    """Egress and git: each session has one allowance for both."""
    settings = house.settings
    parts = Parts(
        db=house.db,
        bus=house.bus,
        doorkeeper=Doorkeeper(house.db, house.bus, Listener.CONTAINERS),
        allowance=Allowance(settings.egress),
    )
    async with open_egress(parts, settings.egress) as egress, open_git(parts, settings.opened_git()) as git:
        yield egress, git


def _gateway(house: House) -> AbstractAsyncContextManager[Gateway]:
    settings = GatewaySettings(
        models=house.settings.models, budgets=house.settings.budgets, strict=house.settings.gateway.strict
    )
    folder, shared = house.settings.data / "journal", house.settings.database is not None
    return open_gateway(db=house.db, bus=house.bus, settings=settings, folder=folder, shared=shared)


def _endpoint(house: House) -> McpEndpoint:
    servers, url = McpSettings(servers=house.settings.opened_servers()), house.settings.server.url
    return McpEndpoint(house.db, house.bus, house.desk, servers, public_url=url)


def _pages(house: House, place: Place | str, upstreams: Upstreams | None, issuer: "Issuer | None") -> Starlette:
    """What people get; of a process without pages whether it lives, and its figures."""

    async def database() -> None:
        await house.db.read(sa.select(1))

    async def engine() -> None:
        if isinstance(place, str):
            raise Unavailable("no_engine", place, "Executions stay PENDING until an engine answers.")

    checks: Mapping[str, Check] = {"database": database} | ({"engine": engine} if Role.RUNNER in house.roles else {})
    return web.build(
        pages=Role.WEB in house.roles,
        shared=house.settings.database is not None,
        settings=house.settings.server,
        db=house.db,
        bus=house.bus,
        sealer=house.sealer,
        blobs=house.blobs,
        desk=house.desk,
        known=house.settings.known(),
        checks=checks,
        limits=limits(house.settings.budgets),
        upstreams=upstreams,
        operated=Operated(
            settings=in_force.told(house.settings),
            plans=house.settings.plan_list(),
            retention=house.settings.retention.rules(),
            issuer=issuer,
        ),
    )


def _inner(house: House) -> ASGIApp:
    """What containers get beside MCP, the wires, git and egress, where MCP is: token exchange, and the door for what an
    agent left. Every other path is unknown there."""

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        raise Missing("not_found", "There is nothing at this address.")

    routes = token.routes(db=house.db, signer=house.signer) if house.signer else []
    if Role.MCP in house.roles:
        keeper = Doorkeeper(house.db, house.bus, Listener.CONTAINERS)
        routes += left.routes(db=house.db, doorkeeper=keeper, blobs=house.blobs)
    return Router(routes=routes, default=unknown)
