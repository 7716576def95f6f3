"""The doors on their two listeners. People get pages, REST, hooks and enrolled agents; containers get four things
only."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from access import token as access
from control.identity.sessions import Doorkeeper, Listener
from gateway.app import GatewayApp
from gateway.opening import open_gateway
from gateway.settings import GatewaySettings, limits
from kit import asgi
from kit.errors import Missing, Unavailable
from mcp_server.app import McpEndpoint
from mcp_server.settings import McpSettings
from preloop.house import House, Place
from web import app as web
from web.parts import Check, Upstreams

MCP = "/mcp/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Two ASGI applications, and how to tell waiting clients that we stop."""

    people: ASGIApp
    containers: ASGIApp
    endpoint: McpEndpoint


class Front:
    """The first look at a path: model wires and MCP have doors of their own, everything else goes to `rest`."""

    def __init__(self, gateway: GatewayApp, mcp: ASGIApp, rest: ASGIApp) -> None:
        self._gateway = gateway
        self._mcp = mcp
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._gateway.serves(scope["path"]):
            await self._gateway(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == MCP:
            await self._mcp(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


@asynccontextmanager
async def open_doors(house: House, place: Place | str) -> AsyncIterator[Doors]:
    """Both listeners' applications, served inside of this context."""
    servers, url = McpSettings(servers=house.settings.opened_servers()), house.settings.server.url
    endpoint = McpEndpoint(house.db, house.bus, house.desk, servers, public_url=url)
    settings = GatewaySettings(
        models=house.settings.models, budgets=house.settings.budgets, strict=house.settings.gateway.strict
    )
    names = {
        Listener.PEOPLE: house.settings.server.names,
        Listener.CONTAINERS: frozenset({"preloop", "localhost", "127.0.0.1"} | _gateway_address(place)),
    }
    folder = house.settings.data / "journal"
    async with open_gateway(db=house.db, bus=house.bus, settings=settings, folder=folder) as gateway:
        rest: dict[Listener, ASGIApp] = {
            Listener.PEOPLE: _pages(house, place, gateway.checks),
            Listener.CONTAINERS: _inner(house),
        }

        def front(listener: Listener) -> ASGIApp:
            wires = gateway.app(Doorkeeper(house.db, house.bus, listener))
            mcp = endpoint.app(listener, hosts=[f"{name}{port}" for name in names[listener] for port in ("", ":*")])
            return asgi.Faults(asgi.Hosts(Front(wires, mcp, rest[listener]), allowed=names[listener]))

        people, containers = front(Listener.PEOPLE), front(Listener.CONTAINERS)
        async with endpoint.run():
            yield Doors(people=people, containers=containers, endpoint=endpoint)


def _pages(house: House, place: Place | str, upstreams: Upstreams) -> Starlette:
    async def database() -> None:
        await house.db.read(sa.select(1))

    async def engine() -> None:
        if isinstance(place, str):
            raise Unavailable("no_engine", place, "Executions stay PENDING until an engine answers.")

    checks: Mapping[str, Check] = {"database": database, "engine": engine}
    return web.build(
        settings=house.settings.server,
        db=house.db,
        bus=house.bus,
        sealer=house.sealer,
        desk=house.desk,
        known=house.settings.known(),
        checks=checks,
        limits=limits(house.settings.budgets),
        upstreams=upstreams,
    )


def _inner(house: House) -> ASGIApp:
    """What containers get beside MCP and the wires: token exchange; every other path is unknown there."""

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        raise Missing("not_found", "There is nothing at this address.")

    return Router(routes=access.routes(db=house.db, signer=house.signer), default=unknown)


def _gateway_address(place: Place | str) -> set[str]:
    return {place.gateway} if isinstance(place, Place) and place.gateway else set()
