"""Questions with more rows than one read returns, on both databases."""

import pytest
import sqlalchemy as sa

from control.tables import checkpoints
from kit.db import READ_LIMIT, Tx, pages
from tests.control.house import ACCOUNT, House


@pytest.mark.parametrize("more", [0, 1])
async def test_pages_bring_every_row_once_and_in_order(house: House, more: int) -> None:
    """Also over a key of several columns, of which the first ties across the end of a page."""
    wanted = [(stream, seq) for stream in ("east", "west") for seq in range(READ_LIMIT + more)]
    kept = {"account_id": ACCOUNT, "hash": ""}

    def fill(tx: Tx) -> None:
        rows = [kept | {"stream": stream, "seq": seq, "at": tx.now()} for stream, seq in reversed(wanted)]
        tx.execute(sa.insert(checkpoints), rows)

    await house.db.write(fill)
    asked = sa.select(checkpoints).where(checkpoints.c.stream.in_(("east", "west")))
    found = [rows async for rows in pages(house.db, asked, checkpoints.c.stream, checkpoints.c.seq)]
    assert [(row.stream, row.seq) for rows in found for row in rows] == wanted
    assert max(map(len, found)) == READ_LIMIT
