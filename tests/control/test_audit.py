"""The record under attack: what was changed, cut or rewritten is found, and what nobody vouches for yet is named."""

import json
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from control import audit, events
from control.tables import checkpoints, streams
from control.tables import events as stored
from kit import canonical
from tests.control.house import ACCOUNT, House

STREAM = "exe_test"


async def written(house: House, count: int) -> None:
    for number in range(count):
        await house.event(STREAM, number)


async def test_heads_that_moved_are_sealed_and_the_tail_is_named(house: House) -> None:
    await written(house, 4)
    assert await events.seal(house.db) >= 1
    assert await events.seal(house.db) == 0
    await written(house, 3)
    assert await events.inspect(house.db, ACCOUNT, STREAM) == audit.Verdict(events=7, sealed=4)
    assert await events.seal(house.db) == 1
    assert (await events.inspect(house.db, ACCOUNT, STREAM)).unsealed == 0


async def rewrite(house: House, first: int) -> None:
    """A forger with the whole database: changes an event and makes every later hash and the head anew."""
    mine = (stored.c.account_id == ACCOUNT) & (stored.c.stream == STREAM)
    rows = await house.db.read(sa.select(stored).where(mine).order_by(stored.c.seq))
    previous = ""
    for row in rows:
        body = json.loads(row.body)
        if row.seq == first:
            body["data"]["number"] = 1_000_000
        text = canonical.dumps(body)
        previous = audit.link(previous, text)
        changed = sa.update(stored).where(mine, stored.c.seq == row.seq).values(body=text, hash=previous)
        await house.db.write(lambda tx, changed=changed: tx.execute(changed))  # type: ignore[misc]
    head = sa.update(streams).where(streams.c.id == STREAM).values(head=previous)
    await house.db.write(lambda tx: tx.execute(head))


async def test_a_chain_rewritten_behind_its_seal_is_found(house: House) -> None:
    await written(house, 5)
    await events.seal(house.db)
    await rewrite(house, 2)
    broken = await events.verify(house.db, ACCOUNT, STREAM)
    assert broken
    assert (broken.seq, "sealed" in broken.reason) == (5, True)


async def test_what_was_never_sealed_can_be_rewritten_and_is_said_to_be_unsealed(house: House) -> None:
    await written(house, 5)
    await rewrite(house, 2)
    assert await events.inspect(house.db, ACCOUNT, STREAM) == audit.Verdict(events=5, sealed=0)


async def test_a_stream_cut_off_with_its_head_is_missed_by_its_seal(house: House) -> None:
    await written(house, 5)
    await events.seal(house.db)
    kept = (await events.read(house.db, ACCOUNT, STREAM))[2].hash
    await house.db.write(lambda tx: tx.execute(sa.delete(stored).where(stored.c.stream == STREAM, stored.c.seq > 3)))
    head = sa.update(streams).where(streams.c.id == STREAM).values(last_seq=3, head=kept)
    await house.db.write(lambda tx: tx.execute(head))
    broken = await events.verify(house.db, ACCOUNT, STREAM)
    assert broken
    assert (broken.seq, "cut off" in broken.reason) == (4, True)


async def test_a_stream_of_which_only_the_seal_is_left_is_found(house: House) -> None:
    await written(house, 2)
    await events.seal(house.db)
    for table, column in ((stored, stored.c.stream), (streams, streams.c.id)):
        gone = sa.delete(table).where(column == STREAM)
        await house.db.write(lambda tx, gone=gone: tx.execute(gone))  # type: ignore[misc]
    assert STREAM in await events.streams_of(house.db, ACCOUNT)
    assert await events.verify(house.db, ACCOUNT, STREAM)
    assert len(await house.db.read(sa.select(checkpoints).where(checkpoints.c.stream == STREAM))) == 1


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("column", "value"), [("type", "approval.voted"), ("at", LONG_AGO), ("seq", 9)])
async def test_a_column_that_says_something_else_than_what_was_hashed_is_found(
    house: House, column: str, value: object
) -> None:
    await written(house, 3)
    await altered(house, sa.update(stored).where(stored.c.stream == STREAM, stored.c.seq == 2).values({column: value}))
    broken = await events.verify(house.db, ACCOUNT, STREAM)
    assert broken
    assert broken.seq == 2


async def altered(house: House, *changes: sa.Executable) -> None:
    for change in changes:
        await house.db.write(lambda tx, change=change: tx.execute(change))  # type: ignore[misc]


async def wipe(house: House) -> None:
    """The whole stream, and every checkpoint of it."""
    columns = (stored.c.stream, streams.c.id, checkpoints.c.stream)
    await altered(house, *(sa.delete(column.table).where(column == STREAM) for column in columns))


async def test_a_stream_deleted_with_its_checkpoints_is_missed_by_the_stream_of_seals(house: House) -> None:
    await written(house, 3)
    await events.seal(house.db)
    await wipe(house)
    assert STREAM not in await events.streams_of(house.db, ACCOUNT)
    vouched = (await events.sealed_heads(house.db, ACCOUNT))[STREAM]
    found = await events.inspect(house.db, ACCOUNT, STREAM, vouched)
    assert found.broken
    assert found.broken.seq == 1


async def test_the_stream_of_seals_is_itself_a_chain(house: House) -> None:
    await written(house, 3)
    await events.seal(house.db)
    assert await events.verify(house.db, ACCOUNT, events.SEALS) is None
    gone = (
        sa.update(stored)
        .where(stored.c.stream == events.SEALS)
        .values(body=sa.func.replace(stored.c.body, STREAM, "x"))
    )
    await altered(house, gone)
    assert await events.verify(house.db, ACCOUNT, events.SEALS)


async def test_ends_kept_elsewhere_find_what_was_rewritten_before_any_seal(house: House) -> None:
    await written(house, 5)
    kept = await events.heads_of(house.db, ACCOUNT)
    assert (await events.inspect(house.db, ACCOUNT, STREAM, kept[STREAM])).broken is None
    await rewrite(house, 2)
    assert (await events.inspect(house.db, ACCOUNT, STREAM)).broken is None
    assert (await events.inspect(house.db, ACCOUNT, STREAM, kept[STREAM])).broken
