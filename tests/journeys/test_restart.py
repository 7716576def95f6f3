"""The control plane dies in the middle of an approval. Nothing is lost: the run still waits, and a yes finishes it."""

from pathlib import Path

import pytest

from preloop.demo import decide
from tests.journeys.plane import plane

FINISHED = {
    "after the start": ("WAITING_FOR_APPROVAL", 0),
    "at the end": ("SUCCEEDED", "", 1),
    "began": 1,
    "told": True,
}


async def test_sigkill_during_the_wait_and_the_yes_still_finishes_the_run(tmp_path: Path) -> None:
    assert await outlived(tmp_path, "process") == FINISHED


@pytest.mark.docker
@pytest.mark.usefixtures("agent_images")
async def test_the_same_with_the_agent_in_a_container(tmp_path: Path) -> None:
    assert await outlived(tmp_path, "docker") == FINISHED


@pytest.mark.bwrap
async def test_the_same_with_the_agent_in_a_sandbox_of_bubblewrap(tmp_path: Path) -> None:
    assert await outlived(tmp_path, "bwrap") == FINISHED


async def outlived(tmp_path: Path, engine: str) -> dict[str, object]:
    """What became of a run whose plane was killed and started again before its yes."""
    async with plane(tmp_path, engine=engine) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        link = await running.link()
        await running.kill()

        await running.start()
        waits = (await running.get(f"/executions/{execution_id}"))["state"]
        paid_before = len(tools.payments)
        await decide(link, "approved")

        row = await running.ended(execution_id, limit_s=180)
        lines = [line["text"] for line in (await running.get(f"/executions/{execution_id}/logs"))["items"]]
        return {
            "after the start": (waits, paid_before),
            "at the end": (row["state"], row["message"], len(tools.payments)),
            "began": len([line for line in lines if "I have one payment to make" in line]),
            "told": any("The transaction is tx_" in line for line in lines),
        }


async def test_a_stop_on_purpose_leaves_the_agent_alone_and_the_next_start_takes_it_up(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        link = await running.link()
        assert await running.stop() == 0
        await running.start()
        await decide(link, "approved")
        assert (await running.ended(execution_id))["state"] == "SUCCEEDED"
        assert len(tools.payments) == 1


async def test_a_decline_fails_the_run_and_stops_the_agent(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        await decide(await running.link(), "declined", "over budget")
        row = await running.ended(execution_id)
        assert (row["state"], row["cause"]) == ("FAILED", "approval_declined")
        assert row["message"] == "Approval request declined by Alice\nReason: over budget"
        assert row["failure"] == {"stage": "approval", "tool": "pay", "model": None, "provider": None}
        assert tools.payments == []


async def test_a_cancel_stops_the_agent_and_withdraws_what_was_asked(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        async with running.http() as http:
            (await http.post(f"/api/v1/executions/{execution_id}/cancel")).raise_for_status()
        row = await running.ended(execution_id)
        assert (row["state"], row["cause"], row["failure"]) == ("CANCELLED", "cancelled", None)
        asked = (await running.get(f"/executions/{execution_id}/approvals"))["items"]
        assert [approval["status"] for approval in asked] == ["withdrawn"]
        assert tools.payments == []
