"""What the entry script does when its init takes too long, or when what passes lines on dies, in each shell."""

from pathlib import Path

import pytest

from tests.runner.doors import TokenDoor
from tests.runner.station import FLOW, open_station
from tests.runner.test_entry import agent, lay_out, run


def test_an_init_that_takes_too_long_is_ended_and_says_so(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(
        tmp_path, door, agent("echo never"), init=("echo cloning", "sleep 60", "echo never"), init_timeout_s=1
    )
    assert run(shell, tmp_path, env) == (
        124,
        ["cloning", "preloop: init took longer than 1 s (limits.init of the flow)"],
    )


@pytest.mark.parametrize(("limits", "seconds"), [("", 600), (", init: 90", 90), (", timeout: 1m", 30)])
async def test_the_limit_of_init_leaves_time_to_the_agent(limits: str, seconds: int, tmp_path: Path) -> None:
    flow = FLOW.replace("{concurrency: 10, timeout: 30m, wall: 24h}", "{concurrency: 1" + limits + "}")
    async with open_station(tmp_path, flow=flow + "init: [prepare]\n") as station:
        station.worker()
        playing = await station.agent(await station.house.start())
        assert playing.job.env["PRELOOP_INIT_TIMEOUT"] == str(seconds)


def test_an_agent_may_take_longer_than_its_init(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    env = lay_out(tmp_path, door, agent("sleep 2; echo done"), init=("true",), init_timeout_s=1)
    assert run(shell, tmp_path, env)[1][1:-1] == ["done"]


def test_output_that_nobody_passed_on_is_told_and_no_success(shell: list[str], tmp_path: Path, door: TokenDoor) -> None:
    """What passes lines on may be killed for want of memory by one gigantic line."""
    look = '[ "$(readlink $one/cwd)" = "$PWD" ] && [ "$(cat $one/comm)" = perl ] && found=${one#/proc/}'
    find = f'found=; until [ -n "$found" ]; do for one in /proc/[0-9]*; do {look}; done 2>/dev/null; done'
    kill = f"{find}; kill -KILL $found; exit 0"
    code, lines = run(shell, tmp_path, lay_out(tmp_path, door, agent(f"echo first; {kill}")))
    assert code == 1
    assert "preloop: output was lost: what passes lines on ended with exit code 137" in lines
    assert lines[-1] == "PRELOOP_AGENT_EXEC_END 1"
