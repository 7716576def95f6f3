"""What a job is on Kubernetes: a Job of one pod that fits the `restricted` pod security profile, and a Secret. Pure.

The Job is made suspended, the Secret is made as its property, then the Job is let go. All that differs from run to run,
variables and files, is in the Secret: the pod's own text holds names alone, as many may read it who may read no Secret.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from kit.errors import Invalid
from runner.docker_box import HOME, UID, WORK
from runner.engine import Job

AGENT = "agent"
"""The name of the agent's container, and the value of the label that network policies select pods by."""
COMPONENT = "app.kubernetes.io/component"
MINE = "preloop.job"
"""The label that a pod is found by: its job's name."""

PLANE_HOST = "preloop"
DEADLINE_S = 30 * 86_400
"""A pod that nobody looks after any more ends by itself; runs end far before, by the limits of their flow."""
KEPT_S = 7 * 86_400
"""How long a Job stays that ended while there was no plane to read its output and forget it."""
_FILES = "/files"
_SECRET_BYTES = 1 << 20  # of all values of a Secret, as the API server has it
_OUTPUT_BYTES = 64 << 20  # what a kubelet keeps of a container's output counts as storage of its pod
_TMP, _HOME = "256Mi", "128Mi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is the same for all jobs of a cluster; see `runner/settings`."""

    registry: str = ""
    pull_secrets: tuple[str, ...] = ()
    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    disk_bytes: int = 4 << 30
    grace_s: float = 5.0


def labels(job: Job) -> dict[str, str]:
    """Of everything that belongs to a job."""
    ours = {"app.kubernetes.io/managed-by": "preloop", COMPONENT: AGENT, MINE: job.name}
    return {**ours, **job.labels}


def suspended_job(job: Job, cluster: Cluster, plane: str) -> dict[str, Any]:
    """The body of a create request. `plane` is the address that agents get for the host `preloop`; empty for none."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name, "labels": labels(job)},
        "spec": {
            "suspend": True,
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": DEADLINE_S,
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {
                "metadata": {
                    "labels": labels(job),
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
                },
                "spec": _pod(job, cluster, plane),
            },
        },
    }


def secret(job: Job, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The variables and files of a job, which go with the Job that owns them. Invalid when they are too many."""
    values = {name: value.encode() for name, value in job.env.items()}
    values |= {_key(number): content for number, content in enumerate(job.files.values())}
    if (size := sum(map(len, values.values()))) > _SECRET_BYTES:
        raise Invalid(
            "job_too_large",
            f"Prompt, event and files of this job are {size} bytes, and a Kubernetes Secret holds {_SECRET_BYTES}.",
            "Send a smaller event, or run this flow on a runner with Docker.",
        )
    owned = {"apiVersion": "batch/v1", "kind": "Job", "name": owner["name"], "uid": owner["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": job.name,
            "labels": labels(job),
            "ownerReferences": [{**owned, "controller": True, "blockOwnerDeletion": True}],
        },
        "immutable": True,
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


def _pod(job: Job, cluster: Cluster, plane: str) -> dict[str, Any]:
    aliases = {"hostAliases": [{"ip": plane, "hostnames": [PLANE_HOST]}]} if plane else {}
    choice = {
        "runtimeClassName": cluster.runtime_class,
        "nodeSelector": dict(cluster.node_selector),
        "tolerations": [dict(one) for one in cluster.tolerations],
        "imagePullSecrets": [{"name": name} for name in cluster.pull_secrets],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": "agent",
        # No name server: what leaves the pod is the plane's listener alone, and names are a way out.
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        **aliases,
        **{key: value for key, value in choice.items() if value},
        "terminationGracePeriodSeconds": math.ceil(cluster.grace_s),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_filling(job, cluster)],
        "containers": [_agent(job, cluster)],
        "volumes": _volumes(job, cluster),
    }


def _filling(job: Job, cluster: Cluster) -> dict[str, Any]:
    """Copies the files to where the agent may write: those of a Secret can't be written, nor removed."""
    tops = dict.fromkeys(PurePosixPath(path).parts[0] for path in job.files)
    copied = ["cp", "-RL", *(f"{_FILES}/{top}" for top in tops), WORK] if tops else ["true"]
    mounts = [_mount("work", WORK), {**_mount("files", _FILES), "readOnly": True}]
    return {"name": "files", "command": copied, "volumeMounts": mounts, **_box(job, cluster)}


def _agent(job: Job, cluster: Cluster) -> dict[str, Any]:
    given = [{"name": name, "valueFrom": {"secretKeyRef": {"name": job.name, "key": name}}} for name in job.env]
    return {
        "name": AGENT,
        "command": list(job.argv),
        "workingDir": WORK,
        "env": [*([] if "HOME" in job.env else [{"name": "HOME", "value": HOME}]), *given],
        "volumeMounts": [_mount("work", WORK), _mount("home", HOME), _mount("tmp", "/tmp")],
        **_box(job, cluster),
    }


def _box(job: Job, cluster: Cluster) -> dict[str, Any]:
    """Requests are the limits, so that nobody is promised what another uses."""
    limits = {
        "cpu": f"{round(job.cpus * 1000)}m",
        "memory": str(job.memory_bytes),
        "ephemeral-storage": str(cluster.disk_bytes + _OUTPUT_BYTES),
    }
    return {
        "image": image(job.image, cluster.registry),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {"requests": limits, "limits": limits},
    }


def image(name: str, registry: str) -> str:
    """Images of ours are in the cluster's registry; a flow's own is named in full."""
    return f"{registry}/{name}" if registry and name.startswith("preloop/") else name


def _volumes(job: Job, cluster: Cluster) -> list[dict[str, Any]]:
    items = [{"key": _key(number), "path": path} for number, path in enumerate(job.files)]
    # Readable by nobody else; the agent's own once they are copied.
    files = {"secretName": job.name, "defaultMode": 0o600, "items": items}
    return [
        {"name": "work", "emptyDir": {"sizeLimit": str(cluster.disk_bytes)}},
        {"name": "home", "emptyDir": {"medium": "Memory", "sizeLimit": _HOME}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": _TMP}},
        {"name": "files", "secret": files},
    ]


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path}


def _key(number: int) -> str:
    """Of a file: no variable is called so."""
    return f"file.{number}"
