"""What the container of a job is allowed: as little as agents were measured to need. Pure.

A CLI's own sandbox can't start in here (no new user namespaces), and needs not to: the container is the boundary.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from runner.engine import Job

WORK = "/workspace"
HOME = "/home/agent"
UID = 1000

_TMPFS = {
    "/tmp": "rw,nosuid,nodev,noexec,size=256m,mode=1777",
    HOME: f"rw,nosuid,nodev,noexec,size=128m,uid={UID},gid={UID},mode=0700",
}
_OPEN_FILES = 4096
_LOG_FILES = 2
_LOG_LEAST, _LOG_MOST = 32 << 20, 2 << 30


def log_file_bytes(kept: int) -> int:
    """How long one file of an engine's log may get before it is rotated. A follower that is slower than the job loses
    what was rotated twice, so all that is kept of a log fits into the first:
    short lines take a third more there than here."""
    return min(max(kept + kept // 2, _LOG_LEAST), _LOG_MOST)


def container(
    job: Job, network: Mapping[str, Any], *, cpus: float, log_max_bytes: int | None, runtime: str | None
) -> dict[str, Any]:
    """The body of a create request. `cpus`: what the machine has, as the engine refuses to promise more.
    `log_max_bytes`: of one file of its log, by what is kept of it when not told."""
    return {
        "Image": job.image,
        "Entrypoint": list(job.argv),
        "Cmd": [],
        "User": f"{UID}:{UID}",
        "WorkingDir": WORK,
        "Hostname": "agent",
        "Env": [f"{name}={value}" for name, value in {"HOME": HOME, **job.env}.items()],
        "Labels": dict(job.labels),
        "HostConfig": {
            **hardening(),
            **network,
            **({"Runtime": runtime} if runtime else {}),
            "Memory": job.memory_bytes,
            "MemorySwap": job.memory_bytes,
            "NanoCpus": int(min(job.cpus, cpus) * 1e9),
            "PidsLimit": job.pids,
            "Mounts": [{"Type": "volume", "Source": job.name, "Target": WORK}],
            # Never `none` (an engine of 20.10 then hangs on reading) and never AutoRemove (code and log are lost).
            "LogConfig": {
                "Type": "json-file",
                "Config": {
                    "max-size": str(log_max_bytes or log_file_bytes(job.log_bytes)),
                    "max-file": str(_LOG_FILES),
                },
            },
        },
    }


def hardening() -> dict[str, Any]:
    return {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Init": True,
        "IpcMode": "private",
        "Tmpfs": _TMPFS,
        "Ulimits": [
            {"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "RestartPolicy": {"Name": "no"},
    }


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of what goes into the job's folder, all the agent's. The folder itself is the agent's by the image."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folders = dict.fromkeys(folder for path in files for folder in reversed(PurePosixPath(path).parents[:-1]))
        for folder in folders:
            tar.addfile(_entry(str(folder), mode=0o700, kind=tarfile.DIRTYPE))
        for path, content in files.items():
            tar.addfile(_entry(path, mode=0o600, size=len(content)), io.BytesIO(content))
    return packed.getvalue()


def _entry(path: str, *, mode: int, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.type, entry.size = mode, kind, size
    entry.uid = entry.gid = UID
    return entry
