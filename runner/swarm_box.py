"""What a job is on Docker Swarm: a service of one task that is never tried again, and one secret. Pure.

All that differs from run to run, variables and files, is in the secret: a service's own text holds none of it, as
whoever may look at services reads that. The secret is a script which the container's first shell reads, as a swarm
knows no copying into a container: it sets the variables and writes the files where the agent may change them.
"""

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kit.errors import Invalid
from runner.docker_box import HOME, UID, WORK, log_file_bytes
from runner.engine import Job
from runner.kubernetes_box import image

NOWHERE = "node.id==preloop-stopped"
"""A constraint that no node meets: a service that gets it ends its task, keeps it, and starts no other."""
MOST = 500 * 1024 - 1
"""Bytes of one secret, as a swarm has it."""
_SECRET = "/run/secrets/preloop"
_BEGIN = f'. {_SECRET} && exec "$@"'
_OPEN_FILES = 4096
_LOG_FILES = 2
_NS = 10**9
_TMP, _HOME = 256 << 20, 128 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """What is the same for all jobs of a swarm; see `runner/settings`."""

    network: str = "preloop-agents"
    registry: str = ""
    constraints: tuple[str, ...] = ()
    grace_s: float = 5.0


def secret(job: Job) -> bytes:
    """The script that the container begins with. Invalid when it is too long."""
    lines = ["umask 077"]
    folders = dict.fromkeys(str(folder) for path in job.files for folder in PurePosixPath(path).parents[:-1])
    lines += [f"mkdir -p {shlex.quote(folder)} || exit" for folder in folders]
    script = b"".join(line.encode() + b"\n" for line in lines)
    script += b"".join(_written(path, content) for path, content in job.files.items()) + b"umask 022\n"
    for name, value in {"HOME": HOME, **job.env}.items():
        if not _NAME.fullmatch(name):
            raise Invalid("variable_invalid", f"{name!r} is not the name of a variable.")
        script += f"export {name}={shlex.quote(value)}\n".encode()
    if len(script) > MOST:
        raise Invalid(
            "job_too_large",
            f"Prompt, event and files of this job are {len(script)} bytes, and a secret of a swarm holds {MOST}.",
            "Send a smaller event, or run this flow on a runner with Docker.",
        )
    return script


def service(job: Job, swarm: Swarm, *, secret_id: str, network_id: str) -> dict[str, Any]:
    """The body of a create request. The image goes to the nodes by its name, as it is told here: nobody resolves it."""
    room = {"NanoCPUs": round(job.cpus * _NS), "MemoryBytes": job.memory_bytes}
    return {
        "Name": job.name,
        "Labels": dict(job.labels),
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},  # no address of the service's own
        "TaskTemplate": {
            "ContainerSpec": _container(job, swarm, secret_id),
            "RestartPolicy": {"Condition": "none"},  # `on-failure` with no attempts means without end
            "Placement": {"Constraints": list(swarm.constraints)},
            # What is reserved is the limit, so that nobody is promised what another uses.
            "Resources": {"Reservations": room, "Limits": {**room, "Pids": job.pids}},
            "Networks": [{"Target": network_id}],
            "LogDriver": {
                "Name": "json-file",
                "Options": {"max-size": str(log_file_bytes(job.log_bytes)), "max-file": str(_LOG_FILES)},
            },
        },
    }


def stopped(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same service with no place to be. To scale it to nothing would throw its task away, exit code and output
    with it."""
    template = spec["TaskTemplate"]
    placement = {**template.get("Placement", {}), "Constraints": [NOWHERE]}
    return {**spec, "TaskTemplate": {**template, "Placement": placement}}


def is_stopped(spec: Mapping[str, Any]) -> bool:
    return bool(spec["TaskTemplate"].get("Placement", {}).get("Constraints") == [NOWHERE])


def _container(job: Job, swarm: Swarm, secret_id: str) -> dict[str, Any]:
    return {
        "Image": image(job.image, swarm.registry),
        "Command": ["sh", "-c", _BEGIN, "agent", *job.argv],
        "Labels": dict(job.labels),
        "User": f"{UID}:{UID}",
        "Dir": WORK,
        "Hostname": "agent",
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "Privileges": {"NoNewPrivileges": True},  # engines before 25 pass over it
        "Init": True,
        "Ulimits": [
            {"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "Mounts": [
            {"Type": "volume", "Target": WORK},  # of no name: it goes with its container
            _memory(HOME, _HOME),
            _memory("/tmp", _TMP),
        ],
        "DNSConfig": {"Nameservers": ["127.0.0.1"], "Options": ["timeout:1", "attempts:1"]},
        "StopGracePeriod": math.ceil(swarm.grace_s) * _NS,
        "Secrets": [
            {
                "SecretID": secret_id,
                "SecretName": job.name,
                "File": {"Name": PurePosixPath(_SECRET).name, "UID": str(UID), "GID": str(UID), "Mode": 0o400},
            }
        ],
    }


def _memory(path: str, size: int) -> dict[str, Any]:
    """A tmpfs: not to be executed from by the engine's own habit. A swarm gives none to a user, so it is everybody's in
    a container where there is nobody else."""
    return {"Type": "tmpfs", "Target": path, "TmpfsOptions": {"SizeBytes": size, "Mode": 0o1777}}


def _written(path: str, content: bytes) -> bytes:
    """Shells know no NUL in a word: those go as escapes."""
    form = b"%s"
    if b"\0" in content:
        form, content = b"%b", content.replace(b"\\", b"\\\\").replace(b"\0", b"\\0000")
    word = b"'" + content.replace(b"'", b"'\"'\"'") + b"'"
    return b"printf " + form + b" " + word + b" >" + shlex.quote(path).encode() + b" || exit\n"
