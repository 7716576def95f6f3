"""What nobody had stored of an output when its run ended: whoever cleans up stores it, once and as lines."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.engine import Row

from bench.memory_engine import END
from control.executions import queue
from control.executions.states import Cause
from kit.db import Tx
from runner.cleanup import clean
from runner.placing import job_name
from runner.run import Run
from tests.runner.station import Station, open_station


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path) as opened:
        yield opened


async def test_a_worker_that_thaws_after_another_took_what_was_left_of_an_end_writes_and_removes_nothing(
    station: Station,
) -> None:
    execution_id = await station.house.start()
    row = await station.held("w1")
    frozen = station.drive(row, "w1")
    agent = await station.agent(execution_id)
    agent.say("before")
    await station.stored(execution_id, "before")

    def declined(tx: Tx) -> Row[Any] | None:
        assert station.house.lifecycle.end(tx, execution_id, Cause.APPROVAL_DECLINED)
        return queue.inherit(tx, execution_id, row.epoch)

    taken = await station.db.write(declined)
    assert taken
    agent.say("after")
    agent.say(END.format(0))
    agent.end(0)
    with anyio.fail_after(30):
        await frozen.wait()
    assert await station.said(execution_id) == ["before"]
    assert station.asked(execution_id) == ["prepare", "start"]
    assert await station.db.write(lambda tx: queue.inherit(tx, execution_id, row.epoch)) is None

    await clean(station.parts, taken, taken.job)
    assert await station.said(execution_id) == ["before", "after"]
    assert (await station.house.row(execution_id)).cleaned_at is not None


async def test_a_marker_among_what_is_left_of_an_output_is_no_line(station: Station) -> None:
    execution_id = await station.house.start()
    row = await station.held("w1")
    assert row.agent_started_at is None
    async with anyio.create_task_group() as driving:
        driving.start_soon(Run(station.parts, row, "w1").drive)
        agent = await station.agent(execution_id)
        agent.say("before")
        await station.stored(execution_id, "before")
        driving.cancel_scope.cancel()
    agent.say("after")
    agent.say(END.format(0))
    agent.end(0)
    await station.db.write(lambda tx: station.house.lifecycle.end(tx, execution_id, Cause.APPROVAL_DECLINED))
    await clean(station.parts, row, job_name(station.parts.instance, execution_id))
    assert await station.said(execution_id) == ["before", "after"]
