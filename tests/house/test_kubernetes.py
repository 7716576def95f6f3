"""deploy/kubernetes: what the published schemas, the profile `restricted` and the plan of roles say of it."""

from functools import cache
from typing import Any

import pytest
import yaml

from preloop.roles import Role
from tests.fakes.kubernetes_rules import insecure
from tests.house.plan import ROOT
from tests.kubernetes_schemas import NEWEST, OLDEST, complaint

BASE = ROOT / "deploy" / "kubernetes" / "base"
SECRETS = {
    Role.WEB: {"preloop-database", "preloop-web"},
    Role.GATEWAY: {"preloop-database", "preloop-gateway"},
    Role.MCP: {"preloop-database", "preloop-mcp"},
    Role.RUNNER: {"preloop-database", "preloop-runner"},
}
"""Who gets which: providers' keys are the gateway's alone, tools' credentials those of `mcp`."""


@cache
def objects() -> tuple[dict[str, Any], ...]:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return tuple(one for name in listed for one in yaml.safe_load_all((BASE / name).read_text()))


def of(kind: str) -> list[dict[str, Any]]:
    return [one for one in objects() if one["kind"] == kind]


def deployment(role: Role) -> dict[str, Any]:
    return next(one for one in of("Deployment") if one["metadata"]["name"] == f"preloop-{role}")


def pod(role: Role) -> dict[str, Any]:
    template: dict[str, Any] = deployment(role)["spec"]["template"]
    return template


def plane(role: Role) -> dict[str, Any]:
    container: dict[str, Any] = pod(role)["spec"]["containers"][0]
    return container


def name(one: dict[str, Any]) -> str:
    return f"{one['kind']}-{one['metadata']['name']}"


def test_every_file_of_the_folder_is_in_it() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    kept = {path.name for path in BASE.iterdir()} - {"kustomization.yaml"}
    assert kept == {*listed["resources"], *listed["configMapGenerator"][0]["files"]}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("one", objects(), ids=name)
def test_an_object_is_what_the_published_schema_says(one: dict[str, Any], version: str) -> None:
    assert complaint(one, version) == ""


def test_every_role_is_served_by_pods_of_its_own() -> None:
    assert {tuple(plane(role)["args"]) for role in Role} == {("serve", role.value) for role in Role}
    assert len(of("Deployment")) == len(Role)


@pytest.mark.parametrize("role", Role)
def test_a_pod_is_within_the_profile_restricted(role: Role) -> None:
    assert insecure(pod(role)["spec"]) == ""
    assert plane(role)["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("role", Role)
def test_secrets_are_named_and_given_to_their_role_alone(role: Role) -> None:
    assert not of("Secret")
    given = [one["valueFrom"]["secretKeyRef"]["name"] for one in plane(role)["env"] if "valueFrom" in one]
    given += [one["secretRef"]["name"] for one in plane(role).get("envFrom", ())]
    assert set(given) == SECRETS[role]


def test_the_runner_alone_has_an_account_of_the_cluster() -> None:
    assert {role for role in Role if pod(role)["spec"]["automountServiceAccountToken"]} == {Role.RUNNER}
    assert pod(Role.RUNNER)["spec"]["serviceAccountName"] == of("ServiceAccount")[0]["metadata"]["name"]
    bound, role = of("RoleBinding")[0], of("Role")[0]
    assert bound["roleRef"]["name"] == role["metadata"]["name"]
    assert bound["metadata"]["namespace"] == role["metadata"]["namespace"] == "preloop-agents"
    assert not [rule for rule in role["rules"] if "*" in rule["verbs"] + rule["resources"]]


def test_there_is_one_runner_and_its_folder_outlives_it() -> None:
    spec = deployment(Role.RUNNER)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claims = [one.get("persistentVolumeClaim", {}).get("claimName") for one in pod(Role.RUNNER)["spec"]["volumes"]]
    assert of("PersistentVolumeClaim")[0]["metadata"]["name"] in claims


@pytest.mark.parametrize("role", Role)
def test_probes_ask_by_a_name_that_the_plane_answers_to(role: Role) -> None:
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        asked = plane(role)[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, "people")
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


@pytest.mark.parametrize("service", of("Service"), ids=name)
def test_each_port_of_a_service_leads_to_the_pods_of_one_role(service: dict[str, Any]) -> None:
    wanted = service["spec"]["selector"].items()
    chosen = [role for role in Role if wanted <= pod(role)["metadata"]["labels"].items()]
    for port in service["spec"]["ports"]:
        named = [role for role in chosen if port["targetPort"] in {one["name"] for one in plane(role)["ports"]}]
        assert len(named) == 1


def test_agents_reach_the_containers_listener_of_two_roles_and_nothing_else() -> None:
    policy = next(one for one in of("NetworkPolicy") if one["metadata"]["namespace"] == "preloop-agents")
    (way,) = policy["spec"]["egress"]
    (to,) = way["to"]
    assert (policy["spec"]["podSelector"], policy["spec"]["ingress"]) == ({}, [])
    assert to["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "preloop"}
    labels = to["podSelector"]["matchLabels"].items()
    let_in = [role for role in Role if labels <= pod(role)["metadata"]["labels"].items()]
    assert let_in == [Role.GATEWAY, Role.MCP]
    ports = {one["port"] for one in way["ports"]}
    for role in let_in:
        agents = {one["containerPort"] for one in plane(role)["ports"] if one["name"].startswith("agents-")}
        assert agents == ports == {8081}


def test_people_and_agents_each_come_in_by_their_own_listener_alone() -> None:
    mine = {
        one["metadata"]["name"]: one["spec"] for one in of("NetworkPolicy") if one["metadata"]["namespace"] == "preloop"
    }
    named = "kubernetes.io/metadata.name"
    others = {"matchExpressions": [{"key": named, "operator": "NotIn", "values": ["preloop-agents"]}]}
    agents = {"matchLabels": {named: "preloop-agents"}}
    assert {name: (spec["policyTypes"], spec["ingress"]) for name, spec in mine.items()} == {
        "preloop-people": (
            ["Ingress"],
            [{"from": [{"namespaceSelector": others}], "ports": [{"protocol": "TCP", "port": 8080}]}],
        ),
        "preloop-agents": (
            ["Ingress"],
            [{"from": [{"namespaceSelector": agents}], "ports": [{"protocol": "TCP", "port": 8081}]}],
        ),
    }


@pytest.mark.parametrize("namespace", of("Namespace"), ids=name)
def test_a_namespace_refuses_what_is_not_restricted(namespace: dict[str, Any]) -> None:
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_whoever_has_replicas_keeps_one_while_a_node_is_drained() -> None:
    kept = {tuple(one["spec"]["selector"]["matchLabels"].values())[1] for one in of("PodDisruptionBudget")}
    assert kept == {role.value for role in Role if deployment(role)["spec"]["replicas"] > 1}
