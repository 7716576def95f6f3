"""A served world, and pages whose console must stay empty."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from control.identity.principals import Role
from tests.browser.cables import Cables
from tests.browser.scene import Scene, set_scene
from tests.serving import serving
from tests.waiting import PAGE_MS
from tests.web.world import World, open_world


@dataclass(kw_only=True)
class Stage:
    """Where the pages are, and who may look."""

    world: World
    scene: Scene
    url: str
    browser: Browser
    noise: list[str]

    async def page(self, role: Role | None = Role.ADMIN, width: int = 1280, **context: object) -> Page:
        """A fresh browser profile, signed in unless `role` is None."""
        opened = await self.browser.new_context(viewport={"width": width, "height": 860}, **context)  # type: ignore[arg-type]
        if role:
            cookie = await self.world.token(role)
            await opened.add_cookies([{"name": "preloop", "value": cookie, "url": self.url}])
        page = await opened.new_page()
        page.on("console", lambda message: self.noise.append(message.text))
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        page.set_default_timeout(PAGE_MS)
        return page


@pytest.fixture
def cables() -> Cables:
    return Cables()


@pytest.fixture
async def stage(browser: Browser, tmp_path: Path, cables: Cables) -> AsyncIterator[Stage]:
    """Runs in every state behind a real server; afterwards the console must be empty."""
    async with open_world(tmp_path) as world:
        world.app.add_middleware(cables.fit)
        scene = await set_scene(world)
        async with serving(world.app) as url:
            stage = Stage(world=world, scene=scene, url=url, browser=browser, noise=[])
            yield stage
            for context in browser.contexts:
                await context.close()
            assert stage.noise == []
