"""The log of an execution in Chromium: what a reader does with it. Limits of speed are in `scripts/show live`."""

import re
from collections.abc import Sequence

from playwright.async_api import Locator, Page, expect

from tests.browser.cables import Cables
from tests.browser.conftest import Stage
from tests.browser.scene import write_log

SETUP = tuple(("setup", "info", f"fetching package {n}") for n in range(30))


def said(count: int, start: int = 1) -> tuple[tuple[str, str, str], ...]:
    return tuple(("agent", "info", f"step {n}") for n in range(start, start + count))


async def opened(stage: Stage, lines: Sequence[tuple[str, str, str]], at: str = "") -> tuple[Page, Locator, str]:
    """The page of a running execution with these lines, its log in view and its socket up."""
    principal = await stage.world.house.running()
    run = principal.execution_id or ""
    if lines:
        await write_log(stage.world, run, tuple(lines))
    page = await stage.page()
    await page.goto(f"{stage.url}/executions/{run}{at}")
    log = page.get_by_role("log", name="Agent log")
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    await log.evaluate("one => one.scrollIntoView({block: 'center'})")
    return page, log, run


async def numbers(log: Locator) -> list[int]:
    found: list[int] = await log.evaluate("one => [...one.querySelectorAll('.line')].map(row => +row.id.slice(1))")
    return found


async def test_moving_up_pauses_and_what_one_reads_holds_still(stage: Stage, cables: Cables) -> None:
    page, log, run = await opened(stage, said(400))
    await expect(log.get_by_text("step 400", exact=True)).to_be_in_viewport()
    await log.hover()
    await page.mouse.wheel(0, -700)
    pill = page.locator("[data-pill]")
    await expect(pill).to_have_text("Paused")
    await page.wait_for_function(
        "() => { const t = document.querySelector('.log').scrollTop; "
        "const same = window.top_ === t; window.top_ = t; return same && t > 0 }"
    )
    where = await log.evaluate("one => [one.scrollTop, one.querySelector('#L370').getBoundingClientRect().top]")
    await write_log(stage.world, run, said(100, 401))
    assert cables.cut() == 1
    await write_log(stage.world, run, said(28, 501))
    await expect(pill).to_have_text("Paused · 128 new")
    assert await log.evaluate("one => [one.scrollTop, one.querySelector('#L370').getBoundingClientRect().top]") == where
    assert await numbers(log) == list(range(1, 529))
    await log.press("End")
    await expect(log.get_by_text("step 528", exact=True)).to_be_in_viewport()
    await expect(pill).to_be_hidden()
    await page.get_by_role("button", name="Following").click()
    await expect(pill).to_have_text("Paused")
    await pill.click()
    await expect(page.get_by_role("button", name="Following")).to_have_attribute("aria-pressed", "true")


async def test_the_set_up_is_open_until_the_agent_speaks_and_folded_from_then_on(stage: Stage) -> None:
    page, log, run = await opened(stage, SETUP[:10])
    fold = log.locator("summary")
    await expect(fold).to_have_text("Set-up · 10 lines")
    await write_log(stage.world, run, SETUP[10:])
    await expect(fold).to_have_text("Set-up · 30 lines")
    await expect(log.get_by_text("fetching package 29")).to_be_visible()
    await write_log(stage.world, run, said(1))
    await expect(log.get_by_text("step 1", exact=True)).to_be_visible()
    await expect(log.get_by_text("fetching package 29")).to_be_hidden()
    await page.reload()
    await expect(fold).to_have_text("Set-up · 30 lines")
    await expect(log.get_by_text("fetching package 29")).to_be_hidden()
    await fold.click()
    await expect(log.get_by_text("fetching package 29")).to_be_visible()


