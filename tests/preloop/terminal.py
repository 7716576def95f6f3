"""The command line as a program of its own, in front of the people's door or of nothing at all."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from control.identity.principals import Role
from tests.databases import elsewhere
from tests.serving import serving
from tests.web.world import World, open_world

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A folder to stand in and an environment; `PRELOOP_…` is only what is given here."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    async def run(self, *words: str, stdin: bytes = b"") -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PRELOOP_", "COLUMNS"))}
        env = kept | {"PYTHONPATH": str(ROOT)} | self.settings
        command = [sys.executable, "-m", "preloop", *words]
        with anyio.fail_after(60):
            done = await anyio.run_process(command, input=stdin, check=False, cwd=self.folder, env=env)
        return Done(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    def at(self, **settings: str) -> "Terminal":
        """The same with other settings, `url=…` for PRELOOP_URL."""
        named = {f"PRELOOP_{name.upper()}": value for name, value in settings.items()}
        return Terminal(folder=self.folder, settings=self.settings | named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A plane and an admin's terminal before it."""

    world: World
    url: str
    admin: Terminal

    def here(self) -> Terminal:
        """The admin's on the plane's own machine, with its folder and its database."""
        url, folder = elsewhere(self.admin.folder / "preloop.db"), str(self.admin.folder)
        return self.admin.at(data=folder, **({"database": url} if url else {}))

    async def of(self, role: Role) -> Terminal:
        return self.admin.at(token=await self.world.token(role, "api"))


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    async with open_world(folder) as world, serving(world.app) as url:
        admin = Terminal(folder=folder).at(url=url, token=await world.token(Role.ADMIN, "api"))
        yield Desk(world=world, url=url, admin=admin)
