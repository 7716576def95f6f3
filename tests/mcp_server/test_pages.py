"""A wait as a page: for a client of 2026-07-28 that hears no progress but can show an address to its person."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from control.identity.doorkeeper import Listener
from mcp_server import calling
from tests.mcp_server.plane import FREE, GATED, PAYMENT, PUBLIC, Payments, Plane, text_of


@asynccontextmanager
async def shown(house: Plane, token: str, seen: list[str]) -> AsyncIterator[Client]:
    """A client whose person is shown each address, and says yes to the approval there at the second look."""

    async def elicit(context: Any, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        seen.append(params.url)
        [approval] = await house.pending()
        assert params.url == f"{PUBLIC}/approvals/{approval.id}"
        if len(seen) == 2:
            await house.decide(approval)
        return ElicitResult(action="accept")

    http = httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    transport = streamable_http_client(house.urls[Listener.PEOPLE], http_client=http)
    async with http, Client(transport, mode="2026-07-28", elicitation_callback=elicit) as client:
        yield client


async def test_the_page_is_shown_until_somebody_decided_and_the_tool_runs_once(
    house: Plane, payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "AGAIN_S", 0.2)
    _, token = await house.enrolled(GATED)
    seen: list[str] = []
    async with shown(house, token, seen) as client:
        result = await client.call_tool("pay", PAYMENT)
    assert not result.is_error, text_of(result)
    assert len(seen) == 2
    assert len(payments.made()) == 1
    assert len(await house.calls()) == 1


async def test_a_call_nobody_must_approve_shows_nothing(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(FREE)
    seen: list[str] = []
    async with shown(house, token, seen) as client:
        await client.call_tool("pay", PAYMENT)
    assert seen == []
    assert len(payments.made()) == 1


async def test_who_hears_progress_waits_on_the_stream(house: Plane) -> None:
    _, token = await house.enrolled(GATED)
    seen: list[str] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        [approval] = await house.pending()
        await house.decide(approval)

    async with shown(house, token, seen) as client:
        await client.call_tool("pay", PAYMENT, progress_callback=progress)
    assert seen == []
