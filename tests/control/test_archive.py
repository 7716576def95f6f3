"""Lines of long logs leave the database for the object store, and are read, counted and deleted as before."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import BinaryIO

import anyio
import pytest
import sqlalchemy as sa

from control.executions import archive, logs, results, storage
from control.retention import deletion, strays
from control.retention.rules import Rules
from control.tables import executions, log_chunks
from kit.blobs import Blobs
from kit.db import Database
from kit.errors import Missing, Unavailable
from kit.objects import Address, Objects
from tests.control.house import ACCOUNT, House
from tests.s3 import address

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOBODY = Objects(address("http://127.0.0.1:9"), answer_s=0.5, read_s=0.5)
"""A store where nobody listens."""


@pytest.fixture
def blobs(house: House, bucket: Address) -> Blobs:
    return Blobs(house.folder / "blobs", Objects(bucket))


async def long_log(house: House, *, chunks: int = 14, days: float = 0) -> str:
    """An execution that is over, with 100 KB of lines in each chunk."""
    id_ = (await house.running()).execution_id or ""
    for chunk in range(chunks):
        lines = [("2026-11-22T10:00:00.000000Z", "agent", "info", f"{chunk}.{n} żółć " + "x" * 990) for n in range(100)]
        await house.db.write(partial(add, execution_id=id_, lines=lines))
    await house.end(id_, None)
    mine = sa.update(executions).where(executions.c.id == id_)
    await house.db.write(lambda tx: tx.execute(mine.values(ended_at=NOW - timedelta(days=days))))
    await storage.count(house.db)
    return id_


def add(tx: object, *, execution_id: str, lines: Sequence[tuple[str, str, str, str]]) -> None:
    logs.append(tx, ACCOUNT, execution_id, lines, cursor=f"at {lines[0][3][:4]}")  # type: ignore[arg-type]


async def whole(db: Database, blobs: Blobs | None, id_: str, enough: int | None = None) -> list[logs.Line]:
    found: list[logs.Line] = []
    after = 0
    while page := await logs.read(db, ACCOUNT, id_, after=after, enough=enough, blobs=blobs):
        found += page if enough is None else page[:enough]
        after = found[-1].number
    return found


async def rows_of(house: House, id_: str) -> list[tuple[int, int, int | None, str]]:
    its = log_chunks.c
    asked = sa.select(its.first, its["count"], its.moved_bytes, its.lines).where(its.execution_id == id_)
    return [tuple(row) for row in await house.db.read(asked.order_by(its.first))]


async def kept(blobs: Blobs, folder: str = "logs") -> list[str]:
    assert blobs.far
    return sorted([name async for names in blobs.far.names(folder) for name in names])


async def forget(house: House, blobs: Blobs, **rules: int) -> int:
    return await deletion.delete_due(house.db, blobs, Rules(**rules), NOW)


async def test_a_long_log_reads_the_same_when_its_lines_are_elsewhere(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house)
    before, used = await whole(house.db, None, id_), await storage.usage(house.db, ACCOUNT)
    assert await archive.move_due(house.db, blobs) == 1
    rows = await rows_of(house, id_)
    assert {lines for *_, lines in rows} == {"[]"}
    assert await kept(blobs) == sorted(logs.part_of(id_, first, count) for first, count, *_ in rows)
    assert 1 < len(rows) < 14
    assert await whole(house.db, blobs, id_) == before
    assert await whole(house.db, blobs, id_, enough=37) == before
    assert await logs.tail(house.db, ACCOUNT, id_, 150, blobs=blobs) == before[-150:]
    assert (await logs.read(house.db, ACCOUNT, id_, after=1234, blobs=blobs))[0] == before[1234]
    assert (await storage.usage(house.db, ACCOUNT)).by_kind == used.by_kind
    assert await house.db.write(lambda tx: logs.cursor(tx, id_)) == "at 13.0"
    assert await archive.move_due(house.db, blobs) == 0


async def test_one_page_of_a_moved_log_opens_no_more_than_it_shows(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house)
    await archive.move_due(house.db, blobs)
    opened: list[str] = []

    class Counting(Objects):
        async def open(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the store's
            opened.append(name)
            return await blobs.far.open(name)  # type: ignore[union-attr]

    watched = Blobs(blobs.root, Counting(address("http://127.0.0.1:9")))
    await logs.read(house.db, ACCOUNT, id_, after=50, enough=100, blobs=watched)
    await logs.tail(house.db, ACCOUNT, id_, 20, blobs=watched)
    rows = await rows_of(house, id_)
    assert opened == [logs.part_of(id_, *rows[0][:2]), logs.part_of(id_, *rows[-1][:2])]


async def test_what_is_told_of_it_afterwards_follows(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house)
    await archive.move_due(house.db, blobs)
    await house.db.write(lambda tx: logs.story(tx, ACCOUNT, id_, "info", "Retrying in 5 s"))
    last = await logs.tail(house.db, ACCOUNT, id_, 2, blobs=blobs)
    assert [line.number for line in last] == [1400, 1401]
    assert (await whole(house.db, blobs, id_))[-1].text == "Retrying in 5 s"


async def test_short_logs_and_those_of_what_runs_stay(house: House, blobs: Blobs) -> None:
    short = await long_log(house, chunks=2)
    running = (await house.running()).execution_id or ""
    lines = [("2026-11-22T10:00:00.000000Z", "agent", "info", "x" * 1_000_000)] * 2
    await house.db.write(lambda tx: logs.append(tx, ACCOUNT, running, lines))
    await storage.count(house.db)
    assert await archive.move_due(house.db, blobs) == 0
    assert await kept(blobs) == []
    assert len(await whole(house.db, None, short)) == 200


async def test_a_store_that_is_down_moves_nothing_and_reads_nothing(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house)
    before = await whole(house.db, None, id_)
    away = Blobs(blobs.root, NOBODY)
    with pytest.raises(Unavailable):
        await archive.move_due(house.db, away)
    assert await whole(house.db, None, id_) == before
    await archive.move_due(house.db, blobs)
    for asked in (logs.read(house.db, ACCOUNT, id_, blobs=away), logs.tail(house.db, ACCOUNT, id_, 5, blobs=away)):
        with pytest.raises(Unavailable) as told:
            await asked
        assert "doctor" in told.value.hint


async def test_lines_that_are_lost_are_an_error_and_no_gap(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house)
    await archive.move_due(house.db, blobs)
    [first, second, *_] = await kept(blobs)
    assert blobs.far
    await blobs.far.delete([second])
    await blobs.far.take(first, b'[["2026-11-22T10:00:00.000000Z", "agent", "info", "another"]]')
    for name in (first, second):
        number = int(name.split("/")[-1].split("-")[0])
        with pytest.raises(Missing) as told:
            await logs.read(house.db, ACCOUNT, id_, after=number - 1, enough=1, blobs=blobs)
        assert told.value.code == "log_part_gone"
    with pytest.raises(Missing):
        await whole(house.db, None, id_)


class Dies(Objects):
    """A process that dies right behind what it stored."""

    async def take(self, name: str, content: BinaryIO | bytes) -> None:
        await super().take(name, content)
        raise KeyboardInterrupt


async def test_who_dies_between_object_and_row_leaves_nothing_behind(
    house: House, blobs: Blobs, bucket: Address
) -> None:
    id_ = await long_log(house, days=10)
    before = await whole(house.db, None, id_)
    with pytest.raises(KeyboardInterrupt):
        await archive.move_due(house.db, Blobs(blobs.root, Dies(bucket)))
    assert len(await kept(blobs)) == 1
    assert await whole(house.db, None, id_) == before
    await house.db.write(lambda tx: logs.story(tx, ACCOUNT, id_, "info", "One more"))
    assert await archive.move_due(house.db, blobs) == 1
    assert len(await kept(blobs)) == len(await rows_of(house, id_))
    assert (await whole(house.db, blobs, id_))[:-1] == before
    assert await forget(house, blobs, logs_days=9) == 1
    assert (await kept(blobs), await rows_of(house, id_)) == ([], [])


async def test_two_processes_move_one_log_together(house: House, twin: Database, blobs: Blobs) -> None:
    ids = [await long_log(house) for _ in range(3)]
    before = [await whole(house.db, None, id_) for id_ in ids]
    async with anyio.create_task_group() as tasks:
        for db in (house.db, twin, house.db, twin):
            tasks.start_soon(archive.move_due, db, blobs)
    await archive.move_due(house.db, blobs)
    assert [await whole(house.db, blobs, id_) for id_ in ids] == before
    named = [logs.part_of(id_, first, count) for id_ in ids for first, count, *_ in await rows_of(house, id_)]
    assert await kept(blobs) == sorted(named)


async def test_lines_that_retention_takes_meanwhile_leave_no_object(house: House, blobs: Blobs) -> None:
    id_ = await long_log(house, days=10)

    class Late(Objects):
        """A store that takes a part just when retention has passed."""

        async def take(self, name: str, content: BinaryIO | bytes) -> None:
            await forget(house, blobs, logs_days=9)
            assert blobs.far
            await blobs.far.take(name, content)

        async def delete(self, names):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as the store's
            assert blobs.far
            await blobs.far.delete(names)

    await archive.move_due(house.db, Blobs(blobs.root, Late(address("http://127.0.0.1:9"))))
    assert (await kept(blobs), await rows_of(house, id_)) == ([], [])


async def test_deletion_waits_for_a_store_that_is_down(house: House, blobs: Blobs) -> None:
    first, id_ = await long_log(house, chunks=12, days=12), await long_log(house, days=10)
    await archive.move_due(house.db, blobs)
    for one in (first, id_):
        await blobs.put(logs.file_of(one), b"all of the output")
        await blobs.put(f"{results.folder_of(one)}/{'a' * 64}", b"a file")
    away = Blobs(blobs.root, NOBODY)
    await forget(house, away, logs_days=9, results_days=9, payloads_days=9)
    assert (await house.row(id_)).payload_deleted_at is not None  # what needs no store is not held up by it
    assert {name.split("/")[1].removesuffix(".txt") for name in await kept(blobs)} == {first, id_}
    assert await forget(house, blobs, logs_days=9, results_days=9, payloads_days=9) == 0
    assert (await kept(blobs), await kept(blobs, "results"), await rows_of(house, id_)) == ([], [], [])


async def test_what_waits_in_the_folder_is_sent_unless_retention_took_it(house: House, blobs: Blobs) -> None:
    live, gone = await long_log(house, chunks=1), await long_log(house, chunks=1, days=10)
    here = Blobs(blobs.root, NOBODY)
    for id_ in (live, gone):
        await here.put(logs.file_of(id_), b"output")
        await here.put(results.file_of(id_, hashlib.sha256(b"").hexdigest()), b"a file")
        await here.append(f"{results.folder_of(id_)}/1.new", b"a draft")
    with pytest.raises(Unavailable):
        await strays.ship(house.db, here)
    await forget(house, Blobs(house.folder / "another machine's", blobs.far), logs_days=9, results_days=9)
    assert await strays.ship(house.db, blobs) == 2
    assert (await kept(blobs), len(await kept(blobs, "results"))) == ([logs.file_of(live)], 1)
    assert [await blobs.here(folder) for folder in ("logs", "results")] == [[], []]


async def test_what_came_back_after_retention_is_swept_and_nothing_else(house: House, blobs: Blobs) -> None:
    live, gone = await long_log(house, chunks=1), await long_log(house, chunks=1, days=10)
    await forget(house, blobs, logs_days=9, results_days=9)
    others = "exe_" + "0" * 26
    for id_ in (live, gone, others):
        await blobs.put(logs.file_of(id_), b"output")
        await blobs.put(logs.part_of(id_, 1, 7), b"[]")
        await blobs.put(results.file_of(id_, "a" * 64), b"a file")
    await Blobs(blobs.root).put(results.file_of(gone, "b" * 64), b"small, in the folder")
    assert await strays.sweep(house.db, blobs) == 4
    assert {name.split("/")[1].removesuffix(".txt") for name in await kept(blobs)} == {live, others}
    assert (len(await kept(blobs, "results")), await blobs.here("results")) == (2, [])
