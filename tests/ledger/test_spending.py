"""Spend in groups: any attribution, any period, page by page, and the groups add up to the whole."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.db import Database
from ledger import book, spending
from ledger.spending import GROUPS, Asked, Line
from tests.ledger.books import ACCOUNT, AT, either, entry

TODAY = AT.date()
ENTRIES = [
    entry("att_1", alias="big", model="gpt-9", cost_nano=900),
    entry("att_2", alias="small", cost_nano=5, flow=None, execution_id=None, at=AT + timedelta(hours=1)),
    entry("att_3", alias="big", cost_nano=100, at=AT - timedelta(days=1), wire="responses", session_id="ses_2"),
    entry("att_4", alias="big", cost_nano=None, cost_source="unpriced", principal="other", provider="xai"),
    entry("att_5", account_id="another", cost_nano=10**9),
]


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with either(request, tmp_path) as (one, _):
        await one.write(lambda tx: book.append(tx, ENTRIES))
        yield one


def asked(*by: str, **more: Any) -> Asked:
    known: dict[str, Any] = {"account_id": ACCOUNT, "first": TODAY - timedelta(days=6), "last": TODAY, "only": {}}
    return Asked(by=by, **known | more)


async def lines(db: Database, question: Asked, limit: int = 100) -> list[Line]:
    """All of them, asked for page by page."""
    found: list[Line] = []
    while True:
        page = await spending.lines(db, question, after=found[-1].place() if found else (), limit=limit)
        found += page
        if len(page) < limit:
            return found


def costs(found: list[Line]) -> list[tuple[Any, ...]]:
    return [(*line.keys, line.spend.cost_nano) for line in found]


async def test_the_dearest_comes_first_and_a_call_outside_of_a_flow_has_no_name(db: Database) -> None:
    assert costs(await lines(db, asked("alias"))) == [("big", 1000), ("small", 5)]
    assert costs(await lines(db, asked("flow"))) == [("process-payment", 1000), (None, 5)]
    assert costs(await lines(db, asked("provider"))) == [("openai", 1005), ("xai", 0)]


async def test_days_and_hours_come_newest_first(db: Database) -> None:
    assert costs(await lines(db, asked("day"))) == [("2026-11-22", 905), ("2026-11-21", 100)]
    hours = [("2026-11-22 10", 5), ("2026-11-22 09", 900), ("2026-11-21 09", 100)]
    assert costs(await lines(db, asked("hour"))) == hours


async def test_groups_of_groups(db: Database) -> None:
    found = costs(await lines(db, asked("day", "alias")))
    assert found == [("2026-11-22", "small", 5), ("2026-11-22", "big", 900), ("2026-11-21", "big", 100)]


async def test_a_period_and_an_attribution_narrow_it(db: Database) -> None:
    assert costs(await lines(db, asked("alias", first=TODAY))) == [("big", 900), ("small", 5)]
    assert costs(await lines(db, asked("alias", only={"wire": "responses"}))) == [("big", 100)]
    assert (await spending.total(db, asked("day", only={"model": "gpt-9"}))).cost_nano == 900


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("name", GROUPS)
async def test_pages_show_every_group_once_and_add_up_to_the_whole(db: Database, name: str, limit: int) -> None:
    whole, paged = await lines(db, asked(name)), await lines(db, asked(name), limit)
    assert paged == whole
    total = await spending.total(db, asked(name))
    assert sum(line.spend.cost_nano for line in paged) == total.cost_nano == 1005
    assert sum(line.spend.calls for line in paged) == total.calls == 4
    assert sum(line.spend.unpriced for line in paged) == total.unpriced == 1
