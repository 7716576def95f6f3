"""An account has the limits of its plan."""

import pytest
import sqlalchemy as sa

from control.executions import queue
from control.identity import accounts
from control.identity.plans import GB, PRESETS, Plan
from control.tables import accounts as rows
from kit.db import Database, Tx
from kit.errors import Invalid
from tests.control.house import FLOW, House


async def test_an_account_has_the_limits_of_its_plan(db: Database) -> None:
    plans = {"pro": Plan(slots=20), "small": Plan(slots=1, storage_bytes=GB, timeout_s=60)}

    def moved(tx: Tx) -> tuple[object, ...]:
        accounts.ensure_default(tx)
        accounts.follow_plan(tx, accounts.DEFAULT, plans, "small")
        accounts.follow_plan(tx, accounts.DEFAULT, plans)
        found = sa.select(rows.c.plan, rows.c.slots, rows.c.storage_bytes, rows.c.timeout_s)
        return tuple(tx.execute(found.where(rows.c.id == accounts.DEFAULT)).one())

    assert await db.write(moved) == ("small", 1, GB, 60)
    with pytest.raises(Invalid, match="no plan 'gone'"):
        await db.write(lambda tx: accounts.follow_plan(tx, accounts.DEFAULT, plans, "gone"))


@pytest.mark.parametrize(("plan", "timeout_s"), [("free", 1800), ("pro", 2700), ("enterprise", 2700)])
async def test_a_plan_that_came_after_a_flow_binds_its_next_claim(house: House, plan: str, timeout_s: int) -> None:
    await house.apply(FLOW.replace("{concurrency: 3}", "{timeout: 45m}"))  # above what `free` may have
    id_ = await house.start()
    await house.db.write(lambda tx: accounts.follow_plan(tx, accounts.DEFAULT, PRESETS, plan))
    assert await house.db.write(lambda tx: queue.claim(tx, "w1"))
    assert (await house.row(id_)).timeout_s == timeout_s
