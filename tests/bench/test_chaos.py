"""`scripts/show chaos` on a small scale, its kills at the same moments each time."""

from pathlib import Path

import pytest

from bench import chaos_twins
from bench.show_chaos import Size, storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SIZE = Size(kills=20, executions=16, abreast=6, limit_s=600, deliveries=0)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """Where to find an empty database; None for a file in the data folder."""
    return request.getfixturevalue("postgres_database") if request.param == "postgresql" else None


async def test_twenty_kills_leave_nothing_undecided_twice_or_lost(tmp_path: Path, database: str | None) -> None:
    raging, truth = await storm(tmp_path, database, SIZE, seed=7)
    assert raging.kills.total() == SIZE.kills
    assert truth.holds, truth


async def test_a_delivery_fifty_times_at_once_to_two_processes_is_one_execution(
    tmp_path: Path, database: str | None
) -> None:
    assert await chaos_twins.delivered(tmp_path, database, deliveries=2, times=50) == (2, 2, [])
