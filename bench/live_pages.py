"""What is on the screen, and when: a page of a running execution in Chromium, watched from inside."""

import math
import time
from statistics import quantiles

import anyio
from playwright.async_api import Browser, Page

from bench.figures import Judged, Within
from bench.live_house import House

CHANGES = 60
HANG_MS = 60_000
P95_MS = 200.0
BADGE = """() => {
  window.changes = [];
  let was = document.querySelector('.head .badge').textContent;
  const look = () => {
    const now = document.querySelector('.head .badge').textContent;
    if (now !== was) requestAnimationFrame(() => changes.push(Date.now()));
    was = now;
  };
  const all = {subtree: true, childList: true, characterData: true};
  new MutationObserver(look).observe(document.querySelector('main'), all);
}"""
ALL = """count => {
  const log = document.querySelector('.log');
  const end = log.scrollHeight - log.clientHeight - log.scrollTop <= 1;
  return end && document.getElementById(`L${count}`) && log.getElementsByClassName('line').length >= count;
}"""
NUMBERS = "() => [...document.querySelectorAll('.line')].map(row => +row.id.slice(1))"
DRIFT = """number => {
  const row = document.getElementById(`L${number}`);
  const from = row.getBoundingClientRect().top;
  window.drift = 0;
  const look = () => {
    window.drift = Math.max(drift, Math.abs(row.getBoundingClientRect().top - from));
    requestAnimationFrame(look);
  };
  look();
}"""


async def opened(browser: Browser, house: House, calls: int = 0) -> tuple[Page, str]:
    """A new running execution that has called tools so often, and its page, with the socket up."""
    run = await house.do(start=True)
    await house.do(work=run, calls=calls)
    context = await browser.new_context(viewport={"width": 1280, "height": 860}, bypass_csp=True)
    await context.add_cookies([{"name": "preloop", "value": house.cookie, "url": house.url}])
    page = await context.new_page()
    page.set_default_timeout(HANG_MS)
    await page.goto(f"{house.url}/executions/{run}")
    await page.locator("main[data-socket=open]").wait_for()
    await page.locator(".log").evaluate("one => one.scrollIntoView({block: 'start'})")
    return page, run


async def changes(browser: Browser, house: House, calls: int, within: Within) -> None:
    """Approvals that are asked for and given in a run that has called tools so often: from the commit to the frame with
    the new badge, one clock for both."""
    page, run = await opened(browser, house, calls)
    await page.evaluate(BADGE)
    took = []
    call = ""
    for number in range(CHANGES):
        done = await (house.do(decide=call) if call else house.do(ask=run))
        call = done.get("call", "")
        await page.wait_for_function("count => changes.length === count", arg=number + 1)
        took.append(await page.evaluate("() => changes.at(-1)") - done["at"] * 1000)
        await anyio.sleep(0.25 + number % 7 / 20)
    limit = math.inf if calls else P95_MS  # a long run's page is larger; its figure is told, and may take longer
    within(f"p95_ms_of_{CHANGES}_changes_on_screen_after_{calls}_calls", quantiles(took, n=20)[-1], limit)
    await page.context.close()


async def burst(browser: Browser, house: House, count: int, limit_s: float, within: Within, judged: Judged) -> None:
    """From the first line written to the last one in view, with every other above it."""
    page, run = await opened(browser, house)
    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: house.do(log=run, count=count, per_s=0))
        await page.wait_for_function(ALL, arg=count)
        took = time.monotonic() - began
    whole = await page.evaluate(NUMBERS) == list(range(1, count + 1))
    within(f"seconds_until_{count}_lines_are_on_screen", took, limit_s)
    judged(f"each_of_{count}_lines_once_and_in_order", whole, whole)
    await page.context.close()


async def reader(browser: Browser, house: House, judged: Judged) -> None:
    """Somebody reads further up while it goes on and the network dies three times."""
    page, run = await opened(browser, house)
    await house.do(log=run, count=1000, per_s=0)
    await page.wait_for_function(ALL, arg=1000)
    await page.locator(".log").hover()
    await page.mouse.wheel(0, -900)
    await page.locator("[data-pill]").wait_for()
    await anyio.sleep(1)
    await page.evaluate(DRIFT, 900)
    cut = 0
    for _ in range(3):
        await house.do(log=run, count=500, per_s=500)
        cut += await house.do()
        await house.do(log=run, count=200, per_s=500)
        await page.locator("main[data-socket=open]").wait_for()
    await page.get_by_text("Paused · 2,100 new").wait_for()
    drift = await page.evaluate("() => drift")
    numbers = await page.evaluate(NUMBERS)
    judged("pixels_a_paused_view_moved_while_2100_lines_came", drift, drift == 0)
    judged("sockets_cut_on_the_way", cut, cut == 3)
    judged(
        "lines_missing_or_twice_afterwards",
        3100 - len(set(numbers)) + len(numbers) - len(set(numbers)),
        numbers == list(range(1, 3101)),
    )
    await page.context.close()
