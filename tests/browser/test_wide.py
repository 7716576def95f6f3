"""Names without a place to break: pages of runs stay as wide as the window, and so does what is on them."""

import pytest

from tests.browser.conftest import Stage
from tests.browser.spoil import spoil

OUT = """() => {
  const apart = ".log *, svg *, .unseen, .code, td.line *, .label *, details:not([open]) > :not(summary)";
  const unseen = (one) => one.closest(innerWidth < 700 ? `${apart}, thead` : apart);
  const right = (one) => one.getBoundingClientRect().right;
  const past = (one) => right(one) > right(one.parentElement.closest(".panel, .notice, main")) + 1;
  const out = [...document.querySelectorAll("main *")].filter((one) => !unseen(one) && past(one));
  const { scrollWidth, clientWidth } = document.documentElement;
  return [scrollWidth - clientWidth, ...out.map((one) => `${one.tagName} ${one.textContent.slice(0, 60)}`)];
}"""
"""By how much the page is too wide, and what reaches out of its panel, but for what is meant to be cut."""


@pytest.mark.parametrize("width", [390, 1280])
async def test_a_name_of_two_hundred_letters_widens_no_page(stage: Stage, width: int) -> None:
    await spoil(stage.world, stage.scene, "w" * 200)
    page = await stage.page(width=width)
    for path in ["/executions", *(f"/executions/{run}" for run in stage.scene.runs.values())]:
        await page.goto(stage.url + path)
        for details in await page.locator("main details:not(.confirm)").all():
            await details.evaluate("one => { one.open = true }")
        assert await page.evaluate(OUT) == [0], path
