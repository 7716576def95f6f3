"""A process that is frozen in the middle of a transaction keeps its locks from others for a moment only."""

import anyio
import pytest
import sqlalchemy as sa

from kit.bus import Bus
from kit.db_postgres import PostgresDatabase, open_engine

ADD = sa.text("UPDATE shared SET count = count + 1")


@pytest.mark.postgres
async def test_what_stands_still_in_a_transaction_loses_it_and_its_locks(postgres_database: str) -> None:
    db = PostgresDatabase(postgres_database, Bus())
    frozen = open_engine(postgres_database, frozen_s=0.2)
    try:
        await db.write(lambda tx: tx.execute(sa.text("CREATE TABLE shared AS SELECT 0 AS count")))
        async with frozen.connect() as connection:
            await connection.execute(ADD)  # and nothing more: no commit, and no word to anybody
            with anyio.fail_after(30):
                await db.write(lambda tx: tx.execute(ADD))
            with pytest.raises(sa.exc.DBAPIError):
                await connection.execute(ADD)
        [row] = await db.read(sa.text("SELECT count FROM shared"))
        assert row[0] == 1
    finally:
        await frozen.dispose()
        await db.close()
