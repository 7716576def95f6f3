"""What a manager says of a task, and what it means for the run."""

from typing import Any

import pytest

from runner.engine import Exit
from runner.swarm_task import Stage, look, oldest

AT = "2026-01-02T03:04:05.6Z"
READY, DOWN = {"Status": {"State": "ready"}}, {"Status": {"State": "down", "Message": "heartbeat failure"}}


def task(state: str, code: int | None = None, *, desired: str = "running", node: str = "n1", err: str = "") -> Any:
    inside = {} if code is None else {"ContainerStatus": {"ContainerID": "c", "ExitCode": code}}
    status = {"State": state, "Timestamp": AT, "Err": err, **inside}
    return {"ID": "t1", "CreatedAt": AT, "NodeID": node, "DesiredState": desired, "Status": status}


@pytest.mark.parametrize(
    ("told", "exit_"),
    [
        (task("complete", 0), Exit(code=0)),
        (task("failed", 3, err="task: non-zero exit (3)"), Exit(code=3)),
        (task("failed", 137), Exit(code=137)),
        (task("shutdown", 0, desired="shutdown"), Exit(code=0)),
        (task("shutdown", 143, desired="shutdown"), Exit(code=143)),
        (task("shutdown", -1, desired="shutdown"), Exit(gone=True)),
        (task("shutdown", desired="shutdown"), Exit(gone=True)),
        (task("orphaned", -1, desired="shutdown"), Exit(gone=True)),
        (task("remove", 0, desired="remove"), Exit(gone=True)),
    ],
)
def test_a_task_that_is_over_has_the_code_that_somebody_saw(told: Any, exit_: Exit) -> None:
    for node in (READY, DOWN, None):
        seen = look(told, node)
        assert (seen.stage, seen.exit, seen.stuck, seen.lost, seen.why) == (Stage.ENDED, exit_, False, False, "")


@pytest.mark.parametrize(
    "told", [task("rejected", err="No such image: a"), task("failed", 0, err="starting container failed: b")]
)
def test_a_task_that_could_not_begin_is_stuck_and_says_why(told: Any) -> None:
    seen = look(told, READY)
    assert (seen.stage, seen.stuck, seen.exit.gone) == (Stage.ENDED, True, True)
    assert seen.why == told["Status"]["Err"]


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "preparing", "ready", "starting"])
def test_a_task_that_has_not_begun_waits(state: str) -> None:
    assert look(task(state, node="" if state in {"new", "pending"} else "n1"), READY).stage is Stage.WAITING


def test_a_task_is_lost_when_its_node_is_given_up_and_not_before() -> None:
    assert look(task("running", 0), READY).stage is Stage.RUNNING
    assert look(task("running", 0, desired="shutdown"), READY).stage is Stage.RUNNING  # it is being stopped
    assert look(task("running", 0), DOWN).stage is Stage.RUNNING  # a moment before the manager draws its conclusion
    for lost in (look(task("running", 0, desired="shutdown"), DOWN), look(task("running", 0), None)):
        assert (lost.stage, lost.exit, lost.lost) == (Stage.ENDED, Exit(gone=True), True)
        assert lost.why.startswith("Node n1 ")


def test_of_two_tasks_the_first_one_is_meant() -> None:
    second = task("pending") | {"ID": "t0", "CreatedAt": "2026-01-02T03:04:06Z"}
    assert oldest([second, task("complete", 0)]) == task("complete", 0)
    assert oldest([]) is None
