"""Repricing adds and never changes: the old entries stay as they are, and the sums are those of the new price."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kit.db import Database, Tx
from ledger import book, corrections, prices, reports
from ledger.book import Status
from ledger.corrections import Repriced
from ledger.prices import Price, Usage
from ledger.tables import entries, metadata
from tests.ledger.books import ACCOUNT, either, entry

Doors = tuple[Database, Database]
USED = Usage(input=100, output=10)  # billed at 1,000 nano-dollars


def price(input_usd: str, output_usd: str) -> Price:
    return prices.price_of(input_usd=input_usd, output_usd=output_usd, version=f"{input_usd}/{output_usd}")


DEARER, CHEAPER = price("0.02", "0.02"), price("0.005", "0.005")  # 2,200 and 550 nano-dollars a call


@pytest.fixture(params=["sqlite", "postgres"])
async def doors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Doors]:
    async with either(request, tmp_path) as two:
        yield two


async def write(db: Database, *written: book.Entry) -> None:
    await db.write(lambda tx: book.append(tx, written))


async def reprice(db: Database, at: Price, *, dry: bool = False) -> list[Repriced]:
    """All batches."""
    done: list[Repriced] = []
    while not done or done[-1].last:
        after = (done[-1].last if done else "") or ""

        def unit(tx: Tx, after: str = after) -> Repriced:
            return corrections.reprice(tx, entries.c.model == "gpt", at, after=after, write=not dry)

        done.append(await db.write(unit))
    return done


async def rows(db: Database, *, corrections_too: bool = True) -> list[Any]:
    asked = sa.select(entries).order_by(entries.c.id)
    return list(await db.read(asked if corrections_too else asked.where(entries.c.corrects.is_(None))))


async def test_what_tools_at_the_provider_cost_is_not_billed_anew(doors: Doors) -> None:
    db, _ = doors
    await write(db, replace(entry("att_1", usage=USED, cost_nano=5_001_000), hosted_calls=2, hosted_nano=5_000_000))
    (done,) = await reprice(db, DEARER)
    assert (done.corrected, done.delta_nano) == (1, 1_200)
    (again,) = await reprice(db, DEARER)
    assert again.corrected == 0


async def test_the_old_entry_stays_and_a_new_one_names_it(doors: Doors) -> None:
    await write(doors[0], entry("att_1"), entry("att_2", model="other"))
    before = await rows(doors[0])
    assert await reprice(doors[0], DEARER) == [
        Repriced(seen=1, corrected=1, delta_nano=1_200, stands_nano=1_000, last=None)
    ]
    assert await rows(doors[0], corrections_too=False) == before
    (added,) = [row for row in await rows(doors[0]) if row.corrects]
    assert (added.corrects, added.cost_nano, added.price_version) == ("att_1", 1_200, "0.02/0.02")
    assert (added.day, added.flow, added.execution_id) == ("2026-11-22", "process-payment", "exe_1")
    spend = await reports.of_execution(doors[0], ACCOUNT, "exe_1")
    assert (spend.calls, spend.cost_nano, spend.input) == (2, 2_200 + 1_000, 200)


async def test_doing_it_again_changes_nothing_and_going_back_comes_out_even(doors: Doors) -> None:
    await write(doors[0], entry("att_1"))
    for at, delta in ((DEARER, 1_200), (DEARER, 0), (CHEAPER, -1_650), (CHEAPER, 0), (DEARER, 1_650)):
        assert sum(one.delta_nano for one in await reprice(doors[0], at)) == delta
    assert (await reports.of_execution(doors[0], ACCOUNT, "exe_1")).cost_nano == 2_200


async def test_two_who_reprice_at_once_correct_each_entry_once(doors: Doors) -> None:
    await write(doors[0], *(entry(f"att_{n}") for n in range(30)))
    async with anyio.create_task_group() as tasks:
        for door in doors:
            tasks.start_soon(reprice, door, DEARER)
    assert (await reports.of_execution(doors[0], ACCOUNT, "exe_1")).cost_nano == 30 * 2_200


async def test_what_had_no_price_is_no_longer_unpriced(doors: Doors) -> None:
    await write(
        doors[0],
        entry("att_1", cost_nano=None, cost_source="unpriced"),
        entry("att_2", cost_nano=None, cost_source="unpriced", status=Status.FAILED, usage=Usage()),
        entry("att_3", cost_nano=None, cost_source="unpriced", model="other"),
    )
    assert (await reports.of_execution(doors[0], ACCOUNT, "exe_1")).unpriced == 3
    await reprice(doors[0], DEARER)
    spend = await reports.of_execution(doors[0], ACCOUNT, "exe_1")
    assert (spend.calls, spend.unpriced, spend.cost_nano) == (3, 1, 2_200)
    assert sum(one.corrected for one in await reprice(doors[0], DEARER)) == 0


async def test_an_estimate_stays_one_and_a_provider_s_own_charge_stays(doors: Doors) -> None:
    await write(doors[0], entry("att_1", cost_source="estimated"), entry("att_2", cost_source="provider"))
    await reprice(doors[0], DEARER)
    spend = await reports.of_execution(doors[0], ACCOUNT, "exe_1")
    assert (spend.cost_nano, spend.estimated, spend.estimated_nano) == (3_200, 1, 2_200)


async def test_a_dry_run_tells_and_writes_nothing(doors: Doors) -> None:
    await write(doors[0], entry("att_1"))
    before = await rows(doors[0])
    assert await reprice(doors[0], DEARER, dry=True) == [
        Repriced(seen=1, corrected=1, delta_nano=1_200, stands_nano=1_000, last=None)
    ]
    assert await rows(doors[0]) == before


async def test_many_entries_are_corrected_batch_by_batch(doors: Doors) -> None:
    many = corrections.BATCH + 7
    await write(doors[0], *(entry(f"att_{n:04}") for n in range(many)))
    done = await reprice(doors[0], DEARER)
    assert [one.corrected for one in done] == [corrections.BATCH, 7]
    assert (await reports.of_execution(doors[0], ACCOUNT, "exe_1")).cost_nano == many * 2_200


@settings(deadline=None, max_examples=50)  # an example makes a database
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**9)), max_size=5),
    st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 10**11)), min_size=1, max_size=4),
)
def test_after_any_repricings_the_sum_is_that_of_the_last_price(
    calls: list[tuple[int, int, int | None]], rates: list[tuple[int, int]]
) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    metadata.create_all(engine)
    with engine.begin() as connection:
        tx = Tx(connection)
        for n, (read, said, cost) in enumerate(calls):
            source = "unpriced" if cost is None else "list"
            used = Usage(input=read, output=said)
            book.append(tx, [entry(f"att_{n}", usage=used, cost_nano=cost, cost_source=source)])
        for into, out in rates:
            at = Price(rates=prices.rates_of({"input": into, "output": out}), version="v")
            corrections.reprice(tx, sa.true(), at)
            should = sum(prices.cost(Usage(input=read, output=said), at) or 0 for read, said, _ in calls)
            spend = reports.spend(tx.execute(sa.select(*reports.sums())).one())
            assert (spend.cost_nano, spend.calls, spend.unpriced) == (should, len(calls), 0)
    engine.dispose()
