"""The Job and the Secret as they are sent: against a kept copy, the published schemas, and the profile `restricted`.

`PRELOOP_GOLDEN=1 pytest` writes the kept copies anew; what changed is then in the diff.
"""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import kubernetes_box as box
from tests.fakes.kubernetes_rules import insecure, wrong_object
from tests.kubernetes_schemas import NEWEST, OLDEST, complaint
from tests.runner.clusters import job

GOLDEN = Path(__file__).parents[1] / "golden"
PLAIN = box.Cluster()
FULL = box.Cluster(
    registry="registry.example.com/team",
    pull_secrets=("registry",),
    runtime_class="gvisor",
    node_selector={"preloop.agents": "yes"},
    tolerations=({"key": "agents", "operator": "Exists", "effect": "NoSchedule"},),
    disk_bytes=1 << 30,
    grace_s=7.5,
)
BODIES = {
    "kubernetes-job": box.suspended_job(job(), PLAIN, "10.96.7.7"),
    "kubernetes-job-full": box.suspended_job(job(cpus=0.25, memory_bytes=256 << 20), FULL, ""),
    "kubernetes-secret": box.secret(job(), {"name": job().name, "uid": "0d0d0d0d-0000-4000-8000-000000000000"}),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_the_kept_one(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("PRELOOP_GOLDEN"):
        path.write_text(yaml.safe_dump(json.loads(json.dumps(BODIES[name])), sort_keys=False))
    assert yaml.safe_load(path.read_text()) == BODIES[name]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_body_is_what_the_published_schema_says(name: str, version: str) -> None:
    """Strictly: a field that Kubernetes does not know is wrong, too."""
    body = json.loads(json.dumps(BODIES[name]))
    assert complaint(body, version) == ""
    body["metadata"]["nonsense"] = {}
    assert "'nonsense' was unexpected" in complaint(body, version)


@pytest.mark.parametrize("name", ["kubernetes-job", "kubernetes-job-full"])
def test_a_pod_is_within_the_profile_restricted(name: str) -> None:
    assert insecure(BODIES[name]["spec"]["template"]["spec"]) == ""
    assert wrong_object(BODIES[name]) == ""


@pytest.mark.parametrize(
    ("loosened", "said"),
    [
        (lambda spec: spec.update(hostNetwork=True), "host namespaces"),
        (lambda spec: spec["volumes"].append({"name": "docker", "hostPath": {"path": "/"}}), "volume 'docker'"),
        (lambda spec: spec["containers"][0]["securityContext"].update(privileged=True), "privileged"),
        (lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"), "PrivilegeEscalation"),
        (lambda spec: spec["initContainers"][0]["securityContext"].pop("capabilities"), "capabilities"),
        (lambda spec: spec["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), "seccompProfile"),
    ],
)
def test_the_profile_refuses_what_is_looser(loosened: Callable[[Any], object], said: str) -> None:
    spec = copy.deepcopy(BODIES["kubernetes-job"]["spec"]["template"]["spec"])
    loosened(spec)
    assert said in insecure(spec)


def test_a_job_is_tried_once_and_ends_by_itself_in_the_end() -> None:
    spec = BODIES["kubernetes-job"]["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert (spec["parallelism"], spec["completions"], spec["suspend"]) == (1, 1, True)
    assert spec["activeDeadlineSeconds"] == box.DEADLINE_S
    assert BODIES["kubernetes-job-full"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 8


def test_a_pod_has_no_token_of_the_cluster_no_names_and_no_neighbours_in_its_environment() -> None:
    spec = BODIES["kubernetes-job"]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert (spec["dnsPolicy"], spec["dnsConfig"]) == ("None", {"nameservers": ["127.0.0.1"]})
    assert spec["hostAliases"] == [{"ip": "10.96.7.7", "hostnames": ["preloop"]}]


def test_images_of_ours_come_from_the_clusters_registry_and_others_as_they_are_named() -> None:
    assert box.image("preloop/codex", "registry.example.com/team") == "registry.example.com/team/preloop/codex"
    assert box.image("ghcr.io/acme/agent:1", "registry.example.com/team") == "ghcr.io/acme/agent:1"
    assert box.image("preloop/codex", "") == "preloop/codex"


def test_a_name_that_kubernetes_does_not_take_is_refused() -> None:
    assert "RFC 1123" in wrong_object(box.suspended_job(job(name="preloop_t"), PLAIN, ""))
