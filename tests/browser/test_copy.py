"""What a press copies is what stands there; where a page has no clipboard the text is marked instead."""

from playwright.async_api import Page, expect

from tests.browser.conftest import Stage

SAID_MS = 2000  # longer than a button says what happened


async def _open(page: Page, url: str) -> None:
    """Open `url` with its timers held: a slow reader must not miss what a button says for a moment."""
    await page.clock.install()
    await page.goto(url)
    await page.clock.pause_at(await page.evaluate("Date.now()") + 1000)


async def test_an_id_and_arguments_are_copied_as_they_are_shown(stage: Stage) -> None:
    run = stage.scene.runs["SUCCEEDED"]
    page = await stage.page(permissions=["clipboard-read", "clipboard-write"])
    await _open(page, f"{stage.url}/executions/{run}")
    await page.get_by_role("button", name="Copy the id").click()
    await expect(page.get_by_role("button", name="Copied", exact=True)).to_have_text("Copied")
    await page.clock.run_for(SAID_MS)
    await expect(page.get_by_role("button", name="Copy the id")).to_have_text("Copy")
    assert await page.evaluate("() => navigator.clipboard.readText()") == run
    await page.locator("summary", has_text="Open").first.click()
    await page.get_by_role("button", name="Copy the arguments").first.click()
    assert '"amount": 1500' in await page.evaluate("() => navigator.clipboard.readText()")


async def test_without_a_clipboard_the_text_is_marked(stage: Stage) -> None:
    run = stage.scene.runs["SUCCEEDED"]
    page = await stage.page()
    await page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await _open(page, f"{stage.url}/executions/{run}")
    await page.get_by_role("button", name="Copy the id").click()
    await expect(page.get_by_role("button", name="Marked: press Ctrl C")).to_be_visible()
    assert await page.evaluate("() => getSelection().toString()") == run
