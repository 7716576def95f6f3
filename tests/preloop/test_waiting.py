"""`preloop executions` says why one waits, or why it did not succeed."""

from control.executions import queue
from control.executions.states import Cause
from control.identity.principals import Role
from tests.preloop.terminal import Desk


async def test_the_list_has_a_reason_for_whatever_did_not_just_run(desk: Desk) -> None:
    over, waits = await desk.world.house.start(), await desk.world.house.start()
    await desk.world.house.db.write(lambda tx: queue.claim(tx, "w1"))
    await desk.world.house.end(over, Cause.AGENT_ERROR)
    done = await (await desk.of(Role.OPERATOR)).run("executions", "list")
    lines = {line.split()[-1]: line for line in done.out.splitlines()}
    assert done.code == 0
    assert "No runner is up. (#1)" in lines[waits]
    assert "agent_error" in lines[over]


async def test_one_execution_shows_what_it_waits_for(desk: Desk) -> None:
    waits = await desk.world.house.start()
    done = await (await desk.of(Role.OPERATOR)).run("executions", "show", waits, "--json")
    told = {"reason": "no_engine", "text": "No runner is up.", "position": 1}
    assert (done.code, done.json["waiting_for"]) == (0, told)


async def test_the_list_is_of_a_time_and_of_a_trigger(desk: Desk) -> None:
    execution_id = await desk.world.house.start()
    terminal = await desk.of(Role.OPERATOR)
    for wanted, listed in (
        (("--since", "1h", "--trigger", "manual"), True),
        (("--trigger", "webhook"), False),
        (("--since", "2099-01-01"), False),
    ):
        done = await terminal.run("executions", "list", *wanted)
        assert (done.code, execution_id in done.out) == (0, listed), done
        assert listed or "No execution matches." in done.err


async def test_a_flow_is_shown_with_its_last_ten(desk: Desk) -> None:
    runs = [await desk.world.house.start() for _ in range(11)]
    done = await (await desk.of(Role.OPERATOR)).run("flows", "show", "process-payment")
    shown = [line.split()[-1] for line in done.out.splitlines() if line.startswith("PENDING")]
    assert (done.code, shown) == (0, sorted(runs, reverse=True)[:10])
