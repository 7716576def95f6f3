"""What a Kubernetes API server refuses: names, labels, forbidden verbs, and pods outside the `restricted` profile.

The rules are those of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards) and of
object names (kubernetes.io/docs/concepts/overview/working-with-objects/names), as far as our objects can break them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


def verb(method: str, *, named: bool, watched: bool) -> str:
    """As RBAC calls a request."""
    if method == "GET":
        return "get" if named else "watch" if watched else "list"
    return _VERBS[method]


def allowed(rules: list[dict[str, Any]], group: str, resource: str, verb_: str) -> bool:
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb_ in rule["verbs"] for rule in rules
    )


def wrong_object(body: Mapping[str, Any]) -> str:
    """Why an object is 422, '' when it is not."""
    name, kind = body["metadata"]["name"], body["kind"]
    if len(name) > 63 or not _SUBDOMAIN.fullmatch(name):
        return f"metadata.name: Invalid value: {name!r}: a lowercase RFC 1123 subdomain must consist of …"
    for key, value in body["metadata"].get("labels", {}).items():
        if len(value) > 63 or not _LABEL.fullmatch(value):
            return f"metadata.labels[{key}]: Invalid value: {value!r}"
    if kind == "Secret":
        bad = [key for key in body["data"] if not _KEY.fullmatch(key)]
        return f"data[{bad[0]}]: Invalid value" if bad else ""
    return wrong_pod(body["spec"]["template"]["spec"])


def wrong_pod(spec: Mapping[str, Any]) -> str:
    if spec.get("restartPolicy") not in {"Never", "OnFailure"}:
        return "spec.template.spec.restartPolicy: Required value: valid values: OnFailure, Never"
    if spec.get("dnsPolicy") == "None" and not spec.get("dnsConfig", {}).get("nameservers"):
        return "spec.template.spec.dnsConfig.nameservers: Required value"
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in _containers(spec):
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                return f"volumeMounts: Not found: {mount['name']!r}"
        for variable in container.get("env", ()):
            if not _VARIABLE.fullmatch(variable["name"]):
                return f"env: Invalid value: {variable['name']!r}"
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        if requests != limits:
            return "resources.requests: must be our limits"  # of ours, not of the server
    return ""


def insecure(spec: Mapping[str, Any]) -> str:
    """What of a pod violates `restricted`, as the admission says it; '' for nothing."""
    return ", ".join(_violations(spec))


def _violations(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext", {})
    if any(spec.get(host) for host in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host namespaces"
    for volume in spec.get("volumes", ()):
        if not (set(volume) - {"name"}) <= _VOLUMES:
            yield f"restricted volume types (volume {volume['name']!r})"
    if pod.get("sysctls"):
        yield "forbidden sysctls"
    for container in _containers(spec):
        yield from _of_container(container, pod)


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own, name = container.get("securityContext", {}), container["name"]
    if own.get("privileged"):
        yield f"privileged (container {name!r})"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"allowPrivilegeEscalation != false (container {name!r})"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"unrestricted capabilities (container {name!r})"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"runAsNonRoot != true (container {name!r})"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield f"runAsUser=0 (container {name!r})"
    profile = own.get("seccompProfile", pod.get("seccompProfile", {}))
    if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
        yield f"seccompProfile (container {name!r})"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"hostPort (container {name!r})"


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", ()), *spec["containers"]]
