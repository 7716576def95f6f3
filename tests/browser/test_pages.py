"""Every page in Chromium: accessible, within the phone's width, silent in the console, and alive."""

import re
from datetime import datetime, timedelta

import pytest
from playwright.async_api import expect

from control.executions.states import Cause
from control.identity.principals import Role
from tests.browser import sweep
from tests.browser.conftest import Stage
from tests.browser.scene import end, write_log

SOON_MS = 20_000
"""Less than a page waits until it looks by itself (live.js, CALM)."""
OUTSIDE = (-9, -9)
"""The pointer leaves the window."""
REPORTS = """
window.forbidden = []
addEventListener("securitypolicyviolation", event => forbidden.push(`${event.violatedDirective}: ${event.blockedURI}`))
"""


async def test_every_page_passes_axe_on_a_phone(stage: Stage) -> None:
    """On a desk too, and in dark by all rules: `scripts/show pages`."""
    page = await stage.page(Role.ADMIN, 390, bypass_csp=True)  # axe measures with styles of its own
    wrong = {}
    for path in await sweep.pages(stage.world, stage.scene):
        await sweep.look(page, stage.url, path)
        wrong[path] = await sweep.violations(page, dark=sweep.COLOURS)
        assert not await sweep.scrolls_sideways(page), path
    assert not {path: found for path, found in wrong.items() if found}
    stage.noise[:] = [line for line in stage.noise if "404" not in line]  # Chromium tells of the address that is none


async def test_no_page_asks_for_what_its_policy_forbids_or_is_wider_than_a_desk(stage: Stage) -> None:
    page = await stage.page()
    await page.add_init_script(REPORTS)
    for path in await sweep.pages(stage.world, stage.scene):
        if path == sweep.NOWHERE:
            continue
        await sweep.look(page, stage.url, path)
        assert await page.evaluate("window.forbidden") == [], path
        assert not await sweep.scrolls_sideways(page), path
    assert stage.noise == []


async def test_a_run_is_watched_to_its_end_without_a_reload(stage: Stage) -> None:
    principal = stage.scene.running
    page = await stage.page()
    await page.goto(f"{stage.url}/executions/{principal.execution_id}")
    await page.evaluate("() => { window.same = true }")
    log = page.get_by_role("log", name="Agent log")
    await expect(log.locator(".line")).to_have_count(5)
    await expect(page.locator("[data-follow]")).to_be_visible()
    await write_log(stage.world, principal.execution_id or "", (("agent", "error", "<script>alert(1)</script>"),))
    await expect(log.get_by_text("<script>alert(1)</script>")).to_be_visible()
    call = await stage.world.house.call(principal, amount=700)
    await expect(page.get_by_role("heading", name="Waiting for approval of pay")).to_be_visible()
    await expect(page).to_have_title("Waiting for Approval: process-payment · Preloop")
    await stage.world.house.decide(call)
    await stage.world.house.claim(principal, call)
    await stage.world.house.settle(call, transaction_id="tx_1")
    await end(stage.world, principal, None)
    await expect(page.locator(".head .badge")).to_have_text("Succeeded")
    await expect(page).to_have_title("Succeeded: process-payment · Preloop")
    await expect(page.get_by_role("link", name="Download raw")).to_be_visible()
    await expect(page.locator("[data-follow]")).to_be_hidden()
    assert await page.evaluate("() => window.same")


async def test_a_new_row_keeps_what_is_open_open(stage: Stage) -> None:
    principal = stage.scene.running
    first = await stage.world.house.call(principal, "get_contract", id="CONTRACT-1")
    page = await stage.page()
    await page.goto(f"{stage.url}/executions/{principal.execution_id}")
    await page.locator(f"#open-{first} summary").click()
    await expect(page.locator(f"#open-{first} pre").first).to_be_visible()
    second = await stage.world.house.call(principal, "get_contract", id="CONTRACT-2")
    await expect(page.locator(f"#{second}")).to_be_visible()
    await expect(page.locator(f"#open-{first} pre").first).to_be_visible()


