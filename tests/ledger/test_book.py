"""An attempt is written once, and what was spent reads back by anything it is attributed to."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import anyio
import pytest

from kit.db import Database
from ledger import book, reports
from ledger.book import Status
from ledger.prices import CLASSES, Usage
from tests.ledger.books import ACCOUNT, AT, either, entry

DAY = date(2026, 11, 22)


@pytest.fixture(params=["sqlite", "postgres"])
async def doors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Database, Database]]:
    async with either(request, tmp_path) as two:
        yield two


@pytest.fixture
def db(doors: tuple[Database, Database]) -> Database:
    return doors[0]


async def write(db: Database, *entries: book.Entry) -> set[str]:
    return await db.write(lambda tx: book.append(tx, entries))


async def test_an_attempt_has_one_entry_and_the_first_one_stays(db: Database) -> None:
    assert await write(db, entry("att_1"), entry("att_1", cost_nano=9)) == {"att_1"}
    assert await write(db, entry("att_1", cost_nano=9), entry("att_2")) == {"att_2"}
    spend = await reports.of_execution(db, ACCOUNT, "exe_1")
    assert (spend.calls, spend.cost_nano, spend.input, spend.output) == (2, 2_000, 200, 20)


async def test_every_class_of_tokens_reads_back_as_it_was_written(db: Database) -> None:
    used = Usage(**{name: 10**n for n, name in enumerate(CLASSES)})
    await write(db, entry("att_1", usage=used), entry("att_2", usage=used))
    spend = await reports.of_execution(db, ACCOUNT, "exe_1")
    assert [getattr(spend, name) for name in CLASSES] == [2 * 10**n for n in range(len(CLASSES))]
    assert spend.total_input + spend.total_output == sum(2 * 10**n for n in range(len(CLASSES)))


async def test_two_processes_append_at_once_and_no_entry_is_lost_or_doubled(doors: tuple[Database, Database]) -> None:
    async def append(door: Database, first: int) -> None:
        for number in range(first, first + 40):
            await write(door, entry(f"att_{number}", cost_nano=number))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, doors[0], 0)
        tasks.start_soon(append, doors[1], 20)  # half of them are written by both
    spend = await reports.of_execution(doors[0], ACCOUNT, "exe_1")
    assert (spend.calls, spend.cost_nano) == (60, sum(range(60)))


async def test_a_period_ends_where_the_next_begins(db: Database) -> None:
    midnight = AT.replace(hour=0, minute=0)
    await write(db, entry("att_1", at=midnight - timedelta(microseconds=1)), entry("att_2", at=midnight))
    day = timedelta(days=1)
    assert (await reports.between(db, ACCOUNT, midnight, midnight + day)).calls == 1
    assert (await reports.between(db, ACCOUNT, midnight - day, midnight)).calls == 1
    assert (await reports.between(db, ACCOUNT, midnight - day, midnight + day)).calls == 2
    assert (await reports.of_session(db, ACCOUNT, "ses_1")).calls == 2


async def test_unpriced_and_estimated_calls_are_counted_apart(db: Database) -> None:
    await write(
        db,
        entry("att_1", cost_nano=None, cost_source="unpriced"),
        entry("att_2", status=Status.CUT, cost_source="estimated", usage=Usage(input=1)),
    )
    spend = await reports.of_execution(db, ACCOUNT, "exe_1")
    assert (spend.calls, spend.unpriced, spend.estimated, spend.cost_nano) == (2, 1, 1, 1_000)
    assert spend.estimated_nano == 1_000


async def test_another_account_sees_nothing(db: Database) -> None:
    await write(db, entry("att_1"))
    assert (await reports.of_execution(db, "other", "exe_1")).calls == 0
    assert await db.read(reports.calls("other", "exe_1")) == []
    assert [row.id for row in await db.read(reports.calls(ACCOUNT, "exe_1"))] == ["att_1"]
