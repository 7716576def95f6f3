"""Why an execution waits and which result came late, in REST and on the pages."""

import pytest

from control.executions import queue, runners
from control.executions.states import Cause
from control.identity.principals import Role
from tests.web.world import World


async def answer(world: World, path: str) -> dict[str, object]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as http:
        found: dict[str, object] = (await http.get(f"/api/v1/executions{path}")).json()
    return found


async def shown(world: World, path: str) -> str:
    async with world.client(await world.token(Role.VIEWER)) as http:
        return (await http.get(path)).text


async def test_a_waiting_execution_says_why_in_the_list_and_by_itself(world: World) -> None:
    first, second = await world.house.start(), await world.house.start()
    told = {"reason": "no_engine", "text": "No runner is up. 1 of its flow comes before it.", "position": 2}
    assert (await answer(world, f"/{second}"))["waiting_for"] == told
    await world.house.db.write(lambda tx: runners.announce(tx, "w1", engine="x", parallel=5))
    items = (await answer(world, ""))["items"]
    assert isinstance(items, list)
    reasons = {item["id"]: item["waiting_for"]["reason"] for item in items}
    assert reasons == {first: "next", second: "next"}
    assert "A slot is free for it." in await shown(world, f"/executions/{first}")


async def test_one_that_runs_or_is_over_waits_for_nothing(world: World) -> None:
    id_ = await world.house.start()
    await world.house.db.write(lambda tx: queue.claim(tx, "w1"))
    assert (await answer(world, f"/{id_}"))["waiting_for"] is None
    await world.house.end(id_, Cause.CANCELLED)
    assert (await answer(world, f"/{id_}"))["waiting_for"] is None


@pytest.mark.parametrize("late", [False, True])
async def test_a_result_that_came_after_the_end_has_a_mark(world: World, late: bool) -> None:
    principal = await world.house.running()
    call = await world.house.call(principal, tool="get_contract", contract=1)
    assert await world.house.claim(principal, call)
    if late:
        await world.house.end(principal.execution_id, Cause.CANCELLED)
    await world.house.settle(call, found=True)
    items = (await answer(world, f"/{principal.execution_id}/tool-calls"))["items"]
    assert isinstance(items, list)
    assert [(item["status"], item["late"]) for item in items] == [("succeeded", late)]
    page = await shown(world, f"/executions/{principal.execution_id}")
    assert ("It came after the execution’s end" in page) == late