async def test_new_executions_appear_in_the_list(stage: Stage) -> None:
    page = await stage.page()
    await page.goto(f"{stage.url}/executions")
    run = await stage.world.house.start()
    await expect(page.locator(f"#row-{run}")).to_be_visible()


async def test_a_list_that_is_read_does_not_jump_and_counts_what_is_new(stage: Stage) -> None:
    page = await stage.page()
    await page.goto(f"{stage.url}/executions")
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    seen = page.locator(f"#row-{stage.scene.runs['RUNNING']}")
    await seen.hover()
    before = await seen.bounding_box()
    new = [await stage.world.house.start(), await stage.world.house.start()]
    await expect(page.get_by_role("button", name="2 new")).to_be_visible()
    await stage.world.house.db.write(
        lambda tx: stage.world.house.lifecycle.end(tx, stage.scene.runs["RUNNING"], Cause.AGENT_ERROR)
    )
    await expect(seen.get_by_text("Failed")).to_be_visible()
    assert await seen.bounding_box() == before
    await expect(page.locator(f"#row-{new[0]}")).to_have_count(0)
    await page.get_by_role("button", name="2 new").click()
    for id_ in new:
        await expect(page.locator(f"#row-{id_}")).to_be_visible()
    await expect(page.locator("[data-fresh]")).to_be_hidden()


@pytest.mark.parametrize(
    ("path", "state", "away"), [("/flows/process-payment", "RUNNING", (0, 0)), ("/", "PENDING", OUTSIDE)]
)
async def test_a_row_under_the_pointer_stays_there(stage: Stage, path: str, state: str, away: tuple[int, int]) -> None:
    house, page, run = stage.world.house, await stage.page(), stage.scene.runs[state]
    await page.goto(stage.url + path)
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    seen = page.locator(f".runs #row-{run}")
    await seen.hover()
    before = await seen.bounding_box()
    new = page.locator(f"#row-{await house.start()}")
    await house.end(run, Cause.CANCELLED)
    await expect(seen.get_by_text("Cancelled")).to_be_visible()
    assert await seen.bounding_box() == before
    await expect(new).to_have_count(0)
    await page.wait_for_load_state("networkidle")  # what the two changes made it ask is answered
    await page.mouse.move(*away)
    await expect(new).to_have_count(1, timeout=SOON_MS)


async def test_a_request_decided_elsewhere_stays_where_it_was_in_an_open_inbox(stage: Stage) -> None:
    house, page = stage.world.house, await stage.page(Role.APPROVER, 390)
    first = stage.scene.approval
    await house.end(stage.scene.runs["PENDING"], Cause.CANCELLED)
    second = (await house.approval(await house.call(await house.running(), amount=700))).id
    await page.goto(f"{stage.url}/approvals")
    await expect(page.locator("main")).to_have_attribute("data-socket", "open")
    below = page.locator(f"#row-{second}").get_by_role("link", name="View request")
    before = await below.bounding_box()
    await house.decide(stage.scene.call)
    await expect(page.locator(f"#row-{first}.over")).to_contain_text("Approved")
    assert await below.bounding_box() == before
    await expect(page.locator(f"#row-{first}")).to_have_count(1)
    await expect(page.locator(f"#row-{first}").get_by_role("link", name="View request")).to_have_count(0)
    await page.reload()
    await expect(page.locator(f"#closed-panel #row-{first}")).to_be_visible()
    await expect(page.locator(".over")).to_have_count(0)


async def test_run_again_leads_to_the_new_one(stage: Stage) -> None:
    page = await stage.page(Role.OPERATOR)
    await page.goto(f"{stage.url}/executions/{stage.scene.runs['FAILED']}")
    assert await page.get_by_text("Retry").count() == 0
    await page.get_by_role("button", name="Run again").click()
    await expect(page.locator(".head .badge")).to_have_text("Pending")
    assert stage.scene.runs["FAILED"] not in page.url
    await expect(page.get_by_role("link", name=stage.scene.runs["FAILED"])).to_be_visible()


