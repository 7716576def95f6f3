"""The inbox and the lists behind the dashboard's numbers: what waits in words, mine first, what is over by pages."""

import html
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from control.executions.states import Cause
from control.identity.principals import Role
from control.tables import approvals, executions
from kit.db import Tx
from ledger.book import Status
from ledger.limits import Limit, Limits
from tests.browser.scene import Scene, begin, end, set_scene
from tests.web.world import FLOW, World


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def read(world: World, path: str, role: Role = Role.APPROVER) -> str:
    async with world.client(await world.token(role)) as http:
        answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


async def test_a_request_is_told_in_words_and_secrets_stay_masked(world: World, scene: Scene) -> None:
    page = plain(await read(world, "/approvals"))
    assert "amount 1500, api_key ••••••••, contract_id CONTRACT-2025-001, 3 more" in page
    assert "sk-very-secret" not in page


async def test_a_flow_s_own_sentence_says_more(world: World) -> None:
    await world.house.apply(FLOW.replace("timeout: 10m}", "timeout: 10m, summary: 'Pay {{args.amount}} now'}"))
    await world.house.call(await begin(world), amount=250)
    assert "Pay 250 now" in plain(await read(world, "/approvals"))


async def test_what_is_asked_of_the_viewer_comes_first_and_the_oldest_before_the_rest(world: World) -> None:
    await world.house.apply(FLOW.replace("group: finance", "group: alone"))
    theirs = await world.house.call(await begin(world), amount=101)
    await world.house.apply(FLOW)
    first, second = [await world.house.call(await begin(world), amount=amount) for amount in (102, 103)]
    ids = [(await world.house.approval(call)).id for call in (first, second, theirs)]
    page = await read(world, "/approvals")
    assert re.findall(r'id="row-(apr_\w+)"', page) == ids
    assert page.index("Waiting for you") < page.index(ids[0]) < page.index("Waiting for others") < page.index(ids[2])
    assert "Waiting for you" not in await read(world, "/approvals", Role.VIEWER)
    assert re.findall(r'id="row-(apr_\w+)"', await read(world, "/approvals", Role.VIEWER)) == [ids[2], *ids[:2]]


async def test_a_vote_that_is_not_enough_leaves_it_to_the_others(world: World) -> None:
    await world.house.apply(FLOW.replace("timeout: 10m}", "timeout: 10m, quorum: 2}"))
    call = await world.house.call(await begin(world), amount=500)
    assert "Waiting for you" in await read(world, "/approvals")
    await world.house.decide(call, approver="alice")
    assert "Waiting for you" not in await read(world, "/approvals")


async def test_what_is_over_is_paged_newest_first(world: World) -> None:
    ids = []
    for amount in (200, 201, 202):
        call = await world.house.call(await begin(world), amount=amount)
        ids.append((await world.house.approval(call)).id)
        await world.house.decide(call, reason=f"fine {amount}")
    first = await read(world, "/approvals?limit=2")
    assert re.findall(r'id="row-(apr_\w+)"', first) == [ids[2], ids[1]]
    assert "Approved" in first and "fine 202" in first and "Alice Moreau" in first
    onward = re.search(r'href="(\?cursor=[^"]+)" rel="next"', first)
    assert onward
    second = await read(world, f"/approvals{onward[1]}")
    assert re.findall(r'id="row-(apr_\w+)"', second) == [ids[0]]
    assert "Nothing waits for a person" in second


async def test_what_waits_is_counted_beyond_what_is_listed(world: World) -> None:
    runs = [await begin(world) for _ in range(2)]
    for amount in range(200, 207):
        await world.house.call(runs[amount % 2], amount=amount)
    page = await read(world, "/")
    assert "7 waiting for a person" in page
    assert len(re.findall(r'<a href="[^"]*/approvals/apr_', page)) == 5


async def test_failures_stand_by_when_they_ended_and_not_by_when_they_began(world: World) -> None:
    long, short = await begin(world), await begin(world)
    for run in (short, long):
        await end(world, run, Cause.TIMEOUT if run is long else Cause.TOOL_FAILED)
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        board = (await http.get("/api/v1/dashboard")).json()
    assert [run["id"] for run in board["recent_failures"]] == [long.execution_id, short.execution_id]


