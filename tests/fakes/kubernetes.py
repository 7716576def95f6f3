"""A small Kubernetes: an API server that refuses what the real one does, its Job controller, and one node.

Pods run nothing: a test plays each agent, line by line. Time does not pass by itself: a grace is over at once. The
client against it is the real one, and what it may do is the Role of deploy/kubernetes. Its paths: `kubernetes_api`.
"""

import base64
import copy
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import yaml

from tests.fakes.kubernetes_rules import insecure

ROLE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "runner-role.yaml"
NAMESPACE = "preloop-agents"
TOKEN = "of-the-runner"
Object = dict[str, Any]


@dataclass(eq=False)
class Agent:
    """The agent's container of one pod, and what it was given."""

    cluster: "Cluster"
    pod: str
    env: dict[str, str]
    files: dict[str, bytes]
    lines: list[bytes] = field(default_factory=list)
    over: bool = False
    deaf: bool = False
    """It does not heed TERM."""
    silent: bool = False
    """Nobody hears from its node."""

    def say(self, text: str, at: str = "") -> None:
        """One line, told by the node with this time."""
        now = datetime.now(UTC)
        stamp = at or f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06}{len(self.lines) % 1000:03}Z"
        self.lines.append(f"{stamp} {text}\n".encode())
        self.cluster.tell()

    def end(self, code: int, reason: str = "", **status: str) -> None:
        if self.over:
            return
        self.over = True
        found = self.cluster.objects["pods", self.pod]
        ended = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "finishedAt": _now()}
        found["status"]["containerStatuses"] = [{"name": "agent", "state": {"terminated": ended}}]
        found["status"] |= {"phase": "Failed" if code else "Succeeded", **status}
        self.cluster.changed("pods", self.pod)
        self.cluster.count(found)

    def evicted(self, message: str) -> None:
        self.end(137, reason="Evicted", message=message)
        self.cluster.objects["pods", self.pod]["status"]["reason"] = "Evicted"

    def lost(self) -> None:
        """Its machine went away, and after five minutes the cluster told the pod to go."""
        self.silent = True
        self.cluster.objects["pods", self.pod]["metadata"]["deletionTimestamp"] = _now()
        self.cluster.changed("pods", self.pod)

    def term(self) -> None:
        if not self.silent:
            self.end(137 if self.deaf else 143, reason="Error")