async def test_search_counts_steps_and_says_what_it_has_not_looked_at(stage: Stage) -> None:
    page, log, run = await opened(stage, said(1200))
    await page.keyboard.press("/")
    field, count = page.get_by_role("searchbox", name="Search the log"), page.locator("[data-found]")
    await expect(field).to_be_focused()
    before = await log.inner_html()
    await field.fill("STEP 111")
    await expect(count).to_have_text("1 of 10 in the lines shown")
    await field.press("Enter")
    await expect(count).to_have_text("2 of 10 in the lines shown")
    await expect(log.get_by_text("step 1110", exact=True)).to_be_in_viewport()
    await page.get_by_role("button", name="Previous match").click()
    await expect(count).to_have_text("1 of 10 in the lines shown")
    assert await log.inner_html() == before
    assert await page.evaluate("() => [...CSS.highlights.get('found')].map(String)") == ["step 111"] * 10
    await page.get_by_role("button", name="Search 700 more").click()
    await expect(count).to_have_text("11 found")
    assert await numbers(log) == list(range(1, 1201))
    await write_log(stage.world, run, (("agent", "info", "again \x1b[31mstep\x1b[0m 111"),))
    await expect(count).to_have_text("12 found")
    await field.fill("no such thing")
    await expect(count).to_have_text("0 found")
    await expect(page.get_by_role("button", name="Next match")).to_be_disabled()


async def test_a_line_has_an_address_also_one_that_the_page_began_without(stage: Stage) -> None:
    page, log, run = await opened(stage, said(3000), "#L1000")
    row = log.locator("#L1000")
    await expect(row).to_be_in_viewport()
    await expect(row).to_have_class(re.compile(r"\bhere\b"))
    assert await numbers(log) == [*range(900, 1400), *range(2501, 3001)]
    await log.get_by_role("button", name="Show 500 of 1,101 more lines").click()
    await expect(log.locator("#L1899")).to_be_attached()
    await log.get_by_role("button", name="Show 500 of 899 earlier lines").click()
    await expect(log.locator("#L400")).to_be_attached()
    assert await numbers(log) == [*range(400, 1900), *range(2501, 3001)]
    await log.locator("#L1010 a").click()
    assert page.url == f"{stage.url}/executions/{run}#L1010"
    await expect(log.locator(".here")).to_have_id("L1010")


async def test_colours_levels_and_lines_that_are_not_wrapped(stage: Stage) -> None:
    odd = "\x1b[1;32mok\x1b[0m <i>\x1b[2Kx\x1b]0;title\x07</i> \u202e"
    levels = (("agent", "warning", "careful"), ("agent", "error", "broken"), ("agent", "info", odd))
    page, log, run = await opened(stage, levels)
    await write_log(stage.world, run, ((*levels, ("agent", "info", "wide " * 400)))[2:])
    await expect(log.locator(".line")).to_have_count(5)
    for row in (log.locator("#L3"), log.locator("#L4")):  # drawn by the server, brought by the socket
        await expect(row.locator(".bold.green")).to_have_text("ok")
        await expect(row.locator("> span")).to_have_text("ok <i>x</i> U+202E")
    wide = "one => one.scrollWidth > one.clientWidth"
    assert not await log.evaluate(wide)
    await page.get_by_role("button", name="Wrap").click()
    assert await log.evaluate(wide)
    words = {"error": "1 line of this level", "warning": "2 lines of this level", "": ""}
    for level, seen in (("error", [2]), ("warning", [1, 2]), ("", [1, 2, 3, 4, 5])):
        await page.get_by_label("Levels shown").select_option(level)
        await expect(page.locator("[data-found]")).to_have_text(words[level])
        visible = "one => [...one.querySelectorAll('.line')].filter(r => r.checkVisibility()).map(r => +r.id.slice(1))"
        assert await log.evaluate(visible) == seen


async def test_a_level_that_none_of_the_lines_shown_has_says_so_and_leads_to_the_others(stage: Stage) -> None:
    page, log, _ = await opened(stage, (("agent", "error", "broken"), *said(700)))
    await page.get_by_label("Levels shown").select_option("error")
    await expect(page.locator("[data-found]")).to_have_text("No lines of this level in the lines shown")
    await page.get_by_role("button", name=re.compile(r"Search \d+ more")).click()
    await expect(page.locator("[data-found]")).to_have_text("1 line of this level")
    await expect(log.locator("#L1")).to_be_visible()


async def test_the_first_error_is_a_press_away_also_where_it_came_later(stage: Stage) -> None:
    page, log, run = await opened(stage, said(700))
    error = page.get_by_role("link", name="First error")
    await expect(error).to_be_hidden()
    await write_log(stage.world, run, (("agent", "error", "broken"), *said(300), ("agent", "error", "again")))
    await expect(error).to_have_attribute("href", "#L701")
    await error.click()
    await expect(log.locator("#L701")).to_be_in_viewport()
    await expect(log.locator(".here")).to_have_id("L701")
    await page.reload()
    await error.click()
    await expect(log.locator(".here")).to_have_id("L701")
