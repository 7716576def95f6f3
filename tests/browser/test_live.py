"""Pages over the live socket in Chromium: no asking while it is up, no gap and nothing twice when it was gone."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from playwright.async_api import Page, Request, expect

from control.identity.principals import Role
from tests.browser.cables import Cables
from tests.browser.conftest import Stage
from tests.browser.scene import end, write_log

QUESTION = re.compile(r"[?&]part=live|/logs\?after=")


class Questions:
    """What a page asks for by itself."""

    def __init__(self, page: Page) -> None:
        self.asked: list[str] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if QUESTION.search(request.url):
            self.asked.append(request.url)


@asynccontextmanager
async def live_page(stage: Stage, path: str, role: Role = Role.ADMIN) -> AsyncIterator[tuple[Page, Questions]]:
    """A page with its socket up and its first look behind it; the clock of the page is the test's."""
    page = await stage.page(role)
    await page.clock.install()
    await page.goto(stage.url + path)
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    yield page, Questions(page)


def lines(*texts: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(("agent", "info", text) for text in texts)


async def shown(page: Page) -> list[int]:
    """Numbers of the log's lines, from top to bottom."""
    found: list[int] = await page.evaluate(
        "() => [...document.querySelectorAll('.log .line')].map(d => +d.id.slice(1))"
    )
    return found


async def test_a_line_is_on_the_page_at_once_and_the_page_asks_nothing(stage: Stage) -> None:
    run = stage.scene.runs["RUNNING"]
    async with live_page(stage, f"/executions/{run}") as (page, questions):
        await page.clock.run_for(20_000)
        await write_log(stage.world, run, lines("brought by the socket", "a \u202etxt.exe\u202c"))
        await expect(page.get_by_text("brought by the socket")).to_be_visible()
        await expect(page.locator(".log b.char").first).to_have_text("U+202E")
        assert questions.asked == []
        assert await shown(page) == list(range(1, 8))


async def test_a_change_is_on_the_page_after_one_question(stage: Stage) -> None:
    principal = stage.scene.running
    async with live_page(stage, f"/executions/{principal.execution_id}") as (page, questions):
        call = await stage.world.house.call(principal, amount=700)
        await expect(page.get_by_role("heading", name="Waiting for approval of pay")).to_be_visible()
        await expect(page.get_by_text("Waiting for approval... (timeout: 10 minutes)")).to_be_visible()
        assert 1 <= len([url for url in questions.asked if "part=live" in url]) <= 2
        await stage.world.house.decide(call)
        await end(stage.world, principal, None)
        await expect(page.locator(".head .badge")).to_have_text("Succeeded")


async def test_a_duration_grows_though_nothing_is_asked(stage: Stage) -> None:
    async with live_page(stage, f"/executions/{stage.scene.runs['RUNNING']}") as (page, questions):
        await page.clock.run_for(25_000)
        duration = page.locator(".facts div").filter(has=page.locator("dt", has_text="Duration")).locator("dd").first
        await expect(duration).to_have_text(re.compile(r"^(2[5-9]|[345]\d)\.\d s$"))
        assert questions.asked == []


@pytest.mark.parametrize("cuts", [1, 3])
async def test_a_socket_that_is_cut_comes_back_without_a_gap(stage: Stage, cables: Cables, cuts: int) -> None:
    run = stage.scene.runs["RUNNING"]
    async with live_page(stage, f"/executions/{run}") as (page, questions):
        for cut in range(cuts):
            assert cables.cut() == 1
            await write_log(stage.world, run, lines(f"while it was gone {cut}", "more"))
            await expect(page.locator("main")).to_have_attribute("data-socket", "closed")
            await write_log(stage.world, run, lines("and more"))
            await expect(page.locator("main")).to_have_attribute("data-socket", "open")
        questions.asked.clear()
        await write_log(stage.world, run, lines("it is back"))
        await expect(page.get_by_text("it is back")).to_be_visible()
        assert questions.asked == []
        assert await shown(page) == list(range(1, 5 + 3 * cuts + 2))


async def test_whoever_is_signed_out_elsewhere_sees_no_more_and_comes_back(stage: Stage) -> None:
    path = f"/executions/{stage.scene.runs['RUNNING']}"
    page = await stage.page()
    await page.goto(stage.url + path)
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    [cookie] = [one.get("value", "") for one in await page.context.cookies() if one.get("name") == "preloop"]
    async with stage.world.client(cookie) as http:
        await http.post("/signout")
    await expect(page).to_have_url(f"{stage.url}/signin?next={quote(path, safe='')}")


async def test_without_a_socket_the_page_asks_as_before(stage: Stage) -> None:
    run = stage.scene.runs["RUNNING"]
    page = await stage.page()
    await page.route_web_socket("**/api/v1/live", lambda socket: socket.close(code=1008))
    await page.goto(f"{stage.url}/executions/{run}")
    await expect(page.locator("main")).to_have_attribute("data-socket", "closed")
    await write_log(stage.world, run, lines("found by asking"))
    await expect(page.get_by_text("found by asking")).to_be_visible()
    assert await shown(page) == list(range(1, 7))


async def test_a_burst_is_shown_whole_and_in_order(stage: Stage) -> None:
    run = stage.scene.runs["RUNNING"]
    async with live_page(stage, f"/executions/{run}") as (page, questions):
        for part in range(5):
            await write_log(stage.world, run, lines(*(f"line {part}-{n}" for n in range(1000))))
        await expect(page.get_by_text("line 4-999", exact=True)).to_be_attached()
        await page.get_by_role("log").evaluate("one => one.scrollIntoView({block: 'end'})")
        await expect(page.get_by_text("line 4-999", exact=True)).to_be_in_viewport()
        assert await shown(page) == list(range(1, 5006))
        assert questions.asked == []


async def test_lists_hear_of_what_is_new(stage: Stage) -> None:
    async with live_page(stage, "/executions") as (page, questions):
        run = await stage.world.house.start()
        await expect(page.locator(f"#row-{run}")).to_be_visible()
        assert questions.asked
    async with live_page(stage, "/approvals") as (page, _):
        await expect(page).to_have_title("(1) Approvals · Preloop")
        await stage.world.house.call(stage.scene.running, amount=700)
        await expect(page).to_have_title("(2) Approvals · Preloop")
    async with live_page(stage, "/") as (page, _):
        await expect(page.get_by_role("heading", name="2 waiting for a person")).to_be_visible()
        await stage.world.house.decide(stage.scene.call)
        await expect(page.get_by_role("heading", name="1 waiting for a person")).to_be_visible()


async def test_a_request_that_somebody_else_decides_changes_under_ones_eyes(stage: Stage) -> None:
    page = await stage.page(Role.APPROVER)
    await page.goto(f"{stage.url}/approvals/{stage.scene.approval}")
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    await stage.world.house.decide(stage.scene.call, approver="bob")
    await expect(page.get_by_role("heading", name="Approved by Bob Okafor")).to_be_visible()
