"""The shared fixtures give what they say."""

import pytest
from playwright.async_api import Browser
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests import components


async def test_postgres_answers_over_asyncpg(postgres_database: str) -> None:
    engine = create_async_engine(postgres_database)
    async with engine.connect() as connection:
        version = await connection.scalar(text("show server_version_num"))
    await engine.dispose()
    assert int(version) >= 150000


async def test_the_browser_shows_a_page(browser: Browser) -> None:
    page = await browser.new_page()
    await page.set_content("<h1>Ready</h1>")
    assert await page.get_by_role("heading").inner_text() == "Ready"
    await page.close()


def test_a_missing_component_is_a_named_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    part = components.Component(name="abacus", missing=lambda: "no beads", install="apt install abacus")
    monkeypatch.setitem(components.COMPONENTS, "abacus", part)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"abacus is missing: no beads \(apt install abacus\)"):
        components.need("abacus")


def test_a_missing_component_fails_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    part = components.Component(name="abacus", missing=lambda: "no beads", install="apt install abacus")
    monkeypatch.setitem(components.COMPONENTS, "abacus", part)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="abacus is missing"):
        components.need("abacus")
