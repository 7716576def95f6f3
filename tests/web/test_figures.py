"""`/metrics`: what Prometheus reads, for who may read at all."""

import sqlalchemy as sa

from control.identity.principals import Role
from control.tables import approvals
from tests.web.world import World


async def figures(world: World) -> dict[str, float]:
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def ended(outcome: str) -> str:
    return f'preloop_approvals_total{{outcome="{outcome}",rule="when: args.amount > 100",tool="pay"}}'


async def test_requests_are_counted_while_they_wait_and_when_they_end(world: World) -> None:
    before = await figures(world)
    principal = await world.house.running()
    calls = [await world.house.call(principal, amount=amount) for amount in (1500, 1600)]
    assert (await figures(world))["preloop_approvals_pending"] == 2
    await world.house.decide(calls[0])
    await world.house.decide(calls[1], verdict="declined", reason="over budget")
    after = await figures(world)
    assert after["preloop_approvals_pending"] == 0
    decided = 'preloop_approval_decision_seconds_count{verdict="approved"}'
    for name in (ended("approved"), ended("declined"), decided):
        assert after[name] - before.get(name, 0) == 1


async def test_what_could_not_be_decided_is_one_rule_whatever_the_model_wrote(world: World) -> None:
    principal = await world.house.running()
    for odd in ("x", "y", "z"):
        await world.house.decide(await world.house.call(principal, amount=odd))
    names = [name for name in await figures(world) if "args.amount > 100" in name and "approved" in name]
    assert names == [ended("approved")]
    assert len(await world.house.db.read(sa.select(approvals))) == 3


async def test_a_call_made_again_is_counted(world: World) -> None:
    name = "preloop_calls_reattached_total"
    before = (await figures(world))[name]
    principal = await world.house.running()
    for _ in range(3):
        await world.house.call(principal, amount=1500)
    assert (await figures(world))[name] - before == 2


async def test_nobody_reads_it_without_a_token(world: World) -> None:
    async with world.program("") as http:
        answer = await http.get("/metrics")
    assert (answer.status_code, "preloop_" in answer.text) == (401, False)
