"""Retries as a runner drives them, with a real gateway that counts: all attempts of a run spend of one budget."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
import sqlalchemy as sa

from control.identity.principals import AUDIENCE
from control.tables import executions
from ledger import reports
from ledger.limits import budget
from tests.control.house import ACCOUNT, House
from tests.gateway.plane import PRICES, Plane, open_plane, script
from tests.runner.station import Station, open_station_over

FLOW = """
version: 1
name: process-payment
agent: {runtime: scripted, model: default}
triggers: [{type: manual}]
prompt: Pay.
limits: {budget_usd: "0.001"}
retries: {attempts: 1, on: [agent_error]}
"""
COST = 60 * 2_500 + 40 * 10_000
"""Nano-dollars of one call; the budget has room for one at a time."""
ASK: Any = [{"role": "user", "content": "Go."}]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    talk = script(tmp_path, {"say": "There.", "usage": {"input": 60, "output": 40}})
    async with open_plane(tmp_path, {"default": {"provider": "scripted", "script": talk, **PRICES}}) as opened:
        yield opened


async def think(plane: Plane, station: Station, execution_id: str) -> None:
    """One model call of a running agent, with the token that its runner's session has."""
    await station.agent(execution_id)
    row = await station.house.row(execution_id)
    until = datetime.now(UTC) + timedelta(minutes=10)
    token = plane.signer.sign(subject=row.session_id, audience=AUDIENCE, expires_at=until)
    await plane.client(token).chat.completions.create(model="default", messages=ASK, max_tokens=40)


async def fails(station: Station, execution_id: str) -> str | None:
    """The agent of an execution ends badly; what was made of that."""
    agent = await station.agent(execution_id)
    agent.say("PRELOOP_AGENT_EXEC_END 1")
    agent.end(1)
    retried: str | None = (await station.ended(execution_id)).retried_by
    return retried


async def test_two_attempts_can_not_spend_more_than_the_budget_of_one(plane: Plane, tmp_path: Path) -> None:
    house = await House.build(plane.db, plane.bus, tmp_path, FLOW)
    async with anyio.create_task_group() as tasks:
        station = open_station_over(house, tmp_path, tasks)
        station.worker()
        first = await station.house.start()
        await think(plane, station, first)
        second = await fails(station, first)
        assert second
        past = sa.update(executions).where(executions.c.id == second).values(not_before=None)
        await plane.db.write(lambda tx: tx.execute(past))
        station.worker()
        with pytest.raises(openai.APIStatusError, match="for this run has no room"):
            await think(plane, station, second)
        other = await station.house.start()
        assert await fails(station, second) is None
        await think(plane, station, other)
        await plane.settled()
        standing = [await reports.standing(plane.db, ACCOUNT, budget("run", id_, 0)) for id_ in (first, second, other)]
        assert [found.spent_nano if found else None for found in standing] == [COST, None, COST]
        tasks.cancel_scope.cancel()
