"""A PostgreSQL that is restarted under a run: the agent waits, a person decides, and the money is paid once."""

from pathlib import Path

import anyio

from preloop.demo import decide
from tests.journeys.plane import plane
from tests.postgres import Cluster


async def test_a_run_outlives_a_restart_of_its_database(tmp_path: Path, postgres_own: Cluster) -> None:
    async with plane(tmp_path, database=postgres_own.make_database("restarted")) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        link = await running.link()
        await anyio.to_thread.run_sync(postgres_own.stop)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.get, f"/executions/{execution_id}")  # a page that is opened just then
            await anyio.to_thread.run_sync(postgres_own.start)
        await decide(link, "approved")
        row = await running.ended(execution_id)
        assert (row["state"], row["message"], len(tools.payments)) == ("SUCCEEDED", "", 1)
        calls = (await running.get(f"/executions/{execution_id}/model-calls"))["items"]
        assert [call["status"] for call in calls] == ["answered", "answered"], calls
