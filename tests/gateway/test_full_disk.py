"""A full disk under the journal: no call begins without its record, and all is well once there is room again."""

import asyncio
from pathlib import Path

import pytest

from ledger.reports import Standing
from tests.fakes import raw_provider as raw
from tests.full_disk import full
from tests.gateway.test_passing import COST
from tests.gateway.test_routing import ask, opened
from tests.waiting import until

LIMIT = 10**9


async def test_calls_without_room_for_their_record_are_refused_and_hold_nothing(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.whole(raw.completion())) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane,
    ):
        session, token = await plane.session("m", budget_nano=LIMIT)
        with full(tmp_path / "journals"):
            for _ in range(20):
                refused = await ask(plane, token, max_tokens=10_000)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "journal_unwritable")
        assert provider.bodies == []
        assert (await ask(plane, token, max_tokens=90_000)).status_code == 200
        spend = await plane.spend(session)
        assert await plane.standing(session) == Standing(limit_nano=LIMIT, spent_nano=spend.cost_nano or 0, held_nano=0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_disk_that_fills_up_during_a_call_loses_nothing_of_it(tmp_path: Path, stream: bool) -> None:
    good = raw.stream([raw.word("Hi"), *raw.ending()]) if stream else raw.whole(raw.completion())
    goes_on = asyncio.Event()
    async with (
        raw.serve([goes_on, *good], good) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane,
    ):
        session, token = await plane.session("m", budget_nano=LIMIT)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(ask(plane, token, stream=stream))
            await until(lambda: provider.bodies, what="the call")
            with full(tmp_path / "journals"):
                goes_on.set()
                assert (await asked).status_code == 200
                assert (await plane.spend(session)).cost_nano == COST
        assert (await ask(plane, token, stream=stream)).status_code == 200
        assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST
        assert await plane.standing(session) == Standing(limit_nano=LIMIT, spent_nano=2 * COST, held_nano=0)

    assert list((tmp_path / "journals").iterdir()) == []