async def test_cancel_asks_before_it_does(stage: Stage) -> None:
    run = stage.scene.runs["RUNNING"]
    page = await stage.page(Role.OPERATOR)
    await page.goto(f"{stage.url}/executions/{run}")
    await page.get_by_text("Cancel Execution").click()
    assert (await stage.world.house.row(run)).stop_intent is None
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_text("stopping: Cancelled")).to_be_visible()
    assert (await stage.world.house.row(run)).stop_intent == "cancelled"


async def test_keys_lead_through_the_house_and_rest_while_somebody_types(stage: Stage) -> None:
    page = await stage.page(Role.VIEWER)
    keys = page.get_by_role("dialog", name="Keys")
    await page.goto(stage.url)
    for key in ("g", "e"):
        await page.keyboard.press(key)
    await page.wait_for_url(f"{stage.url}/executions")
    await page.keyboard.press("Control+g")
    await page.keyboard.press("a")
    await page.keyboard.press("/")
    field = page.locator("main :is(input, select):focus")
    await expect(field).to_have_count(1)
    await page.get_by_label("Flow", exact=True).focus()
    await page.keyboard.type("g?/d")
    await expect(page.get_by_label("Flow", exact=True)).to_have_value("g?/d")
    await expect(keys).to_be_hidden()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(keys).to_be_visible()
    await expect(keys).not_to_contain_text("Audit")  # which a viewer may not open
    await page.keyboard.press("Escape")
    await expect(keys).to_be_hidden()
    assert page.url == f"{stage.url}/executions"


async def test_a_tab_says_what_is_so_and_times_are_the_viewers(stage: Stage) -> None:
    principal = stage.scene.running
    page = await stage.page(timezone_id="Asia/Kolkata")
    await page.goto(f"{stage.url}/executions/{principal.execution_id}")
    icon, count = page.locator("link[rel=icon]"), page.locator("#waiting-count")
    await expect(icon).to_have_attribute("href", re.compile("state-running"))
    await expect(count).to_have_text("1 waiting")
    await stage.world.house.call(principal, amount=700)
    await expect(icon).to_have_attribute("href", re.compile("state-waiting"))
    await expect(count).to_have_text("2 waiting")
    triggered = page.locator(".facts time").first
    await expect(triggered).to_have_attribute("title", re.compile(r"^\S+ \S+ Asia/\w+, \S+ \S+ UTC$"))
    at = datetime.fromisoformat(await triggered.get_attribute("datetime") or "")
    here = (at + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%d %H:%M:%S")
    assert (await triggered.get_attribute("title") or "").startswith(here)


async def test_without_scripts_times_are_utc_and_say_so(stage: Stage) -> None:
    page = await stage.page(java_script_enabled=False, timezone_id="Asia/Kolkata")
    await page.goto(f"{stage.url}/approvals/{stage.scene.approval}")
    await expect(page.locator("main time").last).to_have_text(re.compile(r"\d\d:\d\d:\d\d UTC$"))


async def test_chosen_colours_are_kept(stage: Stage) -> None:
    page = await stage.page(color_scheme="light")
    await page.goto(stage.url)
    await page.get_by_label("Colours").select_option("dark")
    await page.goto(f"{stage.url}/flows")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


async def test_the_drawer_opens_on_a_phone(stage: Stage) -> None:
    page = await stage.page(width=390)
    await page.goto(stage.url)
    link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Executions")
    await expect(link).to_be_hidden()
    await page.get_by_role("button", name="Menu").click()
    await link.click()
    await page.wait_for_url(f"{stage.url}/executions")


async def test_a_test_run_is_typed_and_started(stage: Stage) -> None:
    page = await stage.page(Role.OPERATOR)
    await page.goto(f"{stage.url}/flows/process-payment")
    await page.get_by_label("Payload").fill('{"amount": 20, "recipient": "a@example.com"}')
    await page.get_by_role("button", name="Run Test").click()
    await page.wait_for_url("**/executions/exe_*")
    await expect(page.locator(".head .badge")).to_have_text("Pending")
