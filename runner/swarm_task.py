"""What a swarm's manager says of a job's task and its node, read as what it means for its run. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner.docker_logs import stamp
from runner.engine import Exit

_OVER = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
_PLAIN = "task: non-zero exit"


class Stage(StrEnum):
    WAITING = "waiting"  # there is no agent yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a job. `task` is its task's id, '' while it has none. `why` is the swarm's own word for what is out
    of the ordinary, `stuck` says that there will be no agent. `lost`: its node is given up, and with it its output."""

    stage: Stage
    task: str = ""
    node: str = ""
    exit: Exit = field(default_factory=lambda: Exit(gone=True))
    why: str = ""
    stuck: bool = False
    lost: bool = False


NOTHING = Seen(stage=Stage.ENDED)
"""Of a job that nobody knows."""


def oldest(tasks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """A service that was stopped has another one, which has no place to be."""
    return min(tasks, key=lambda task: (task["CreatedAt"], task["ID"]), default=None)


def look(task: Mapping[str, Any], node: Mapping[str, Any] | None) -> Seen:
    """`node` is where it was put, None when that is no part of the swarm any more, or it was put nowhere yet."""
    status, where = task["Status"], str(task.get("NodeID") or "")
    why = str(status.get("Err") or "")
    known: dict[str, Any] = {"task": task["ID"], "node": where, "why": "" if why.startswith(_PLAIN) else why}
    if status["State"] in _OVER:
        code = _code(status)
        stuck = code is None and status["State"] in {"failed", "rejected"}
        ended = Exit(code=code, gone=code is None, at=stamp(status["Timestamp"]))
        return Seen(stage=Stage.ENDED, exit=ended, stuck=stuck, **known)
    if where and (node is None or (_down(node) and task["DesiredState"] != "running")):
        said = f"is down: {node['Status'].get('Message') or 'it said nothing'}" if node else "has left the swarm"
        return Seen(stage=Stage.ENDED, lost=True, **known | {"why": f"Node {where} {said}"})
    return Seen(stage=Stage.RUNNING if status["State"] == "running" else Stage.WAITING, **known)


def _code(status: Mapping[str, Any]) -> int | None:
    """Of the container; None where there was none, or nobody saw its end."""
    inside = status.get("ContainerStatus") or {}
    code = int(inside.get("ExitCode", 0))
    match status["State"]:
        case "complete":
            return code
        case "failed":  # with 0 it could not be started
            return code if code > 0 else None
        case "shutdown":
            return code if code >= 0 and inside.get("ContainerID") else None
    return None


def _down(node: Mapping[str, Any]) -> bool:
    """Its manager has heard nothing of it for three of its beats, and takes what runs there for over."""
    return bool(node["Status"]["State"] == "down")
