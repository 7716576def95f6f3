"""An attempt is written once, and what was spent reads back by anything it is attributed to."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from kit.db import Database
from ledger import book, reports
from ledger.book import Status
from ledger.prices import Usage
from tests.ledger.books import ACCOUNT, AT, entry, postgres, sqlite

DAY = date(2026, 11, 22)


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        async with sqlite(tmp_path) as (one, _):
            yield one
    else:
        async with postgres(request.getfixturevalue("postgres_database")) as (one, _):
            yield one


async def write(db: Database, *entries: book.Entry) -> set[str]:
    return await db.write(lambda tx: book.append(tx, entries))


async def test_an_attempt_has_one_entry_and_the_first_one_stays(db: Database) -> None:
    assert await write(db, entry("att_1"), entry("att_1", cost_nano=9)) == {"att_1"}
    assert await write(db, entry("att_1", cost_nano=9), entry("att_2")) == {"att_2"}
    spend = await reports.of_execution(db, ACCOUNT, "exe_1")
    assert (spend.calls, spend.cost_nano, spend.input, spend.output) == (2, 2_000, 200, 20)


async def test_spend_is_told_by_flow_alias_and_day(db: Database) -> None:
    await write(
        db,
        entry("att_1", alias="big", cost_nano=900),
        entry("att_2", alias="small", cost_nano=5, flow=None, execution_id=None, at=AT + timedelta(days=1)),
        entry("att_3", alias="big", cost_nano=100),
    )
    assert [(name, spend.cost_nano) for name, spend in await reports.by(db, ACCOUNT, "alias")] == [
        ("big", 1000), ("small", 5),
    ]  # fmt: skip
    by_flow = await reports.by(db, ACCOUNT, "flow", first=DAY, last=DAY)
    assert [(name, spend.calls) for name, spend in by_flow] == [("process-payment", 2)]
    assert (await reports.of_days(db, ACCOUNT, DAY, DAY)).cost_nano == 1000
    assert (await reports.of_session(db, ACCOUNT, "ses_1")).calls == 3


async def test_unpriced_and_estimated_calls_are_counted_apart(db: Database) -> None:
    await write(
        db,
        entry("att_1", cost_nano=None, cost_source="unpriced"),
        entry("att_2", status=Status.CUT, cost_source="estimated", usage=Usage(input=1)),
    )
    spend = await reports.of_execution(db, ACCOUNT, "exe_1")
    assert (spend.calls, spend.unpriced, spend.estimated, spend.cost_nano) == (2, 1, 1, 1_000)


async def test_another_account_sees_nothing(db: Database) -> None:
    await write(db, entry("att_1"))
    assert (await reports.of_execution(db, "other", "exe_1")).calls == 0
    assert await db.read(reports.calls("other", "exe_1")) == []
    assert [row.id for row in await db.read(reports.calls(ACCOUNT, "exe_1"))] == ["att_1"]
