"""How a flow fares: who counts, the nearest rank, nothing without runs."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from control.executions import health
from control.executions.health import Health
from control.executions.states import Stored
from control.tables import executions
from kit.db import Tx
from tests.control.house import ACCOUNT, FLOW, House

DAY = timedelta(days=1)


async def ran(
    house: House, state: Stored, ms: int, *, ago: timedelta = timedelta(hours=1), queued: timedelta | None = timedelta()
) -> str:
    """An execution with a past of its own: `ms` from its claim, which came `queued` after it was made, or never."""
    id_ = await house.start()

    def unit(tx: Tx) -> None:
        made = tx.now() - ago
        begun = made + (queued or timedelta())
        ended = None if state in (Stored.PENDING, Stored.RUNNING) else begun + timedelta(milliseconds=ms)
        past = {"state": state.value, "created_at": made, "ended_at": ended}
        past["claimed_at"] = None if queued is None else begun
        tx.execute(sa.update(executions).where(executions.c.id == id_).values(past))

    await house.db.write(unit)
    return id_


async def fares(house: House, name: str = "process-payment") -> Health:
    now = await house.db.write(lambda tx: tx.now())
    return await health.of_flow(house.db, ACCOUNT, name, now)


async def test_without_runs_nothing_is_known(house: House) -> None:
    nothing = Health(runs=0, succeeded=0, mean_ms=None, p95_ms=None)
    assert (await fares(house), (await fares(house)).success_rate) == (nothing, None)
    assert await fares(house, "no-such-flow") == nothing


async def test_succeeded_is_held_against_all_that_ended_but_the_cancelled(house: House) -> None:
    for state, ms in (
        (Stored.SUCCEEDED, 1000),
        (Stored.SUCCEEDED, 2000),
        (Stored.FAILED, 3000),
        (Stored.TIMEOUT, 6000),
    ):
        await ran(house, state, ms)
    for state in (Stored.CANCELLED, Stored.PENDING, Stored.RUNNING):
        await ran(house, state, 900_000)
    await ran(house, Stored.FAILED, 900_000, ago=31 * DAY)
    found = await fares(house)
    assert found == Health(runs=4, succeeded=2, mean_ms=3000, p95_ms=6000)
    assert found.success_rate == 0.5


async def test_the_queue_is_no_part_of_a_duration(house: House) -> None:
    for number in range(1, 4):
        await ran(house, Stored.SUCCEEDED, number * 1000, queued=timedelta(minutes=50))
    assert await fares(house) == Health(runs=3, succeeded=3, mean_ms=2000, p95_ms=3000)


async def test_what_never_began_took_no_time_and_counts_all_the_same(house: House) -> None:
    await ran(house, Stored.FAILED, 9000, queued=None)
    assert await fares(house) == Health(runs=1, succeeded=0, mean_ms=None, p95_ms=None)
    await ran(house, Stored.SUCCEEDED, 1000)
    assert await fares(house) == Health(runs=2, succeeded=1, mean_ms=1000, p95_ms=1000)


async def test_another_flow_s_runs_are_its_own(house: House) -> None:
    await ran(house, Stored.SUCCEEDED, 1000)
    await house.apply(FLOW.replace("process-payment", "other"))
    assert (await fares(house, "other")).runs == 0


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (19, 19), (20, 19), (21, 20), (40, 38)])
async def test_the_95th_percentile_is_by_nearest_rank(house: House, count: int, rank: int) -> None:
    for number in range(1, count + 1):
        await ran(house, Stored.SUCCEEDED, number * 1000)
    assert (await fares(house)).p95_ms == rank * 1000


async def test_a_look_reads_no_more_than_the_newest(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST", 3)
    await ran(house, Stored.FAILED, 1000, ago=2 * DAY)
    for _ in range(3):
        await ran(house, Stored.SUCCEEDED, 1000)
    assert await fares(house) == Health(runs=3, succeeded=3, mean_ms=1000, p95_ms=1000)
