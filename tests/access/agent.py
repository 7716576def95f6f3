"""A container's git at the git door: a session, a folder, and what the plane wrote down of it."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from control.identity.charter import GitGrant
from tests.access.clients import run
from tests.access.codehost import ALONE, CodeHost
from tests.access.plane import HOST, Plane, grants, plane

NOISE = random.Random(7).randbytes(3 << 20)
"""No packing makes it smaller."""
GRANTS = grants(app="preloop/*", docs=None)


def agent_s(running: Plane, token: str) -> dict[str, str]:
    """git's environment as the entry script makes it."""
    pairs = [
        (f"http.{running.url}/git/.extraHeader", f"Authorization: Bearer {token}"),
        (f"url.{running.url}/git/{HOST}/.insteadOf", f"https://{HOST}/"),
    ]
    env = {f"GIT_CONFIG_{part}_{n}": pair[i] for n, pair in enumerate(pairs) for i, part in enumerate(("KEY", "VALUE"))}
    return ALONE | env | {"GIT_CONFIG_COUNT": str(len(pairs)), "GIT_TERMINAL_PROMPT": "0"}


class Agent:
    """A container's git: a session, a folder, and what the plane wrote down of it."""

    def __init__(self, running: Plane, folder: Path, session_id: str, token: str) -> None:
        self.running, self.folder, self.session_id, self.token = running, folder, session_id, token
        self._env = agent_s(running, token)

    async def git(self, *arguments: str) -> tuple[int, str]:
        """Its exit code and what it said to people."""
        code, out, error = await run("git", *arguments, env=self._env, cwd=self.folder)
        return code, out + error

    async def well(self, *arguments: str) -> str:
        code, said = await self.git(*arguments)
        assert code == 0, said
        return said

    async def clone(self, name: str = "app", *options: str) -> None:
        await self.well("clone", "-q", *options, f"https://{HOST}/owner/{name}", name)

    async def commit(self, name: str = "app", content: str = "more\n") -> str:
        (self.folder / name / "README").write_text(content)
        await self.well("-C", name, "commit", "-q", "-a", "-m", "more")
        return (await self.well("-C", name, "rev-parse", "HEAD")).strip()

    async def told(self, type_: str) -> list[dict[str, Any]]:
        return [data for kind, data in await self.running.told(self.session_id) if kind == type_]


@asynccontextmanager
async def agent(
    tmp_path: Path,
    host: CodeHost,
    given: tuple[GitGrant, ...] = GRANTS,
    *,
    settings: Mapping[str, object] = MappingProxyType({}),
    **changes: object,
) -> AsyncIterator[Agent]:
    folder = tmp_path / "agent"
    folder.mkdir()
    async with plane(tmp_path, hosts={HOST: host.settings(**changes)}, settings=settings) as running:
        session_id, token = await running.session(git=given)
        yield Agent(running, folder, session_id, token)
