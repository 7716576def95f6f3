"""Figures that say how it goes: of a flow, and of the account's own day."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from control.identity import accounts
from control.identity.plans import PRESETS
from control.identity.principals import Role
from ledger.book import Status
from tests.browser.scene import Scene, set_scene
from tests.control.house import ACCOUNT
from tests.web.world import World
from web import periods


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as client:
        yield client


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def test_spend_of_today_is_of_the_account_s_own_day(world: World, http: httpx.AsyncClient) -> None:
    zone = "Pacific/Kiritimati"  # UTC+14: while it is one day there, UTC sees two
    await world.house.db.write(lambda tx: accounts.change(tx, ACCOUNT, PRESETS, by="test", time_zone=zone))
    began, following = periods.day(datetime.now(UTC), zone)
    for at, usd in (
        (began - timedelta(seconds=1), 1),
        (began, 2),
        (following - timedelta(seconds=1), 4),
        (following, 8),
    ):
        await world.spent(None, cost_nano=usd * 10**9, at=at)
    assert (await http.get("/api/v1/dashboard")).json()["spend_today_usd"] == "6.00"


async def test_a_flow_tells_how_it_fares(http: httpx.AsyncClient, scene: Scene) -> None:
    found = (await http.get("/api/v1/flows/process-payment/health")).json()
    assert [run["id"] for run in found["recent"]] == sorted(scene.runs.values(), reverse=True)
    assert (found["runs"], found["succeeded"], found["days"]) == (3, 1, 30)
    assert found["success_rate"] == pytest.approx(1 / 3)
    assert found["p95_ms"] >= found["mean_ms"] > 0
    assert (await http.get("/api/v1/flows/no-such-flow/health")).status_code == 404


async def test_the_gateway_s_success_is_of_calls_and_not_of_attempts(world: World, http: httpx.AsyncClient) -> None:
    called = (
        [Status.FAILED, Status.FAILED, Status.ANSWERED],
        [Status.ANSWERED],
        [Status.CUT],
        [Status.FAILED, Status.FAILED],
    )
    for attempts in called:
        for number, status in enumerate(attempts):
            await world.spent(None, status=status, attempt=number)
    assert (await http.get("/api/v1/dashboard")).json()["gateway_success_24h"] == 0.5


async def test_a_call_over_the_day_s_edge_makes_no_more_than_every_call_succeed(
    world: World, http: httpx.AsyncClient
) -> None:
    edge = datetime.now(UTC) - timedelta(days=1)
    await world.spent(None, at=edge - timedelta(seconds=1), status=Status.FAILED)
    await world.spent(None, at=edge + timedelta(minutes=5), attempt=1)
    assert (await http.get("/api/v1/dashboard")).json()["gateway_success_24h"] is None
    await world.spent(None)
    assert (await http.get("/api/v1/dashboard")).json()["gateway_success_24h"] == 1.0
