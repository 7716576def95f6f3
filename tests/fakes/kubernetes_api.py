"""The paths of the small Kubernetes: objects, watches, logs, and the answers of one that refuses."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.kubernetes import NAMESPACE, TOKEN, Agent, Cluster, Object
from tests.fakes.kubernetes_rules import allowed, verb, wrong_object
from tests.serving import serving

_AT = "/{group:path}/namespaces/{namespace}/{kind}"
_GROUPS = {"api/v1": "", "apis/batch/v1": "batch", "apis/networking.k8s.io/v1": "networking.k8s.io"}
_DEADLINE = "Pod was active on the node longer than the specified deadline"


def _status(code: int, reason: str, message: str) -> Response:
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return JSONResponse(said, code)


class _Server:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def version(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse({"major": "1", "minor": "36", "gitVersion": "v1.36.1"})

    def _stranger(self, request: Request) -> Response | None:
        if self._cluster.down:
            self._cluster.turned_away += 1
            return _status(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        return None

    async def objects(self, request: Request) -> Response:
        cluster, path = self._cluster, request.path_params
        kind, name, part = path["kind"], path.get("name", ""), path.get("part", "")
        if stranger := self._stranger(request):
            return stranger
        group = _GROUPS.get(path["group"])
        done = verb(request.method, named=bool(name), watched=request.query_params.get("watch") == "true")
        resource = f"{kind}/{part}" if part else kind
        if group is None or path["namespace"] != NAMESPACE or not allowed(cluster.rules, group, resource, done):
            return _status(403, "Forbidden", f'{resource} is forbidden: User "runner" cannot {done} resource')
        cluster.asked.append((group, resource, done))
        if not name:
            return await self._create(kind, request) if done == "create" else self._list(kind, request)
        found = cluster.objects.get((kind, name))
        if found is None:
            return _status(404, "NotFound", f'{kind} "{name}" not found')
        if part:
            return self._log(found, request)
        if done == "get":
            return JSONResponse(found)
        body = json.loads(await request.body() or b"{}")
        return self._patch(kind, found, body, request) if done == "patch" else self._delete(kind, found, body)

    async def _create(self, kind: str, request: Request) -> Response:
        body: Object = await request.json()
        name = body["metadata"]["name"]
        if why := wrong_object(body):
            return _status(422, "Invalid", f'{body["kind"]} "{name}" is invalid: {why}')
        if (kind, name) in self._cluster.objects:
            return _status(409, "AlreadyExists", f'{kind} "{name}" already exists')
        made = self._cluster.put(kind, body)
        if kind == "jobs":
            self._cluster.reconcile(made)
        return JSONResponse(made, 201)

    def _list(self, kind: str, request: Request) -> Response:
        if request.query_params.get("watch") == "true":
            return self._watch(kind, request)
        found = [one for one in self._cluster.of(kind) if _labelled(one, request)]
        return JSONResponse({"metadata": {"resourceVersion": str(self._cluster.version)}, "items": found})

    def _watch(self, kind: str, request: Request) -> Response:
        since = int(request.query_params["resourceVersion"])
        gone = since < self._cluster.forgotten
        if gone and self._cluster.gone_as_status:
            return _status(410, "Expired", "too old resource version")
        changes = self._gone() if gone else self._changes(kind, since, request)
        return StreamingResponse(changes, media_type="application/json")

    async def _gone(self) -> AsyncIterator[bytes]:
        status = json.loads(bytes(_status(410, "Expired", "too old resource version").body))
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

    async def _changes(self, kind: str, since: int, request: Request) -> AsyncIterator[bytes]:
        cluster = self._cluster
        cluster.watching += 1
        cluster.tell()
        try:
            with anyio.move_on_after(float(request.query_params["timeoutSeconds"])):
                while not cluster.down:
                    for version, its, how, found in cluster.history:
                        if version > since and its == kind and _labelled(found, request):
                            since = version
                            yield json.dumps({"type": how, "object": found}).encode() + b"\n"
                    await cluster.news()
        finally:
            cluster.watching -= 1

    def _patch(self, kind: str, found: Object, body: Object, request: Request) -> Response:
        """Of a Job we let go, of a pod we shorten the time: all else is fixed, as are both once they are over."""
        if request.headers["content-type"] != "application/merge-patch+json":
            return _status(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        name = found["metadata"]["name"]
        if kind == "jobs" and body == {"spec": {"suspend": False}}:
            found["spec"]["suspend"] = False
            self._cluster.changed(kind, name)
            self._cluster.reconcile(found)
            return JSONResponse(found)
        wanted, now = body.get("spec", {}).get("activeDeadlineSeconds"), found["spec"].get("activeDeadlineSeconds")
        if kind != "pods" or set(body["spec"]) != {"activeDeadlineSeconds"} or (now is not None and wanted > now):
            return _status(
                422, "Invalid", f'{kind} "{name}" is invalid: spec: Forbidden: updates may not change fields'
            )
        found["spec"]["activeDeadlineSeconds"] = wanted
        agent = self._cluster.agents[name]
        if not agent.over and not agent.silent:
            found["status"] |= {"reason": "DeadlineExceeded", "message": _DEADLINE}
            agent.term()
            found["status"]["phase"] = "Failed"
        self._cluster.changed(kind, name)
        return JSONResponse(found)

    def _delete(self, kind: str, found: Object, body: Object) -> Response:
        if kind == "jobs":
            self._cluster.delete_job(found, body.get("propagationPolicy", "Orphan"))
        else:
            self._cluster.delete_pod(found, body.get("gracePeriodSeconds"))
        return JSONResponse(found)

    def _log(self, pod: Object, request: Request) -> Response:
        name, asked = pod["metadata"]["name"], request.query_params
        if asked.get("container") != "agent":
            return _status(400, "BadRequest", f"container {asked.get('container')} is not valid for pod {name}")
        agent = self._cluster.agents.get(name)
        if agent is None:
            return _status(400, "BadRequest", f'container "agent" in pod "{name}" is waiting to start')
        if agent.silent:
            return _status(502, "InternalError", "dial tcp 10.0.0.7:10250: i/o timeout")
        since = asked.get("sinceTime", "")[:19]  # what reaches the node has whole seconds
        return StreamingResponse(self._lines(agent, since, asked.get("follow") == "true"), media_type="text/plain")

    async def _lines(self, agent: Agent, since: str, follow: bool) -> AsyncIterator[bytes]:
        told = 0
        left, self._cluster.cut_after = self._cluster.cut_after, 0
        while True:
            while told < len(agent.lines):
                line = agent.lines[told]
                told += 1
                if line[:19].decode() < since:
                    continue
                if left and len(line) >= left:
                    yield line[:left]
                    return
                left -= len(line) if left else 0
                yield line
            if not follow or agent.over or agent.silent:
                return
            await self._cluster.news()


def _labelled(found: Object, request: Request) -> bool:
    wanted = dict(one.split("=") for one in request.query_params.get("labelSelector", "").split(",") if one)
    labels: dict[str, str] = found["metadata"].get("labels", {})
    return wanted.items() <= labels.items()


@asynccontextmanager
async def kubernetes(folder: Path) -> AsyncIterator[tuple[Cluster, Path]]:
    """A cluster, and a kubeconfig that leads to it."""
    cluster = Cluster()
    server = _Server(cluster)
    methods = ["GET", "POST", "PATCH", "DELETE"]
    paths = [_AT, f"{_AT}/{{name}}", f"{_AT}/{{name}}/{{part}}"]
    routes = [Route("/version", server.version), *(Route(path, server.objects, methods=methods) for path in paths)]
    async with serving(Starlette(routes=routes)) as url:
        cluster.url = url
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(url)))
        yield cluster, path


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "runner", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "runner"}}],
    }
