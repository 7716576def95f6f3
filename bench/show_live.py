"""Is what happens on the screen within a moment, whole and in order, for many who watch?

    scripts/show live [--short]

A server in a process of its own, Chromium, and sockets. Prints `name: value` lines; exit 0 when all of it holds, 1 when
something does not, 2 when Chromium is missing. `--short` leaves out 50,000 lines and watches for three seconds.
"""

import sys
import tempfile
from pathlib import Path

import anyio
from playwright.async_api import async_playwright

from bench import live_pages, live_watchers
from bench.figures import say
from bench.live_house import house
from tests.components import chromium
from tests.conftest import CHROMIUM_FLAGS

BURSTS = {5_000: 2.0, 50_000: 8.0}
CALLS = (0, 30, 300)
SECONDS, SHORT_SECONDS = 15, 3


class Told:
    """Says figures, and remembers whether all of them hold."""

    def __init__(self) -> None:
        self.held = True

    def judged(self, name: str, value: object, holds: bool) -> None:
        self.held &= holds
        say(name, f"{value}{'' if holds else '  DOES NOT HOLD'}")

    def within(self, name: str, value: float, limit: float) -> None:
        self.judged(name, f"{value:.1f} (may be {limit:g})", value <= limit)


async def shown(browser_path: str, folder: Path, short: bool) -> bool:
    told = Told()
    with house(folder) as server:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM_FLAGS)
            for calls in CALLS:
                await live_pages.changes(browser, server, calls, told.within)
            for count, limit_s in list(BURSTS.items())[: 1 if short else None]:
                await live_pages.burst(browser, server, count, limit_s, told.within, told.judged)
            await live_pages.reader(browser, server, told.judged)
            await browser.close()
        await live_watchers.watched(server, SHORT_SECONDS if short else SECONDS, told.within, told.judged)
        await live_watchers.stalled(server, told.within, told.judged)
    return told.held


def main() -> int:
    if (path := chromium()) is None:
        print("Chromium is missing: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        return 0 if anyio.run(shown, path, Path(folder), "--short" in sys.argv[1:]) else 1


if __name__ == "__main__":
    sys.exit(main())
