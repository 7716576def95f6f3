"""The pictures of README and docs, taken of a served world with Chromium.

    scripts/screenshots [FOLDER]

Each is one page or one section of it, under the name that the product page has for it; `docs/images` unless a folder is
given. The rows behind them are made by the domain's own units (`tests/browser/scene`), with a month of past runs.
"""

import random
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import sqlalchemy as sa
from playwright.async_api import Browser, Page, async_playwright

from control.executions import logs
from control.executions.states import Cause
from control.identity.principals import Role
from control.tables import approvals, executions, log_chunks, streams, tool_calls
from kit import observe
from kit.clock import rfc3339
from kit.db import Tx
from ledger.tables import entries
from tests.browser.scene import Scene, end, set_scene
from tests.components import chromium
from tests.conftest import CHROMIUM_FLAGS
from tests.control.house import ACCOUNT
from tests.serving import serving
from tests.web.world import World, open_world

FOLDER = Path(__file__).parents[1] / "docs" / "images"
MOST_BYTES = 200_000
PAST: tuple[tuple[Cause | None, float], ...] = (
    *((None, minutes) for minutes in (2.1, 3.4, 1.9, 2.6, 4.2, 2.2, 1.7, 3.1, 2.9, 2.4)),
    (Cause.TIMEOUT, 30.0),
    *((None, minutes) for minutes in (2.0, 2.8, 3.3, 1.8, 2.5, 2.2, 3.9)),
    (Cause.MODEL_ERROR, 0.8),
    *((None, minutes) for minutes in (2.3, 2.7, 1.6)),
)
"""How past runs ended and how many minutes they took, oldest first."""
Line = tuple[float, str, str, str]
"""Seconds after the claim, source, level, text."""
WORK: tuple[Line, ...] = (
    (0.4, "setup", "info", "Preparing the work folder"),
    (2.1, "setup", "info", "The agent is ready"),
    (5.2, "agent", "info", "Invoice 2025-117 read: 1500 USD to contractor@example.com"),
    (9.7, "agent", "info", "Looking up CONTRACT-2025-001"),
    (12.3, "agent", "info", "The contract runs until December and allows 2,000 USD a month"),
    (17.8, "agent", "warning", "One payment of 450 USD was made under this contract this month already"),
    (24.5, "agent", "info", "With this one the month comes to 1,950 USD, which the contract allows"),
)
ASKED: tuple[Line, ...] = (
    (30.9, "agent", "info", "Calling pay"),
    (31.0, "preloop", "info", "Status: Waiting for approval (tool is prelooped)"),
    (31.2, "preloop", "info", "Approval request sent to: Alice Moreau, Bob Okafor"),
    (31.2, "preloop", "info", "Waiting for approval... (timeout: 10 minutes)"),
)
PAID: tuple[Line, ...] = (
    (114.0, "preloop", "info", "Approval received from: Alice Moreau"),
    (116.4, "agent", "info", "Paid: transaction tx_abc123"),
    (126.8, "agent", "info", "Done"),
)
MISSED: tuple[Line, ...] = (
    (9.7, "agent", "info", "Looking up CONTRACT-404"),
    (11.3, "preloop", "error", "Tool 'get_contract' failed: no contract CONTRACT-404"),
    (24.0, "agent", "warning", "There is no such contract; nothing was paid"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """When things happened in a run, in seconds: `ago` is its claim, all else counts from there."""

    ago: float
    lasts: float | None = None
    asked: float = 31.0
    waits: float = 0.0
    answers: float = 2.0
    log: tuple[Line, ...] = WORK


STORIES = {
    "SUCCEEDED": Story(ago=7400, lasts=127, waits=83, log=(*WORK, *ASKED, *PAID)),
    "FAILED": Story(ago=5200, lasts=31, asked=9.8, answers=1.5, log=(*WORK[:3], *MISSED)),
    "TIMEOUT": Story(ago=3100, lasts=1800),
    "CANCELLED": Story(ago=700, lasts=96),
    "WAITING_FOR_APPROVAL": Story(ago=52, log=(*WORK, *ASKED)),
    "RUNNING": Story(ago=27),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A page, and the section of it that is shown; without one what a screen of that height shows."""

    path: str
    section: str | None = None
    height: int = 760


def _shots(scene: Scene) -> dict[str, Shot]:
    run = {state: f"/executions/{id_}" for state, id_ in scene.runs.items()}
    flow = "/flows/process-payment"
    return {
        "all-executions-page": Shot(path="/executions"),
        "flow-recent-executions": Shot(path=flow, section="section:has(> header #recent)"),
        "execution-succeeded": Shot(path=run["SUCCEEDED"]),
        "execution-failed": Shot(path=run["FAILED"]),
        "execution-details-overview": Shot(path=run["SUCCEEDED"], section="section[aria-label=Overview]"),
        "execution-logs-running": Shot(path=run["RUNNING"], section="section[aria-labelledby=logs]"),
        "execution-logs-approval-waiting": Shot(
            path=run["WAITING_FOR_APPROVAL"], section="section[aria-labelledby=logs]"
        ),
        "execution-tool-calls": Shot(path=run["SUCCEEDED"], section="section[aria-labelledby=calls]"),
        "execution-approvals": Shot(path=run["SUCCEEDED"], section="section[aria-labelledby=approvals]"),
        "execution-error-details": Shot(path=run["FAILED"], section="section[aria-labelledby=error]"),
        "dashboard-flow-stats": Shot(path="/"),
        "flow-health-stats": Shot(path=flow, height=620),
    }


async def past(world: World) -> None:
    """A month of runs, oldest first."""
    chance = random.Random(7)
    for number, (cause, minutes) in enumerate(PAST):
        principal = await world.house.running()
        cost = chance.randrange(4_000_000, 31_000_000)
        await world.spent(principal.execution_id, cost_nano=cost)
        id_, days = await end(world, principal, cause, _message(cause)), len(PAST) - number
        await world.house.db.write(partial(_age, id_=id_, days=days, minutes=minutes))


def _message(cause: Cause | None) -> str:
    words = {Cause.TIMEOUT: "The agent worked for 30 minutes.", Cause.MODEL_ERROR: "The provider is overloaded."}
    return words.get(cause, "") if cause else ""


def _age(tx: Tx, id_: str, days: float, minutes: float) -> None:
    began = tx.now() - timedelta(days=days, minutes=17)
    its = {"created_at": began, "claimed_at": began + timedelta(seconds=2), "trigger_type": "webhook"}
    ended = began + timedelta(seconds=2, minutes=minutes)
    tx.execute(sa.update(executions).where(executions.c.id == id_).values(**its, ended_at=ended))
    told = {"at": ended, "day": ended.date().isoformat()}
    tx.execute(sa.update(entries).where(entries.c.execution_id == id_).values(**told))


def _tell(tx: Tx, id_: str, its: Story) -> None:
    """Give a run of the scene the times of its story."""

    def after(seconds: float) -> datetime:
        return tx.now() - timedelta(seconds=its.ago - seconds)

    mine = sa.update(executions).where(executions.c.id == id_)
    tx.execute(
        mine.values(created_at=after(-2), claimed_at=after(0), agent_started_at=after(4), trigger_type="webhook")
    )
    if its.lasts:
        tx.execute(mine.values(ended_at=after(its.lasts), agent_ended_at=after(its.lasts), waited_ms=its.waits * 1000))
    sent, settled = after(its.asked + its.waits), after(its.asked + its.waits + its.answers)
    calls = sa.update(tool_calls).where(tool_calls.c.execution_id == id_)
    tx.execute(calls.values(asked_at=after(its.asked)))
    over = calls.where(tool_calls.c.settled_at.is_not(None))
    tx.execute(over.values(sent_at=sent, settled_at=settled, waited_ms=its.waits * 1000))
    asked = sa.update(approvals).where(approvals.c.execution_id == id_)
    tx.execute(asked.values(asked_at=after(its.asked)))
    tx.execute(asked.where(approvals.c.decided_at.is_not(None)).values(decided_at=sent))
    tx.execute(sa.update(entries).where(entries.c.execution_id == id_).values(at=after(8)))
    tx.execute(sa.delete(log_chunks).where(log_chunks.c.execution_id == id_))
    tx.execute(sa.update(streams).where(streams.c.id == logs.stream_of(id_)).values(last_seq=0))
    logs.append(tx, ACCOUNT, id_, [(rfc3339(after(s)), source, level, text) for s, source, level, text in its.log])


async def take(page: Page, url: str, shot: Shot, to: Path) -> None:
    await page.set_viewport_size({"width": 1280, "height": shot.height})
    await page.goto(url + shot.path)
    await page.wait_for_load_state("load")
    if shot.section:
        await page.locator(shot.section).first.screenshot(path=to, animations="disabled")
    else:
        await page.screenshot(path=to, animations="disabled")


async def taken(browser: Browser, folder: Path) -> dict[str, int]:
    """Sizes in bytes by name."""
    sizes = {}
    with tempfile.TemporaryDirectory() as data:
        async with open_world(Path(data)) as world, serving(world.app) as url:
            await past(world)
            scene = await set_scene(world)
            for state, story in STORIES.items():
                await world.house.db.write(partial(_tell, id_=scene.runs[state], its=story))
            context = await browser.new_context(timezone_id="Europe/Berlin")
            cookie = await world.token(Role.ADMIN)
            await context.add_cookies([{"name": "preloop", "value": cookie, "url": url}])
            page = await context.new_page()
            for name, shot in _shots(scene).items():
                to = folder / f"{name}.png"
                await take(page, url, shot, to)
                sizes[name] = to.stat().st_size
    return sizes


async def shoot(folder: Path) -> bool:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        sizes = await taken(browser, folder)
        await browser.close()
    for name, size in sizes.items():
        print(f"{name}: {size} bytes{'' if size < MOST_BYTES else '  TOO LARGE'}")
    return max(sizes.values()) < MOST_BYTES


def main() -> int:
    observe.configure("error")
    if chromium() is None:
        print("Chromium is missing: apt-get install chromium", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return 0 if anyio.run(shoot, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
