"""What the API server says of a job, read as what it means for its run. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner.docker_logs import stamp
from runner.engine import KILL, Exit
from runner.kubernetes_box import AGENT

_NEVER = {
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
_PULLING = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"}
_LOST = "ContainerStatusUnknown"
_NODE_LOST = "NodeLost"
_STOPPED = "DeadlineExceeded"


class Stage(StrEnum):
    WAITING = "waiting"  # there is no agent yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a job. `pod` is its pod's name, '' while it has none, `version` what a watch goes on from. `why` is
    the cluster's own word for what is out of the ordinary. `stuck` says that waiting will not help, `pulling` that it
    may. `leaving` is a pod that was told to go by somebody."""

    stage: Stage
    version: str = ""
    pod: str = ""
    exit: Exit = field(default_factory=lambda: Exit(gone=True))
    why: str = ""
    stuck: bool = False
    pulling: bool = False
    leaving: bool = False


def suspended(job: Mapping[str, Any]) -> bool:
    return bool(job["spec"].get("suspend"))


def without_pod(job: Mapping[str, Any] | None, version: str) -> Seen:
    """A job that has no pod: not yet, or no more."""
    if job is None or "deletionTimestamp" in job["metadata"]:
        return Seen(stage=Stage.ENDED, version=version)
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in {"Failed", "Complete"} and condition["status"] == "True":
            return Seen(stage=Stage.ENDED, version=version, why=str(condition.get("message", "")))
    return Seen(stage=Stage.WAITING, version=version)


def oldest(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """A controller that was cut off may make a second one, whose agent finds its token used and ends."""
    return min(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def look(pod: Mapping[str, Any], version: str) -> Seen:
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    leaving = "deletionTimestamp" in pod["metadata"]
    agent, files = _state(status, "containerStatuses", AGENT), _state(status, "initContainerStatuses", "files")
    why = _why(status)
    if ended := agent.get("terminated"):
        return Seen(stage=Stage.ENDED, version=version, pod=name, exit=_exit(ended, why), why=why)
    if status.get("phase") in {"Failed", "Succeeded"} and not _stopping(status, agent):
        return Seen(stage=Stage.ENDED, version=version, pod=name, exit=_unsaid(files, why), why=why)
    if "running" in agent:
        return Seen(stage=Stage.RUNNING, version=version, pod=name, leaving=leaving)
    waiting = files.get("waiting") or agent.get("waiting") or {}
    reason = str(waiting.get("reason", ""))
    said = f"{reason}: {waiting['message']}" if waiting.get("message") else ""
    return Seen(
        stage=Stage.WAITING,
        version=version,
        pod=name,
        why=said or _unscheduled(status),
        stuck=reason in _NEVER,
        pulling=reason in _PULLING,
        leaving=leaving,
    )


def _exit(ended: Mapping[str, Any], why: str) -> Exit:
    if ended.get("reason") == _LOST:
        return _unseen(why)
    at = ended.get("finishedAt") or ""
    oom = ended.get("reason") == "OOMKilled"
    return Exit(code=ended["exitCode"], oom_killed=oom, at=stamp(at) if at else "")


def _unsaid(files: Mapping[str, Any], why: str) -> Exit:
    """Of a pod that ended without its agent's container: its files were not copied, or it was thrown out before."""
    copied = files.get("terminated", {})
    if copied.get("exitCode"):
        return _exit(copied, why)
    return _unseen(why)


def _unseen(why: str) -> Exit:
    """Nobody saw its end: it was killed where the cluster says that it did it, and else nothing is known."""
    return Exit(code=KILL) if why and not why.startswith(_NODE_LOST) else Exit(gone=True)


def _stopping(status: Mapping[str, Any], agent: Mapping[str, Any]) -> bool:
    """Its time is over, as we told it, and its container has its grace."""
    return status.get("reason") == _STOPPED and "running" in agent


def _why(status: Mapping[str, Any]) -> str:
    """What a node or the cluster did to the pod: Evicted, Preempting, Shutdown, …; not what we did."""
    reason = str(status.get("reason") or "")
    if reason in {"", _STOPPED}:
        return ""
    return f"{reason}: {status['message']}" if status.get("message") else reason


def _unscheduled(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unscheduled')}: {condition.get('message', '')}"
    return ""


def _state(status: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found = [one for one in status.get(kind) or () if one["name"] == name]
    return found[0].get("state", {}) if found else {}
