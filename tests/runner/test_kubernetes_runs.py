"""Executions whose agents are pods: claim, follow, judge, clean up, with a real domain and the small cluster."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from control.executions import lifecycle, results
from control.identity import sessions
from runner.placing import job_name
from tests.control.house import ACCOUNT
from tests.fakes.kubernetes import Agent
from tests.runner.clusters import Bench, benched
from tests.runner.station import FLOW, Station, open_station
from tests.runner.test_tar import entry, tar
from tests.waiting import until


@dataclass(frozen=True, kw_only=True)
class Place:
    station: Station
    bench: Bench

    async def started(self, flow: str = FLOW) -> tuple[str, Agent]:
        """An execution whose agent works."""
        await self.station.house.apply(flow)
        id_ = await self.station.house.start()
        agent = await self.bench.cluster.agent(job_name(self.station.parts.instance, id_))
        agent.say("PRELOOP_AGENT_EXEC_START")
        row = await self.station.row_when(id_, lambda row: row.agent_started_at is not None, "the agent's start")
        await self.station.db.write(lambda tx: sessions.mark_used(tx, row.session_id, tools=True, model=True))
        return id_, agent

    async def over(self, id_: str) -> tuple[str, str | None, int | None]:
        """State, cause and code, once nothing of it is left in the cluster."""
        row = await self.station.row_when(id_, lambda row: row.cleaned_at is not None, "the clean-up")
        assert not [kind for kind in ("jobs", "pods", "secrets") if self.bench.cluster.of(kind)]
        return row.state, row.cause, row.exit_code


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(benched(tmp_path))
        station = await stack.enter_async_context(open_station(tmp_path))
        station.parts = replace(station.parts, engine=bench.engine, engine_id="kubernetes:t")
        station.worker()
        yield Place(station=station, bench=bench)


async def test_a_run_in_a_pod_ends_well_and_leaves_nothing(place: Place) -> None:
    id_, agent = await place.started()
    assert agent.env["PRELOOP_BOOTSTRAP_TOKEN"].startswith("plb_")
    assert agent.files[".preloop/prompt.txt"] == b"Pay."
    agent.say("paid")
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    agent.end(0)
    assert await place.over(id_) == ("SUCCEEDED", None, 0)
    assert await place.station.said(id_) == ["paid"]


@pytest.mark.parametrize(("reason", "cause"), [("OOMKilled", "out_of_memory"), ("Error", "killed")])
async def test_how_a_pod_was_killed_is_the_cause(place: Place, reason: str, cause: str) -> None:
    id_, agent = await place.started()
    agent.end(137, reason=reason)
    assert await place.over(id_) == ("FAILED", cause, 137)


async def test_a_pod_that_somebody_removes_is_a_runner_lost(place: Place) -> None:
    id_, _ = await place.started()
    place.bench.cluster.delete_pod(place.bench.cluster.of("pods")[0], grace=0)
    assert (await place.over(id_))[:2] == ("FAILED", "runner_lost")


async def test_cancel_ends_the_pod(place: Place) -> None:
    id_, agent = await place.started()
    await place.station.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, id_, by="test"))
    assert (await place.over(id_))[:2] == ("CANCELLED", "cancelled")
    assert agent.over


async def test_an_image_that_does_not_come_fails_the_set_up_and_says_why(place: Place) -> None:
    place.bench.cluster.unpulled = "InvalidImageName"
    await place.station.house.apply(FLOW)
    row = await place.station.ended(await place.station.house.start())
    assert (row.state, row.cause) == ("FAILED", "setup_failed")
    assert "InvalidImageName" in row.message


@pytest.mark.parametrize(("handed", "state"), [(b"{}", "SUCCEEDED"), (b"[]", "FAILED")])
async def test_a_result_that_the_pod_handed_over_is_checked(place: Place, handed: bytes, state: str) -> None:
    id_, agent = await place.started(FLOW + "result_schema: {type: object}\n")
    assert b"api/v1/agent/left" in agent.files[".preloop/hand.sh"]
    packed = tar(entry("result.json", handed))
    await place.station.parts.blobs.put(results.handed_of(id_, results.RESULT), packed)
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    agent.end(0)
    assert (await place.over(id_))[0] == state


async def test_another_worker_takes_up_an_agent_in_mid_run(place: Place) -> None:
    id_, agent = await place.started()
    agent.say("before")
    await place.station.stored(id_, "before")
    row = await place.station.adopted(id_, "another")
    over = place.station.drive(row, "another")
    agent.say("after")
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    agent.end(0)
    await over.wait()
    assert await place.over(id_) == ("SUCCEEDED", None, 0)
    await until(lambda: not place.bench.cluster.of("jobs"), what="the removal")
    assert await place.station.said(id_) == ["before", "after"]
