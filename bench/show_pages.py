"""Do the pages work for everybody: accessible in light and dark, at a desk and on a phone, by keyboard, in silence?

    scripts/show pages [--short]

A served world with runs in every state, and one without any, in Chromium. Each page route is asked of the application,
so a page that is added is swept. Then the list of executions with a million of them beside one with a thousand, on
SQLite and on PostgreSQL (`--short`: 390 pixels only, and 20,000 on SQLite). Prints `name: value` lines; exit 0 when all
of it holds, 1 when something does not, 2 when Chromium or PostgreSQL is missing.
"""

import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import anyio
from playwright.async_api import Browser, Page, async_playwright, expect

from bench import pages_million
from bench.figures import Sum, postgres, say
from control.identity.principals import Role
from kit import observe
from tests.browser import sweep
from tests.browser.scene import Scene, set_scene
from tests.components import chromium
from tests.conftest import CHROMIUM_FLAGS
from tests.postgres import cluster
from tests.serving import serving
from tests.web.world import World, open_world

WIDTHS = (1280, 390)
FULL, SHORT = (1_000, 1_000_000), (1_000, 20_000)
EMPTY = ("/", "/executions", "/flows", "/approvals", "/spend", "/sessions", "/tools")
REPORTS = """
window.forbidden = []
addEventListener("securitypolicyviolation", event => forbidden.push(`${event.violatedDirective}: ${event.blockedURI}`))
"""


@dataclass(kw_only=True)
class House:
    """Where the pages are, and what went wrong on them."""

    world: World
    url: str
    browser: Browser
    noise: list[str] = field(default_factory=list)

    async def page(self, width: int, **context: object) -> Page:
        opened = await self.browser.new_context(viewport={"width": width, "height": 860}, **context)  # type: ignore[arg-type]
        cookie = await self.world.token(Role.ADMIN)
        await opened.add_cookies([{"name": "preloop", "value": cookie, "url": self.url}])
        page = await opened.new_page()
        page.on("console", lambda message: self.noise.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: self.noise.append(f"{page.url}: {error}"))
        return page


@asynccontextmanager
async def house(browser: Browser) -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(Path(folder)) as world, serving(world.app) as url:
            yield House(world=world, url=url, browser=browser)


class Held:
    """What was shown so far."""

    def __init__(self) -> None:
        self.all = True

    def say(self, name: str, found: list[str]) -> None:
        """How many things are wrong, which is none when it holds; the first of them are named."""
        self.all &= not found
        say(name, f"{len(found)}{'' if not found else '  DOES NOT HOLD'}")
        for one in found[:20]:
            print(f"  {one}", file=sys.stderr)


async def swept(at: House, paths: list[str], width: int) -> tuple[list[str], list[str]]:
    """What axe finds in both themes, and the pages that are wider than the screen."""
    page = await at.page(width, bypass_csp=True)  # axe measures with styles of its own
    wrong, wide = [], []
    for path in paths:
        await sweep.look(page, at.url, path)
        wrong += [f"{path} at {width}: {one}" for one in await sweep.violations(page)]
        if await sweep.scrolls_sideways(page):
            wide.append(f"{path} at {width}")
    await page.context.close()
    return wrong, wide


async def silent(at: House, paths: list[str]) -> tuple[list[str], list[str]]:
    """What the policy refused, and what the console said, with the policy in force."""
    at.noise.clear()
    page, refused = await at.page(WIDTHS[0]), []
    await page.add_init_script(REPORTS)
    for path in paths:
        await sweep.look(page, at.url, path)
        await page.wait_for_load_state("networkidle")
        refused += [f"{path}: {one}" for one in await page.evaluate("window.forbidden")]
    await page.context.close()
    return refused, list(at.noise)


async def by_keyboard(at: House, scene: Scene) -> list[str]:
    """Walks without a mouse; those that did not lead where they should."""
    page = await at.page(WIDTHS[0])
    lost: list[str] = []
    for key, path in (("f", "/flows"), ("e", "/executions"), ("a", "/approvals"), ("s", "/spend"), ("d", "/")):
        await page.goto(f"{at.url}/sessions")
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await _try(lost, f"g {key}", page.wait_for_url(at.url + path, timeout=5000))
    for path in ("/executions", f"/executions/{scene.runs['SUCCEEDED']}"):
        await page.goto(at.url + path)
        await page.keyboard.press("/")
        field_ = page.locator("main :is(input, select):focus")
        await _try(lost, f"/ on {path}", expect(field_).to_have_count(1))
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await _try(lost, f"? on {path}", expect(page.get_by_role("dialog", name="Keys")).to_be_visible())
        await page.keyboard.press("Escape")
        await _try(lost, f"Esc on {path}", expect(page.get_by_role("dialog", name="Keys")).to_be_hidden())
    await page.goto(at.url)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await _try(lost, "skip link", expect(page.locator("main")).to_be_focused())
    await page.context.close()
    return lost


async def _try(lost: list[str], name: str, step: Awaitable[None]) -> None:
    try:
        await step
    except Exception as error:
        lost.append(f"{name}: {str(error).splitlines()[0]}")


async def pages(browser: Browser, held: Held, widths: Sequence[int]) -> None:
    async with house(browser) as at:
        scene = await set_scene(at.world)
        paths = await sweep.pages(at.world, scene)
        say("pages", len(paths))
        wrong, wide = [], []
        for width in widths:
            found = await swept(at, paths, width)
            wrong += found[0]
            wide += found[1]
        held.say(f"axe_violations_light_and_dark_at_{'_and_'.join(map(str, widths))}", wrong)
        held.say("pages_wider_than_the_screen", wide)
        refused, noise = await silent(at, [path for path in paths if path != sweep.NOWHERE])
        held.say("things_the_policy_refused", refused)
        held.say("lines_in_the_console", noise)
        held.say("keyboard_walks_that_got_lost", await by_keyboard(at, scene))
    async with house(browser) as at:
        wrong, wide = await swept(at, list(EMPTY), WIDTHS[1])
        held.say("axe_violations_of_empty_pages", wrong + wide)


async def shown(widths: Sequence[int]) -> bool:
    held, began = Held(), perf_counter()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        await pages(browser, held, widths)
        await browser.close()
    say("seconds_of_the_sweep", round(perf_counter() - began))
    return held.all


async def long_list(database: str, urls: Sequence[str] | None, finished: tuple[int, int], looks: int) -> bool:
    """The executions page with a long history, beside a short one."""
    sum_ = Sum(database)
    with tempfile.TemporaryDirectory() as folder:
        for name in pages_million.NAMES:
            await anyio.Path(folder, name).mkdir()
        await pages_million.compared(Path(folder), urls, finished, looks, sum_.say)
    return sum_.held


def main() -> int:
    observe.configure("error")
    short = "--short" in sys.argv[1:]
    programs = postgres()
    if chromium() is None or programs is None:
        print("Chromium and PostgreSQL are needed: apt-get install chromium postgresql", file=sys.stderr)
        return 2
    finished, looks = (SHORT, 40) if short else (FULL, 200)
    held = [anyio.run(shown, WIDTHS[1:] if short else WIDTHS), anyio.run(long_list, "sqlite", None, finished, looks)]
    if not short:
        with cluster(programs) as server:
            urls = [server.make_database(name) for name in pages_million.NAMES]
            held.append(anyio.run(long_list, "postgresql", urls, finished, looks))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
