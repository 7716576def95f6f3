"""Spend through REST: by anything, page by page, as CSV, in any period; billed anew, and what was written stays."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from control import events
from control.identity.principals import Role
from control.tables import executions
from kit.db import Tx
from kit.errors import Invalid
from ledger import book, money
from ledger.prices import CLASSES, Usage
from ledger.spending import GROUPS
from ledger.tables import entries
from tests.ledger.books import ACCOUNT, AT, entry
from tests.web.world import World
from web.periods import period

DAYS = "since=2026-11-21&until=2026-11-22"
BOOKED = [
    entry("att_1", model="gpt-4o", usage=Usage(input=1000, cache_read=200, output=50), cost_nano=3_000_000),
    entry("att_2", model="gpt-4o", cost_nano=None, cost_source="unpriced", at=AT - timedelta(days=1)),
    entry("att_3", model="claude", provider="anthropic", cost_nano=7_000, cost_source="estimated", flow="=cmd|'x'"),
    entry("att_4", account_id="another", cost_nano=10**9),
]


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    await world.house.db.write(lambda tx: book.append(tx, BOOKED))
    async with world.program(await world.token(Role.ADMIN, "api")) as client:
        yield client


async def get(http: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer = await http.get(f"/api/v1/spend?{DAYS}&{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_is_estimated_and_what_has_no_price_is_told_apart(http: httpx.AsyncClient) -> None:
    found = await get(http, "by=model")
    assert [(one["name"], one["cost_usd"]) for one in found["items"]] == [("gpt-4o", "0.003"), ("claude", "0.000007")]
    assert (found["total_usd"], found["calls"]) == ("0.003007", 3)
    assert (found["unpriced_calls"], found["estimated_calls"], found["estimated_usd"]) == (1, 1, "0.000007")
    line = found["items"][0]
    assert (line["input_tokens"], line["output_tokens"], line["unpriced_calls"]) == (1300, 60, 1)
    assert line["tokens"] == dict.fromkeys(CLASSES, 0) | {"input": 1100, "cache_read": 200, "output": 60}


@pytest.mark.parametrize("name", GROUPS)
async def test_it_is_told_by_anything_and_adds_up(http: httpx.AsyncClient, name: str) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = await get(http, f"by={name}&limit=1&cursor={cursor}")
        seen += page["items"]
        cursor = page["next"]
    assert len({line["keys"][name] for line in seen}) == len(seen)
    assert sum(line["calls"] for line in seen) == 3


async def test_groups_of_groups_and_one_attribution_alone(http: httpx.AsyncClient) -> None:
    found = await get(http, "by=day,model&provider=openai")
    assert [line["keys"] for line in found["items"]] == [
        {"day": "2026-11-22", "model": "gpt-4o"}, {"day": "2026-11-21", "model": "gpt-4o"},
    ]  # fmt: skip
    assert [line["cost_usd"] for line in found["items"]] == ["0.003", None]
    assert found["items"][0]["name"] == "2026-11-22 · gpt-4o"
    hours = await get(http, "by=hour")
    assert [line["name"] for line in hours["items"]] == ["2026-11-22T09:00Z", "2026-11-21T09:00Z"]


async def test_a_csv_has_every_class_in_its_column_and_no_formula(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/api/v1/spend?{DAYS}&by=flow&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["flow"], row["cost_usd"], row["estimated_usd"]) for row in rows] == [
        ("process-payment", "0.003", "0.00"), ("'=cmd|'x'", "0.000007", "0.000007"),
    ]  # fmt: skip
    assert sum(int(row[f"{name}_tokens"]) for row in rows for name in CLASSES) == 1250 + 110 + 110
    unpriced = list(csv.DictReader(io.StringIO((await http.get(f"/api/v1/spend?{DAYS}&by=day&format=csv")).text)))[1]
    assert (unpriced["cost_usd"], unpriced["unpriced_calls"]) == ("", "1")


@pytest.mark.parametrize(
    "query",
    ["by=colour", "by=day,day", "by=day,flow,model,alias", "since=8", "since=2026-13-01", "since=0d", "since=367d",
     "format=xml", "cursor=x", "until=2026-11-01&since=2026-11-02", "since=2020-01-01", "days=3"],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused_with_a_hint(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"/api/v1/spend?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["hint"]


async def test_a_cursor_of_another_question_is_refused(http: httpx.AsyncClient) -> None:
    cursor = (await get(http, "by=day,model&limit=1"))["next"]
    assert (await http.get(f"/api/v1/spend?{DAYS}&by=day&cursor={cursor}")).json()["code"] == "cursor_invalid"


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("today", "", "2026-11-22", "2026-11-22"),
        ("7d", "", "2026-11-16", "2026-11-22"),
        ("1d", "2026-11-01", "2026-11-01", "2026-11-01"),
        ("month", "", "2026-11-01", "2026-11-22"),
        ("month", "2026-10-31", "2026-10-01", "2026-10-31"),
        ("2026-02-28", "2026-03-01", "2026-02-28", "2026-03-01"),
        ("366d", "", "2025-11-22", "2026-11-22"),
    ],
)
def test_periods(since: str, until: str, first: str, last: str) -> None:
    assert [day.isoformat() for day in period(since, until, date(2026, 11, 22))] == [first, last]


@pytest.mark.parametrize("since", ["tomorrow", "-7d", "7", "٧d", "2026-11-23", "20261122", ""])
def test_no_periods(since: str) -> None:
    with pytest.raises(Invalid):
        period(since, "", date(2026, 11, 22))


async def reprice(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    body = {"provider": "openai", "model": "gpt-4o", "since": "2026-11-21", "until": "2026-11-22"} | more
    answer = await http.post("/api/v1/spend/reprice", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_period_is_billed_anew_at_the_list_price(world: World, http: httpx.AsyncClient) -> None:
    asked = sa.select(entries).where(entries.c.corrects.is_(None)).order_by(entries.c.id)
    before = await world.house.db.read(asked)
    should = 1000 * 2500 + 200 * 1250 + 50 * 10_000  # and the unpriced one: 100 in, 10 out
    delta = money.usd(should - 3_000_000 + 100 * 2500 + 10 * 10_000)
    dry = await reprice(http, dry_run=True)
    assert (dry["calls"], dry["corrected"], dry["delta_usd"]) == (2, 2, delta)
    assert (await get(http, "by=model"))["total_usd"] == "0.003007"
    assert (await reprice(http))["delta_usd"] == delta
    assert (await reprice(http))["corrected"] == 0
    found = await get(http, "by=model")
    assert (found["calls"], found["unpriced_calls"]) == (3, 0)
    assert found["items"][0]["cost_usd"] == "0.0036"
    assert await world.house.db.read(asked) == before
    told = [one for one in await events.read(world.house.db, ACCOUNT, events.ACCOUNT) if one.type == "spend.repriced"]
    assert len(told) == 1


async def test_a_price_of_one_s_own_may_be_lower(http: httpx.AsyncClient) -> None:
    done = await reprice(http, usd_per_mtok={"input": "1", "output": "2", "cache_read": "0"})
    assert done["price_version"].startswith("repriced:")
    assert (await get(http, "by=model&model=gpt-4o"))["total_usd"] == "0.00122"


@pytest.mark.parametrize(
    "more",
    [
        {"model": "no-such-model"},
        {"usd_per_mtok": {"input": "1"}},
        {"usd_per_mtok": {"input": "1", "output": "1", "colour": "1"}},
        {"usd_per_mtok": {"input": 1.5, "output": "1"}},
        {"usd_per_mtok": {"input": "-1", "output": "1"}},
        {"since": "yesterday"},
        {"who": "me"},
    ],
)
async def test_a_repricing_that_makes_no_sense_writes_nothing(http: httpx.AsyncClient, more: dict[str, Any]) -> None:
    body = {"provider": "openai", "model": "gpt-4o"} | more
    assert (await http.post("/api/v1/spend/reprice", json=body)).status_code in (404, 422)
    assert (await get(http, "by=model"))["total_usd"] == "0.003007"


async def test_only_an_admin_bills_anew(world: World, http: httpx.AsyncClient) -> None:
    async with world.program(await world.token(Role.OPERATOR, "api")) as operator:
        body = {"provider": "openai", "model": "gpt-4o"}
        assert (await operator.post("/api/v1/spend/reprice", json=body)).status_code == 403


async def test_the_page_shows_both_and_leads_on(world: World, http: httpx.AsyncClient) -> None:
    async with world.client(await world.token()) as browser:
        text = (await browser.get(f"/spend?{DAYS}&by=model&limit=1")).text
    assert "of it estimated" in text
    assert "1 of them unpriced" in text
    assert "cursor=" in text


async def test_executions_past_the_gateway_are_counted_and_cost_nothing_that_is_known(
    world: World, http: httpx.AsyncClient
) -> None:
    [day, early, other] = [await world.house.start() for _ in range(3)]
    moments = {day: AT, early: AT - timedelta(days=40), other: None}

    def unit(tx: Tx) -> None:
        for id_, at in moments.items():
            tx.execute(sa.update(executions).where(executions.c.id == id_).values(unmetered_at=at))

    await world.house.db.write(unit)
    assert (await get(http, "by=flow"))["unmetered_executions"] == 1
    assert (await get(http, "by=flow&flow=process-payment"))["unmetered_executions"] == 1
    assert (await get(http, "by=flow&flow=another"))["unmetered_executions"] == 0
    assert (await get(http, f"by=flow&execution={early}"))["unmetered_executions"] == 0
    for id_, at in moments.items():
        row = (await http.get(f"/api/v1/executions/{id_}")).json()
        assert (row["metered"], row["cost_usd"]) == (at is None, None)
    said = " ".join((await http.get(f"/spend?{DAYS}&by=flow")).text.split())
    assert "execution was not metered: past the gateway, in no figure here" in said
