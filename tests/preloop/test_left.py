"""`preloop executions show` lists what the agent left."""

from control.executions import results
from control.executions.results import Artifact
from control.identity.principals import Role
from tests.preloop.terminal import Desk


async def test_one_execution_shows_what_its_agent_left(desk: Desk) -> None:
    house = desk.world.house
    id_ = await house.start()
    row = await house.row(id_)
    left = [Artifact(name=f"artifacts/{number}", size=number, sha256="0" * 64) for number in range(60)]
    await house.db.write(lambda tx: results.add(tx, row, left))
    viewer = await desk.of(Role.VIEWER)
    done = await viewer.run("executions", "show", id_, "--json")
    assert sorted(one["size"] for one in done.json["artifacts"]) == list(range(60))
    assert "artifacts/59" in (await viewer.run("executions", "show", id_)).out
