"""A prepared statement says and gives what SQLAlchemy would."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from kit.db import Tx, UtcTime
from kit.prepared import Prepared

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.String(10), primary_key=True),
    sa.Column("word", sa.String(10), nullable=False, server_default="new"),
    sa.Column("yes", sa.Boolean),
    sa.Column("at", UtcTime()),
)
AT = datetime(2026, 11, 22, 9, 30, 1, 234567, tzinfo=UTC)
ADD = Prepared(sa.insert(THINGS))
ONE = Prepared(sa.select(THINGS).where(THINGS.c.id == sa.bindparam("its"), THINGS.c.word.in_(["new", "old"])))
CHANGE = Prepared(
    sa.update(THINGS)
    .where(THINGS.c.id == sa.bindparam("its"), THINGS.c.word.in_(["new", "old"]))
    .values(word=sa.bindparam("said"), at=sa.bindparam("now"))
)
TAKE = Prepared(CHANGE.statement.returning(THINGS.c.word, THINGS.c.at))  # type: ignore[attr-defined]


@pytest.fixture
def tx() -> Iterator[Tx]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        THINGS.create(connection)
        yield Tx(connection)
    engine.dispose()


def test_a_row_comes_back_as_it_was_put(tx: Tx) -> None:
    tx.run(ADD, {"id": "a", "yes": True, "at": AT})
    row = tx.run(ONE, {"its": "a"}).one()
    plain = tx.execute(sa.select(THINGS)).one()
    assert row._asdict() == plain._asdict() == {"id": "a", "word": "new", "yes": True, "at": AT}


def test_the_number_of_changed_rows_is_the_verdict(tx: Tx) -> None:
    tx.run(ADD, {"id": "a", "word": "old"})
    assert tx.run(CHANGE, {"its": "a", "said": "gone", "now": AT}).rowcount == 1
    assert tx.run(CHANGE, {"its": "a", "said": "gone", "now": AT}).rowcount == 0
    assert tx.execute(sa.select(THINGS.c.word, THINGS.c.at)).one() == ("gone", AT)


def test_returning_gives_what_was_changed(tx: Tx) -> None:
    tx.run(ADD, {"id": "a"})
    taken = tx.run(TAKE, {"its": "a", "said": "gone", "now": AT}).one()
    assert (taken.word, taken.at) == ("gone", AT)
    assert tx.run(TAKE, {"its": "a", "said": "gone", "now": AT}).first() is None


def test_nothing_is_none_and_not_one(tx: Tx) -> None:
    assert tx.run(ONE, {"its": "b"}).scalar() is None
    with pytest.raises(sa.exc.NoResultFound):
        tx.run(ONE, {"its": "b"}).one()
    with pytest.raises(ValueError, match="without a zone"):
        tx.run(ADD, {"id": "c", "at": AT.replace(tzinfo=None)})


@pytest.mark.parametrize("count", [1, 8, 63, 64, 201])
def test_many_rows_are_all_written_as_they_were_given(tx: Tx, count: int) -> None:
    rows = [{"id": f"{number:03}", "word": f"w{number}", "yes": None, "at": AT} for number in range(count)]
    tx.run_many(ADD, rows)
    found = tx.execute(sa.select(THINGS).order_by(THINGS.c.id)).all()
    assert [row._asdict() for row in found] == rows
