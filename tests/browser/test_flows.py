"""Flows in Chromium: how one fares, a payload tried while one types, and an edit from the form to its version."""

from playwright.async_api import expect

from control.identity.principals import Role
from tests.browser import sweep
from tests.browser.conftest import Stage
from tests.web.world import FLOW

PATH = "/flows/process-payment"


async def test_a_payload_is_tried_while_one_types(stage: Stage) -> None:
    page = await stage.page(Role.OPERATOR)
    await page.goto(stage.url + PATH)
    await page.get_by_role("link", name="Test Run", exact=True).click()
    payload, preview = page.get_by_label("Payload"), page.locator("#preview")
    await payload.fill('{"amuont": 20}')
    await expect(preview.get_by_text("2 variables have no value")).to_be_visible()
    await expect(preview).to_contain_text("trigger_event.payload.amount (payload has `amuont`)")
    await payload.fill('{"amount": 20,\n "recipient": <b>')
    await expect(preview.get_by_text("line 2 column 15")).to_be_visible()
    await payload.fill('{"amount": 20, "recipient": "<b>a</b>"}')
    await expect(preview.get_by_role("region", name="What the agent is told")).to_contain_text(
        "send 20 USD to <b>a</b>."
    )
    assert await preview.locator("b").count() == 0
    await page.get_by_label("A past event").select_option(stage.scene.runs["FAILED"])
    await page.get_by_role("button", name="Use its payload").click()
    await expect(page.get_by_label("Payload")).to_have_value(
        '{\n  "amount": 1500,\n  "recipient": "contractor@example.com"\n}'
    )
    await expect(page.locator("#preview")).to_contain_text("send 1500 USD")


async def test_bars_are_links_that_say_what_they_are_and_runs_come_by_themselves(stage: Stage) -> None:
    page = await stage.page(Role.VIEWER)
    await page.goto(stage.url + PATH)
    bars = page.locator("svg.bars a")
    names = [await bar.get_attribute("aria-label") or "" for bar in await bars.all()]
    words = ["Succeeded", "Failed", "Timeout", "Cancelled", "Waiting for Approval", "Running", "Pending"]
    assert [name.split(",")[0] for name in names] == words
    fills = [await bar.locator("rect.run").evaluate("one => getComputedStyle(one).fill") for bar in await bars.all()]
    assert len(set(fills[:4])) == 4
    assert [await bar.locator("rect.open").count() for bar in await bars.all()] == [0, 0, 0, 0, 1, 1, 1]
    run = await stage.world.house.start()
    await expect(page.locator(f"#row-{run}")).to_be_visible()
    await expect(bars).to_have_count(8)
    await bars.nth(1).focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/executions/{stage.scene.runs['FAILED']}")


async def test_an_edit_is_reviewed_refused_once_and_saved(stage: Stage) -> None:
    page = await stage.page(Role.OPERATOR, 390, bypass_csp=True)
    await page.goto(stage.url + PATH)
    await page.get_by_role("link", name="Edit flow").click()
    await page.get_by_text("Advanced").click()
    await page.get_by_label("Timeout (the agent").fill("45m")
    await page.get_by_role("checkbox", name="get_contract").uncheck()
    await expect(page.get_by_label("Denied when get_contract")).to_be_hidden()
    await page.get_by_role("button", name="Review changes").click()
    await expect(page.locator(".diff .plus").get_by_text("timeout: 45m")).to_be_visible()
    await expect(page.locator(".diff .minus").get_by_text("tool: get_contract")).to_be_visible()
    assert await sweep.violations(page, dark=sweep.COLOURS) == []
    assert not await sweep.scrolls_sideways(page)
    await stage.world.house.apply(FLOW.replace("Pay a", "Pay one"))
    await page.get_by_role("button", name="Save as version 2").click()
    await expect(page.get_by_role("heading", name="Version 2 was saved meanwhile")).to_be_visible()
    await expect(page.get_by_label("Timeout (the agent")).to_have_value("45m")
    assert await sweep.violations(page, dark=sweep.COLOURS) == []
    stage.noise.clear()  # the 412
    await page.get_by_role("button", name="Review changes").click()
    await page.get_by_role("button", name="Save as version 3").click()
    await page.wait_for_url(f"**{PATH}#versions")
    await expect(page.get_by_role("heading", name="What version 3 changed")).to_be_visible()
    await expect(page.get_by_text("Pay one contractor")).to_be_visible()
