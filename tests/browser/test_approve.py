"""A person with a phone and a link, in a real browser."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from control.executions.states import Cause
from tests.browser.conftest import Stage
from tests.browser.scene import PAYMENT
from tests.serving import serving

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
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_role("heading", name="Approved by Alice Moreau")).to_be_visible()
    assert (await stage.world.house.approval(stage.scene.call)).status == "approved"


async def test_the_hour_it_lapses_is_said_with_its_zone(stage: Stage) -> None:
    page = await stage.page(None, PHONE, timezone_id="America/New_York")
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await expect(page.locator("[data-due]")).to_have_text(
        re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (EST|EDT|GMT-\d)")
    )


async def test_declining_without_a_reason_is_stopped_by_the_form(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await page.get_by_role("button", name="Decline").click()
    assert (await stage.world.house.approval(stage.scene.call)).status == "pending"
    await page.get_by_label("Another reason, in words").check()
    await page.get_by_label("In words", exact=True).fill("Over this month's budget")
    await page.get_by_role("button", name="Decline").click()
    await expect(page.get_by_role("heading", name="Declined by Alice Moreau")).to_be_visible()
    assert await stage.world.state(stage.scene.runs["WAITING_FOR_APPROVAL"]) == "FAILED"


async def test_an_open_page_learns_that_somebody_else_decided(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    await expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    await stage.world.house.decide(stage.scene.call, approver="bob")
    await expect(page.get_by_role("heading", name="Approved by Bob Okafor")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
async def test_what_is_dear_is_typed_and_a_secret_looked_at(stage: Stage, scripts: bool) -> None:
    house = stage.world.house
    await house.end(stage.scene.runs["PENDING"], Cause.CANCELLED)
    principal = await house.gated(confirm="typed", summary="Pay {{args.amount}} USD to {{args.recipient}}")
    call = await house.call(principal, **PAYMENT, api_key="sk-very-secret")
    page = await stage.page(None, PHONE, java_script_enabled=scripts)
    await page.goto(f"{stage.url}/a/{await stage.world.link((await house.approval(call)).id)}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Pay 1,500 USD to contractor@example.com")
    await page.get_by_role("button", name="Show it once").click()
    await expect(page.get_by_text("sk-very-secret")).to_be_visible()
    await page.get_by_role("button", name="Approve", exact=True).click()
    assert (await house.approval(call)).status == "pending"
    await page.get_by_label("To approve, type the amount: 1500").fill("1,500")
    await page.get_by_role("button", name="Approve", exact=True).click()
    await expect(page.get_by_role("heading", name="Approved by Alice Moreau")).to_be_visible()
    await expect(page.get_by_text("sk-very-secret")).to_have_count(0)


async def test_a_link_that_only_looks_leads_to_a_sign_in(stage: Stage) -> None:
    house = stage.world.house
    await house.end(stage.scene.runs["PENDING"], Cause.CANCELLED)
    approval = (await house.approval(await house.call(await house.gated(sign_in=True)))).id
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(approval)}")
    await expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    await page.get_by_role("link", name="Sign in and decide").click()
    await page.wait_for_url(f"{stage.url}/signin?next=%2Fapprovals%2F{approval}")


@pytest.mark.parametrize("width", [1280, PHONE])
async def test_the_two_buttons_are_of_one_size(stage: Stage, width: int) -> None:
    page = await stage.page(None, width)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    sizes = []
    for name in ("Decline", "Approve"):
        box = await page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box
        sizes.append((box["width"], box["height"]))
    assert sizes[0] == sizes[1]


async def test_buttons_fit_a_thumb_and_stand_far_apart(stage: Stage) -> None:
    page = await stage.page(None, PHONE)
    await page.goto(f"{stage.url}/a/{await stage.world.link(stage.scene.approval)}")
    decline = await page.get_by_role("button", name="Decline").bounding_box()
    approve = await page.get_by_role("button", name="Approve", exact=True).bounding_box()
    assert decline
    assert approve
    assert min(decline["height"], approve["height"]) >= 48
    assert approve["y"] - (decline["y"] + decline["height"]) > 100
