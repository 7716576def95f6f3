"""What every page must pass, and which pages there are: asked of the routes, so that none can be forgotten.

The tests sweep briefly, `scripts/show pages` in full.
"""

import re
from collections.abc import Mapping

from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Page
from starlette.routing import Route

from control.identity.principals import Role
from kit.asgi import PAGE_HEADERS
from tests.browser.scene import Scene
from tests.web.world import World

AXE = AXE_FILE_PATH.read_text()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics", "/favicon.ico")
"""Addresses that no person reads."""
KEPT = ("/executions/{id}/output.txt",)
"""Files that a scene has none of."""
NOWHERE = "/nowhere"
PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


async def pages(world: World, scene: Scene) -> list[str]:
    """The address of each page, each run's own among them; and that each answers under the strict policy."""
    found = [*await _asked(world, scene), "/signin?token=x", NOWHERE]
    found += [f"/executions/{run}" for run in scene.runs.values()]
    return list(dict.fromkeys(found))


async def _asked(world: World, scene: Scene) -> list[str]:
    found = []
    async with world.client(await world.token(Role.ADMIN)) as http:
        for route in _routes(world):
            address = _filled(route, scene)
            answer = await http.get(address)
            if answer.status_code == 303:
                continue
            assert answer.status_code == 200, f"{address}: {answer.status_code}"
            policy = answer.headers["content-security-policy"]
            assert policy == PAGE_HEADERS["content-security-policy"], address
            if answer.text.startswith("<!doctype html"):
                found.append(address)
    return [*found, f"/a/{await world.link(scene.approval)}"]


def _routes(world: World) -> list[str]:
    gets = [route for route in world.app.routes if isinstance(route, Route) and "GET" in (route.methods or ())]
    paths = [route.path for route in gets if not route.path.startswith((*PROGRAMS, "/a/", "/hooks/"))]
    return [path for path in paths if path not in KEPT]


def _filled(route: str, scene: Scene) -> str:
    """A route with something for each of its parameters. A KeyError here: a page was added, give it something."""
    room = route.split("/")[1]
    ids = {"executions": scene.runs["SUCCEEDED"], "approvals": scene.approval, "sessions": scene.running.session_id}
    its = {"name": "process-payment", "version": "1", "server": "payments", "tool": "pay"}
    its |= {"id": ids[room]} if room in ids else {}
    return PARAMETER.sub(lambda one: its[one[1]], route)


async def violations(page: Page, *, dark: Mapping[str, object] = RULES) -> list[str]:
    """What axe finds: all it knows in light, `dark` in dark; what is folded is opened before."""
    for details in await page.locator("details:not(.confirm)").all():
        await details.evaluate("one => { one.open = true }")
    await page.evaluate(AXE)
    found = []
    for scheme, rules in (("light", RULES), ("dark", dark)):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += (await page.evaluate("rules => axe.run(document, rules)", rules))["violations"]
    await page.emulate_media(color_scheme="light")
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


async def look(page: Page, url: str, path: str) -> None:
    """Open a page; a fault's page would pass all that follows."""
    answer = await page.goto(url + path)
    assert answer and (answer.ok or path == NOWHERE), f"{path}: {answer and answer.status}"


async def scrolls_sideways(page: Page) -> bool:
    return bool(await page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))
