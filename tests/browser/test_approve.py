"""A person with a phone and a link, in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.browser.conftest import Stage
from tests.web.world import serving

PHONE = 390


@asynccontextmanager
async def mail(link: str) -> AsyncIterator[str]:
    """Another site (`localhost` is not `127.0.0.1`) whose page holds the link, as web mail does."""

    async def inbox(request: Request) -> HTMLResponse:
        head = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Mail</title>'
        return HTMLResponse(f'{head}<a href="{link}">Decide</a>')

    async with serving(Starlette(routes=[Route("/", inbox)])) as url:
        yield url.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
async def test_a_link_in_a_mail_leads_to_one_approval(stage: Stage, scripts: bool) -> None:
    page = await stage.page(None, PHONE, java_script_enabled=scripts)
    async with mail(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}") as inbox:
        await page.goto(inbox)
        await page.get_by_role("link", name="Decide").click()
        await page.wait_for_url(f"{stage.url}/a/{stage.scene.approval}")
        await expect(page.get_by_role("heading", level=1)).to_have_text("pay on payments")
        await expect(page.get_by_text("U+202E")).to_be_visible()
        await expect(page.get_by_text("sk-very-secret")).to_have_count(0)
        await page.get_by_role("button", name="Approve").click()
        await expect(page.get_by_role("heading", name="Approved by Alice Moreau")).to_be_visible()
    assert (await stage.world.house.approval(stage.scene.call)).status == "approved"


async def test_declining_without_a_reason_is_stopped_by_the_form(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await page.get_by_role("button", name="Decline").click()
    assert (await stage.world.house.approval(stage.scene.call)).status == "pending"
    await page.get_by_label("Reason, required").fill("Over this month's budget")
    await page.get_by_role("button", name="Decline").click()
    await expect(page.get_by_role("heading", name="Declined by Alice Moreau")).to_be_visible()
    assert await stage.world.state(stage.scene.runs["WAITING_FOR_APPROVAL"]) == "FAILED"


async def test_an_open_page_learns_that_somebody_else_decided(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await expect(page.get_by_role("button", name="Approve")).to_be_visible()
    await stage.world.house.decide(stage.scene.call, approver="bob")
    await expect(page.get_by_role("heading", name="Approved by Bob Okafor")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_buttons_fit_a_thumb_and_stand_far_apart(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    decline = await page.get_by_role("button", name="Decline").bounding_box()
    approve = await page.get_by_role("button", name="Approve").bounding_box()
    assert decline
    assert approve
    assert min(decline["height"], approve["height"]) >= 48
    assert approve["y"] - (decline["y"] + decline["height"]) > 100