class Cluster:
    """One namespace. The attributes that are plain values are what a test sets to have things go wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.rules: list[Object] = yaml.safe_load(ROLE.read_text())["rules"]
        self.objects: dict[tuple[str, str], Object] = {}
        self.history: list[tuple[int, str, str, Object]] = []
        self.agents: dict[str, Agent] = {}
        self.asked: list[tuple[str, str, str]] = []
        """Group, resource and verb of what was asked, in order."""
        self.refused: list[str] = []
        """Pods that the Pod Security admission did not let in."""
        self.unscheduled = ""
        self.unpulled = ""
        self.forgotten = 0
        """Watches from before this version are Gone,"""
        self.gone_as_status = False
        """as a status of the answer and not as an event in it."""
        self.cut_after = 0
        """The next log stream breaks after so many bytes."""
        self.down = False
        self.turned_away = 0
        self.watching = 0
        self._version = 0
        self._news = anyio.Event()
        self.put("networkpolicies", policy())

    # --- what tests look at ------------------------------------------------------------------------------------

    async def agent(self, job: str) -> Agent:
        """The agent of a job, once it runs."""
        with anyio.fail_after(20):
            while not (found := [a for name, a in self.agents.items() if name.startswith(f"{job}-")]):
                await self.news()
        return found[0]

    def of(self, kind: str) -> list[Object]:
        return [found for (its, _), found in self.objects.items() if its == kind]

    # --- the store -----------------------------------------------------------------------------------------------

    def put(self, kind: str, body: Object) -> Object:
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": secrets.token_hex(8), "creationTimestamp": _now(), "namespace": NAMESPACE}
        self.objects[kind, made["metadata"]["name"]] = made
        self.changed(kind, made["metadata"]["name"], "ADDED")
        return made

    def changed(self, kind: str, name: str, how: str = "MODIFIED") -> None:
        self._version += 1
        found = self.objects[kind, name]
        found["metadata"]["resourceVersion"] = str(self._version)
        self.history.append((self._version, kind, how, copy.deepcopy(found)))
        self.tell()

    def drop(self, kind: str, name: str) -> None:
        self.changed(kind, name, "DELETED")
        del self.objects[kind, name]

    @property
    def version(self) -> int:
        return self._version

    def tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def news(self) -> None:
        await self._news.wait()

    # --- controllers -----------------------------------------------------------------------------------------------

    def reconcile(self, job: Object) -> None:
        """A Job that is not suspended gets its one pod."""
        if job["spec"].get("suspend") or self._pods_of(job) or job.get("status"):
            return
        template = job["spec"]["template"]
        if why := insecure(template["spec"]):
            self.refused.append(why)
            return
        name = f"{job['metadata']['name']}-{secrets.token_hex(3)[:5]}"
        labels = template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        meta = {"name": name, "labels": labels, "ownerReferences": [owner]}
        pod = self.put("pods", {"metadata": meta, "spec": template["spec"], "status": {"phase": "Pending"}})
        if self.unscheduled:
            said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": self.unscheduled}
            pod["status"]["conditions"] = [said]
            self.changed("pods", name)
        else:
            self._run(pod)

    def _run(self, pod: Object) -> None:
        name, spec = pod["metadata"]["name"], pod["spec"]
        if self.unpulled:
            waits = {"reason": self.unpulled, "message": "Back-off pulling image"}
            pod["status"]["initContainerStatuses"] = [{"name": "files", "state": {"waiting": waits}}]
        else:
            self.agents[name] = Agent(self, name, self._env(spec), self._files(spec))
            done = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": _now()}}
            pod["status"] |= {
                "phase": "Running",
                "startTime": _now(),
                "initContainerStatuses": [{"name": "files", "state": done}],
                "containerStatuses": [{"name": "agent", "state": {"running": {"startedAt": _now()}}}],
            }
        self.changed("pods", name)

    def _secret(self, name: str) -> dict[str, bytes]:
        data = self.objects["secrets", name]["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    def _env(self, spec: Object) -> dict[str, str]:
        found = {}
        for variable in spec["containers"][0]["env"]:
            ref = variable.get("valueFrom", {}).get("secretKeyRef")
            found[variable["name"]] = self._secret(ref["name"])[ref["key"]].decode() if ref else variable["value"]
        return found

    def _files(self, spec: Object) -> dict[str, bytes]:
        told = next(volume["secret"] for volume in spec["volumes"] if "secret" in volume)
        held = self._secret(told["secretName"])
        return {item["path"]: held[item["key"]] for item in told["items"]}

    def count(self, pod: Object) -> None:
        """backoffLimit 0: the first pod decides."""
        job = self.objects.get(("jobs", pod["metadata"]["ownerReferences"][0]["name"]))
        if job is None:
            return
        well = pod["status"]["phase"] == "Succeeded"
        said = {"type": "Complete"} if well else {"type": "Failed", "message": "Job has reached the backoff limit"}
        job["status"] = {"conditions": [{**said, "status": "True"}]}
        self.changed("jobs", job["metadata"]["name"])

    def delete_job(self, job: Object, policy: str) -> None:
        """Without a word on what is its own, a Job of batch/v1 leaves it behind."""
        name = job["metadata"]["name"]
        if policy == "Foreground":
            job["metadata"]["deletionTimestamp"] = _now()
            self.changed("jobs", name)
        if policy in {"Foreground", "Background"}:
            for pod in self._pods_of(job):
                self.delete_pod(pod)
            for kept in self.of("secrets"):
                if kept["metadata"].get("ownerReferences", [{}])[0].get("uid") == job["metadata"]["uid"]:
                    self.drop("secrets", kept["metadata"]["name"])
        if ("jobs", name) in self.objects and (policy != "Foreground" or not self._pods_of(job)):
            self.drop("jobs", name)

    def delete_pod(self, pod: Object, grace: int | None = None) -> None:
        name = pod["metadata"]["name"]
        agent = self.agents.get(name)
        if agent is not None:
            agent.term()
        if agent is None or agent.over or grace == 0:
            self.drop("pods", name)
            owner = self.objects.get(("jobs", pod["metadata"]["ownerReferences"][0]["name"]))
            if owner and "deletionTimestamp" in owner["metadata"] and not self._pods_of(owner):
                self.drop("jobs", owner["metadata"]["name"])

    def _pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self.of("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == uid]


def policy() -> Object:
    """The one of deploy/kubernetes, as far as a runner looks at it."""
    network = ROLE.with_name("agents-network.yaml").read_text()
    found: Object = next(one for one in yaml.safe_load_all(network) if one["kind"] == "NetworkPolicy")
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
