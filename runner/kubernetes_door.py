"""The door to a cluster's API server: one client, a time limit on every question, and its refusals as our faults.

kubernetes_asyncio (the extra `kubernetes`) knows how to sign in, from a pod and from a kubeconfig; bodies and answers
are plain JSON here. Knows nothing of jobs as we have them.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

from kit.errors import Fault, Unavailable, Unsuitable

if TYPE_CHECKING:
    from kubernetes_asyncio.client.api_client import ApiClient

ASK_TIMEOUT_S = 30.0
_OPEN_TIMEOUT_S = 10.0
_PATCH = "application/merge-patch+json"
_PLAIN = "application/json"


class Denied(Fault):
    """The API server says no."""

    def __init__(self, what: str, status: int, said: str) -> None:
        hint = (
            "The runner's Role lets it do this: see deploy/kubernetes/base/runner-role.yaml." if status == 403 else ""
        )
        super().__init__("engine_refused", f"Kubernetes refused to {what}: {said}", hint)
        self.answered = status


class KubernetesDoor:
    """Of one namespace. Without a kubeconfig we are a pod ourselves, and sign in as its service account."""

    def __init__(self, namespace: str, *, kubeconfig: str = "", context: str = "") -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._context = context
        self._client: ApiClient | None = None

    async def open(self) -> None:
        """Raises `Unsuitable` when the extra is missing, nobody says where the cluster is, or it does not answer."""
        self._client = await self._signed_in()
        try:
            with anyio.fail_after(_OPEN_TIMEOUT_S):
                await self.ask("tell its version", "GET", "/version")
        except (Fault, TimeoutError) as wrong:
            await self.close()
            named = f" that {self._kubeconfig} names" if self._kubeconfig else ""
            raise Unsuitable(
                "kubernetes_unreachable",
                f"No Kubernetes API server answers{named}. {wrong}",
                "`kubectl version` tells; runner.kubernetes.kubeconfig and .context say which cluster.",
            ) from wrong

    async def close(self) -> None:
        if self._client:
            await self._client.close()
        self._client = None

    def at(self, kind: str, name: str = "", part: str = "") -> str:
        """The path of objects of the namespace: `jobs`, `pods`, …"""
        group = {"jobs": "/apis/batch/v1", "networkpolicies": "/apis/networking.k8s.io/v1"}.get(kind, "/api/v1")
        return "/".join([f"{group}/namespaces/{self.namespace}", kind, *filter(None, (name, part))])

    async def ask(
        self, what: str, method: str, path: str, body: object = None, *, unless: tuple[int, ...] = (), **query: object
    ) -> dict[str, Any] | None:
        """The answer's JSON, None where the server answers with a status of `unless`. `what` completes "Kubernetes
        refused to …"; raises `Denied`, and `Unavailable` when it is silent."""
        async with self._asking(what), await self._send(method, path, body, query) as response:
            text = await response.text()
        if response.status in unless:
            return None
        self._weigh(what, response.status, text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def changes(self, kind: str, label: str, version: str, wait_s: float) -> AsyncGenerator[dict[str, Any]]:
        """What changes among objects with that label after a list of that version, for so long at most. Ends early when
        the server ends it, as when that version is forgotten: then it is time for another list."""
        query = {"labelSelector": label, "resourceVersion": version, "watch": "true", "timeoutSeconds": round(wait_s)}
        what = f"watch {kind}"
        async with self._asking(what, wait_s + ASK_TIMEOUT_S):
            response = await self._send("GET", self.at(kind), None, query)
            async with response:
                if response.status == 410:
                    return
                if response.status != 200:
                    self._weigh(what, response.status, await response.text())
                line = b""
                async for piece in response.content.iter_any():
                    *whole, line = (line + piece).split(b"\n")
                    for each in filter(None, whole):
                        change: dict[str, Any] = json.loads(each)
                        if change["type"] == "ERROR":  # a Status, mostly 410
                            return
                        yield change

    async def open_log(self, pod: str, container: str, *, since: str, follow: bool) -> aiohttp.ClientResponse | None:
        """Lines with their times; None when there is no such pod or output. The caller closes it."""
        query: dict[str, object] = {
            "container": container,
            "timestamps": "true",
            "follow": "true" if follow else "false",
        }
        if since:  # the generated client has sinceSeconds alone
            query["sinceTime"] = since
        what = f"tell the log of {pod}"
        async with self._asking(what):
            response = await self._send("GET", self.at("pods", pod, "log"), None, query)
            if response.status == 200:
                return response
            async with response:
                text = await response.text()
        if response.status in {400, 404}:  # 400: its container did not begin, or is no more
            return None
        self._weigh(what, response.status, text)
        raise AssertionError("unreachable")

    async def _send(self, method: str, path: str, body: object, query: Mapping[str, object]) -> aiohttp.ClientResponse:
        assert self._client, "open() first"
        answer: aiohttp.ClientResponse = await self._client.call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params={"Content-Type": _PATCH if method == "PATCH" else _PLAIN},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(),
        )
        return answer

    def _weigh(self, what: str, status: int, text: str) -> None:
        """Raise what an answer that is none means."""
        if status < 300:
            return
        try:
            said = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            said = text[:200] or f"HTTP {status}"
        if status == 429 or status >= 500:
            raise self._silent(f"Asked to {what}, it answers HTTP {status}: {said}")
        raise Denied(what, status, said)

    @asynccontextmanager
    async def _asking(self, what: str, timeout_s: float = ASK_TIMEOUT_S) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(timeout_s):
                yield
        except TimeoutError as exc:
            raise self._silent(f"It took longer than {timeout_s:g} s to {what}.") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise self._silent(f"Asked to {what}: {exc}") from exc

    def _silent(self, detail: str) -> Unavailable:
        return Unavailable(
            "engine_unreachable",
            f"The cluster's API server does not answer. {detail}",
            "Is it up, and may this machine reach it? `kubectl get --raw /readyz` tells.",
        )

    async def _signed_in(self) -> "ApiClient":
        try:
            from kubernetes_asyncio import config
            from kubernetes_asyncio.client.api_client import ApiClient
            from kubernetes_asyncio.client.configuration import Configuration
        except ModuleNotFoundError as error:
            raise Unsuitable(
                "kubernetes_missing",
                "runner.engine is kubernetes, and kubernetes_asyncio is not installed.",
                "Install the extras: `make extras`, or name another engine.",
            ) from error
        told = Configuration()
        told.connection_pool_maxsize = 0  # a limit would hang whoever follows one pod more, and every question after it
        try:
            if self._kubeconfig:
                await config.load_kube_config(
                    self._kubeconfig, self._context or None, client_configuration=told, persist_config=False
                )
            else:
                config.load_incluster_config(told)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError, ValueError) as wrong:
            raise Unsuitable(
                "kubernetes_unreachable",
                f"Nothing says where the cluster is: {wrong}",
                "Run the runner in a pod with a service account, or set runner.kubernetes.kubeconfig to a file.",
            ) from wrong
        return ApiClient(told)
