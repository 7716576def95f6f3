"""Figures that say how it goes: of a flow, and of the account's own day."""

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from control.identity import accounts
from control.identity.plans import PRESETS
from control.identity.principals import Role
from control.tables import executions, flows
from kit import clock
from kit.db import Tx
from kit.ids import new_id
from ledger.book import Status
from tests.browser.scene import Scene, set_scene
from tests.control.house import ACCOUNT
from tests.web.test_inbox import read
from tests.web.world import FLOW, World, open_world
from web import fares


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
    today = datetime.now(UTC).astimezone(clock.zone(zone)).date()
    began, following = clock.span(today, today, clock.zone(zone))
    for at, usd in (
        (began - timedelta(seconds=1), 1),
        (began, 2),
        (following - timedelta(seconds=1), 4),
        (following, 8),
    ):
        await world.spent(None, cost_nano=usd * 10**9, at=at)
    assert (await http.get("/api/v1/dashboard")).json()["spend_today_usd"] == "6.00"
    page = await read(world, "/")
    [behind] = re.findall(r'href="(/spend[^"]+)"><strong>', page)
    list_ = html.unescape(behind)
    assert "$6.00" in await read(world, list_)
    told = (await http.get(f"/api/v1{list_}")).json()
    assert (told["first"], told["last"], told["zone"], told["total_usd"]) == (f"{today}", f"{today}", zone, "6.00")
    assert (await http.get("/api/v1/spend?since=today&zone=Mars/Base")).json()["code"] == "time_zone_unknown"
    assert (await http.get("/api/v1/spend?since=9999-12-31&until=9999-12-31&zone=Asia/Tokyo")).status_code == 422


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


async def test_cost_per_run_is_of_what_ended_and_says_what_is_missing(
    world: World, http: httpx.AsyncClient, scene: Scene
) -> None:
    path = "/api/v1/flows/process-payment/health"
    assert (await http.get(path)).json()["cost"] == {
        "per_run_usd": "0.0123",
        "runs": 4,
        "unpriced_calls": 0,
        "unmetered": 0,
    }
    await world.spent(scene.runs["FAILED"], cost_nano=None)
    await world.spent(scene.runs["TIMEOUT"], cost_nano=30_000_000)

    def past(tx: Tx) -> None:
        mine = sa.update(executions).where(executions.c.id == scene.runs["SUCCEEDED"])
        tx.execute(mine.values(unmetered_at=tx.now()))

    await world.house.db.write(past)
    cost = (await http.get(path)).json()["cost"]
    assert cost == {"per_run_usd": "0.0223", "runs": 3, "unpriced_calls": 1, "unmetered": 1}
    page = await shown(world, "/flows/process-payment")
    assert "at least $0.0223 Cost per run · of 3 · 1 call unpriced · 1 run not metered" in page


@pytest.mark.parametrize(
    ("good", "runs", "said"),
    [
        (0, 0, "— Success Rate · no run in 30 days"),
        (10, 10, "100 % Healthy Success Rate · 10 of 10 in 30 days"),
        (91, 100, "91 % Healthy"),
        (90, 100, "90 % Unsteady"),
        (7, 10, "70 % Unsteady"),
        (69, 100, "69 % Failing"),
        (2, 3, "66.67 % Failing"),
    ],
)
async def test_a_success_rate_has_a_word_beside_its_colour_and_the_list_says_the_same(
    world: World, good: int, runs: int, said: str
) -> None:
    like = (await world.house.row(await world.house.start()))._asdict()

    def unit(tx: Tx) -> None:
        ended = {"created_at": tx.now(), "claimed_at": tx.now(), "ended_at": tx.now()}
        states = ["SUCCEEDED"] * good + ["FAILED", "TIMEOUT"] * runs
        past = [like | ended | {"id": new_id("exe"), "state": state} for state in states[:runs]]
        past.append(like | ended | {"id": new_id("exe"), "state": "CANCELLED"})
        old = {"id": new_id("exe"), "state": "FAILED", "created_at": tx.now() - timedelta(days=31)}
        tx.execute(sa.insert(executions), [*past, like | ended | old])

    await world.house.db.write(unit)
    assert said in await shown(world, "/flows/process-payment")
    assert said.split(" Success")[0] in await shown(world, "/flows")


async def test_the_list_tells_each_flow_its_own(world: World, http: httpx.AsyncClient, scene: Scene) -> None:
    for number in range(60):  # more than one question of bars holds
        await world.house.apply(FLOW.replace("process-payment", f"idle-{number}"))
    found = await fares.of_flows(
        world.house.db, [row.id for row in await world.house.db.read(sa.select(flows.c.id))], datetime.now(UTC)
    )
    assert len(found) == 61
    [busy] = [one for one in found.values() if one.bars]
    assert [run.id for _, run in busy.bars] == sorted(scene.runs.values())
    assert (busy.runs, busy.succeeded) == (3, 1)
    words = ("succeeded", "failed", "timeout", "cancelled", "waiting for approval", "running", "pending")
    assert busy.said == ", ".join(f"1 {word}" for word in words)


async def test_a_payload_that_is_no_json_is_told_by_its_line_and_the_form_works_without_a_script(world: World) -> None:
    async with world.client(await world.token(Role.OPERATOR)) as browser:
        wrong = await browser.post("/flows/process-payment/preview", data={"payload": '{"amount": 1,\n oops}'})
        right = await browser.post("/flows/process-payment/preview", data={"payload": '{"amount": 7}'})
        part = await browser.post("/flows/process-payment/preview?part=preview", data={"payload": '{"amount": 7}'})
    assert "line 2 column 2" in wrong.text and "{&#34;amount&#34;: 1,\n oops}</textarea>" in wrong.text
    assert "send 7 USD to undefined." in right.text and "trigger_event.payload.recipient" in right.text
    assert part.text.lstrip().startswith('<div id="preview"') and "send 7 USD" in part.text
    assert (await world.house.db.read(sa.select(sa.func.count()).select_from(executions)))[0][0] == 0


async def shown(world: World, path: str) -> str:
    async with world.client(await world.token(Role.VIEWER)) as browser:
        answer = await browser.get(path)
    assert answer.status_code == 200
    text = re.sub(r"<svg.*?</svg>", "", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).strip()


async def test_postgres_answers_the_same_pages(tmp_path: Path, postgres_tables: str) -> None:
    async with open_world(tmp_path, url=postgres_tables) as world:
        scene = await set_scene(world)
        assert "33.33 % Failing" in await shown(world, "/flows")
        assert "1 of 3 in 30 days" in await shown(world, "/flows/process-payment")
        assert "Tool failure" in await shown(world, "/")
        for path in ("/approvals", "/tool-calls", "/model-calls"):
            assert "process-payment" in await shown(world, path)
        async with world.program(await world.token(Role.VIEWER, "api")) as http:
            board = (await http.get("/api/v1/dashboard")).json()
            cost = (await http.get("/api/v1/flows/process-payment/health")).json()["cost"]
        assert [run["id"] for run in board["recent_failures"]] == [scene.runs["TIMEOUT"], scene.runs["FAILED"]]
        assert (cost["per_run_usd"], cost["runs"]) == ("0.0123", 4)
