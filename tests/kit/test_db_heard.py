"""What units leave for whoever listens reaches them after the commit, once."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from kit.bus import Bus
from kit.db import Tx
from kit.db_heard import WRITES, Heard
from kit.db_sqlite import SqliteDatabase

KEY = "left"
things = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


def leave(tx: Tx) -> int:
    tx.execute(sa.insert(things).values(id=1))
    left = tx.memo.get(KEY)
    if left is not None:
        left.append("made")
    return 1


async def test_only_what_was_committed_is_heard_of(tmp_path: Path) -> None:
    db, heard = Heard(SqliteDatabase(tmp_path / "db.sqlite", Bus())), list[object]()
    before = WRITES.count("decisions")
    try:
        await db.write(lambda tx: tx.execute(sa.schema.CreateTable(things)))
        db.listen(KEY, heard.extend)
        assert await db.write(leave) == 1
        assert heard == ["made"]
        with pytest.raises(sa.exc.IntegrityError):
            await db.write(leave)
        db.listen(KEY, None)
        await db.write(lambda tx: tx.execute(sa.delete(things)))
        assert await db.write(leave) == 1
        assert heard == ["made"]
        assert WRITES.count("decisions") - before == 5
    finally:
        await db.close()
