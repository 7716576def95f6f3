"""The people's door with an OpenID Connect provider in front, and a browser that goes there and back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from control.identity import accounts
from control.identity.principals import Role
from control.tables import users
from tests.control.house import ACCOUNT
from tests.fakes.oidc import CLIENT, SECRET, Provider, provider
from tests.web.world import World, open_world
from web import oidc
from web.issuer import Issuer
from web.settings import OidcSettings, WebSettings


@dataclass
class Plane:
    """A world whose people a provider signs in."""

    world: World
    provider: Provider

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        async with self.world.client() as http:
            yield http

    async def way(self, http: httpx.AsyncClient, further: str = "/flows") -> str:
        """Off to the provider and, there, signed in at once: the address it sends the browser back to."""
        off = await http.get("/signin/oidc", params={"next": further})
        assert off.status_code == 303, off.text
        async with httpx.AsyncClient() as elsewhere:
            return str((await elsewhere.get(off.headers["location"])).headers["location"])

    async def signs_in(self, http: httpx.AsyncClient, further: str = "/flows") -> httpx.Response:
        return await http.get(await self.way(http, further))

    async def refused(self) -> httpx.Response:
        """A sign-in that must not work: nobody is signed in, and nobody was added."""
        before = await self.people()
        async with self.browser() as http:
            answer = await self.signs_in(http)
            assert not any(cookie.name == "preloop" for cookie in http.cookies.jar)
            assert (await http.get("/flows")).status_code == 303
        assert await self.people() == before
        assert "Traceback" not in answer.text
        return answer

    async def people(self) -> dict[str, str]:
        rows = await self.world.house.db.read(sa.select(users.c.email, users.c.role))
        return {row.email: row.role for row in rows}

    async def know(self, email: str, role: Role = Role.OPERATOR) -> str:
        return await self.world.house.db.write(
            lambda tx: accounts.add_user(tx, ACCOUNT, email=email, name="Known", role=role)
        )


@asynccontextmanager
async def plane(folder: Path, issuer: str = "", public_url: str = "", **more: Any) -> AsyncIterator[Plane]:
    async with provider() as running:
        said = {"issuer": issuer or running.url, "client_id": CLIENT, "client_secret": SECRET} | more
        settings = WebSettings(public_url=public_url, oidc=OidcSettings.model_validate(said))
        async with open_world(folder, settings) as world, oidc.opened(settings) as opened:
            assert opened is not None
            trust(world, opened)
            yield Plane(world, running)


def trust(world: World, issuer: Issuer) -> None:
    given = world.app.state.parts
    world.app.state.parts = replace(given, operated=replace(given.operated, issuer=issuer))