async def test_recent_failures_are_the_newest_with_their_causes(world: World, scene: Scene) -> None:
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        board = (await http.get("/api/v1/dashboard")).json()
    assert [run["id"] for run in board["recent_failures"]] == [scene.runs["TIMEOUT"], scene.runs["FAILED"]]
    page = await read(world, "/")
    assert "Tool failure" in page and "no contract CONTRACT-404" in page


async def test_the_day_s_budget_stands_beside_the_spend(world: World) -> None:
    assert "a day in UTC" not in await read(world, "/")
    world.app.state.parts = type(world.app.state.parts)(**budgeted(world))
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        budget = (await http.get("/api/v1/dashboard")).json()["daily_budget"]
    assert (budget["limit_usd"], budget["spent_usd"], budget["kind"], budget["reached"]) == (
        "5.00",
        "0.00",
        "hard",
        False,
    )
    assert "$0.00 of $5.00 a day in UTC" in plain(await read(world, "/"))


def budgeted(world: World) -> dict[str, object]:
    given = world.app.state.parts
    daily = [
        Limit(scope="account", period="day", limit_nano=2 * 10**9, kind="soft"),
        Limit(scope="account", period="day", limit_nano=5 * 10**9),
        Limit(scope="account", period="month", limit_nano=10**9),
    ]
    return {name: getattr(given, name) for name in given.__slots__} | {"limits": Limits(daily)}


@pytest.mark.parametrize(
    ("number", "href"),
    [
        ("Active Runtime Sessions", "/sessions"),
        ("Recent Tool Calls (24 h)", "/tool-calls"),
        ("Daily Model Spend", "/spend?by=model&since=today"),
        ("Gateway Success Rate (24 h)", "/model-calls"),
    ],
)
async def test_each_number_opens_the_list_behind_it(world: World, scene: Scene, number: str, href: str) -> None:
    page = await read(world, "/")
    link = re.search(rf'<a class="stat" href="([^"]+)">(?:(?!</a>).)*{re.escape(number)}', page, re.DOTALL)
    assert link and link[1].startswith(href)
    await read(world, link[1])


async def test_tool_calls_of_everybody_are_those_that_are_counted(world: World, scene: Scene) -> None:
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        count = (await http.get("/api/v1/dashboard")).json()["tool_calls_24h"]
        items = (await http.get("/api/v1/tool-calls")).json()["items"]
        failed = (await http.get("/api/v1/tool-calls?status=failed")).json()["items"]
        assert (await http.get("/api/v1/tool-calls?status=odd")).status_code == 422
    assert len(items) == count == 3
    assert [item["id"] for item in items] == sorted((item["id"] for item in items), reverse=True)
    assert [(item["tool"], item["flow"]) for item in failed] == [("get_contract", "process-payment")]
    assert failed[0]["execution_id"] == scene.runs["FAILED"]
    page = await read(world, "/tool-calls?status=failed")
    assert f'href="/executions/{scene.runs["FAILED"]}?call={failed[0]["id"]}#{failed[0]["id"]}"' in page


async def test_model_calls_of_a_day_and_the_failed_ones(world: World, scene: Scene) -> None:
    now = world.app.state.parts.clock.now()
    await world.spent(None, status=Status.FAILED, cost_nano=None)
    await world.spent(None, at=now - timedelta(days=2))
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        items = (await http.get("/api/v1/model-calls")).json()["items"]
        pages: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await http.get("/api/v1/model-calls", params={"limit": 3, "cursor": cursor})
            pages += [item["id"] for item in answer.json()["items"]]
            cursor = answer.json()["next"]
        [failed] = (await http.get("/api/v1/model-calls?status=failed")).json()["items"]
        older = (await http.get("/api/v1/model-calls?since=7d")).json()["items"]
    assert pages == [item["id"] for item in items]
    assert len(older) == len(items) + 1
    assert (failed["execution_id"], failed["cost_usd"]) == (None, None)
    assert "unpriced" in await read(world, "/model-calls?status=failed")


async def test_another_account_s_requests_and_calls_are_not_here(world: World, scene: Scene) -> None:
    def unit(tx: Tx) -> None:
        tx.execute(
            sa.text("insert into accounts (id, name, created_at) values ('other', 'other', :now)"), {"now": tx.now()}
        )
        for table in (approvals, executions):
            tx.execute(sa.update(table).values(account_id="other"))

    await world.house.db.write(unit)
    assert 'id="row-' not in await read(world, "/approvals")
    assert "Recent failures" not in await read(world, "/")
