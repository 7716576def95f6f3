"""What the engine asks of Jobs and their pods: what became of one, when it is time to look again, and to forget it.

A watch is a wake-up and no more: whatever it loses, the next look finds. A silent API server is waited for, since a
cluster whose server is upgraded runs its pods on.
"""

from contextlib import aclosing, suppress
from typing import Any

import anyio

from kit.errors import Unavailable, Unsuitable
from runner import kubernetes_box as box
from runner import kubernetes_pod
from runner.kubernetes_door import ASK_TIMEOUT_S, KubernetesDoor
from runner.kubernetes_pod import Seen

BREATH_S = 0.2
AGAIN_S = 1.0


class Jobs:
    """`silence_s`: after so long a watch is opened anew. `away_s`: how long a server may be silent that is asked how a
    job does. `force_s`: how long a pod that is removed may take, its own grace besides."""

    def __init__(
        self, door: KubernetesDoor, *, silence_s: float, away_s: float, grace_s: float, force_s: float
    ) -> None:
        self._door = door
        self._silence_s = silence_s
        self._away_s = away_s
        self._force_s = grace_s + force_s

    async def job(self, name: str) -> dict[str, Any] | None:
        return await self._door.ask(f"look at {name}", "GET", self._door.at("jobs", name), unless=(404,))

    async def look(self, handle: str) -> Seen:
        until = anyio.current_time() + self._away_s
        while True:
            try:
                return await self._seen(handle)
            except Unavailable:
                if anyio.current_time() >= until:
                    raise
            await anyio.sleep(AGAIN_S)

    async def _seen(self, handle: str) -> Seen:
        label = f"{box.MINE}={handle}"
        listed = await self._door.ask(f"look at {handle}", "GET", self._door.at("pods"), labelSelector=label) or {}
        version, pods = listed["metadata"]["resourceVersion"], listed["items"]
        if pods:
            return kubernetes_pod.look(kubernetes_pod.oldest(pods), version)
        return kubernetes_pod.without_pod(await self.job(handle), version)

    async def news(self, handle: str, version: str, limit_s: float | None = None) -> None:
        """Return when something of a job's pod changed, or after a while: to look again costs little."""
        label = f"{box.MINE}={handle}"
        with anyio.move_on_after(limit_s or self._silence_s), suppress(Unavailable):
            async with aclosing(self._door.changes("pods", label, version, self._silence_s)) as changes:
                async for _ in changes:
                    return
        await anyio.sleep(BREATH_S)

    async def forget(self, handle: str) -> None:
        """The Job, and all that is its own before it. A pod that does not go is forced, as of a node that is lost."""
        gone = {"propagationPolicy": "Foreground"}
        at = self._door.at("jobs", handle)
        try:
            with anyio.fail_after(self._force_s + ASK_TIMEOUT_S):
                forced_from = anyio.current_time() + self._force_s
                await self._door.ask(f"remove {handle}", "DELETE", at, gone, unless=(404,))
                while await self.job(handle) is not None:
                    if anyio.current_time() >= forced_from:
                        await self._force(handle)
                    await anyio.sleep(BREATH_S)
        except TimeoutError as exc:
            raise Unavailable("engine_unreachable", f"The Job {handle} does not go.", "kubectl describe it.") from exc

    async def _force(self, handle: str) -> None:
        seen = await self.look(handle)
        if seen.pod:
            body = {"gracePeriodSeconds": 0}
            await self._door.ask(f"end {handle}", "DELETE", self._door.at("pods", seen.pod), body, unless=(404,))

    async def need_policy(self) -> None:
        listed = await self._door.ask("list network policies", "GET", self._door.at("networkpolicies"))
        if not any(_closes(policy["spec"]) for policy in (listed or {})["items"]):
            raise Unsuitable(
                "network_open",
                f"No NetworkPolicy of namespace {self._door.namespace} says where agents may go.",
                "kubectl apply -k deploy/kubernetes/base makes it; docs/kubernetes.md says what it needs of a cluster.",
            )


def _closes(spec: dict[str, Any]) -> bool:
    """Is it for all our pods, in both directions?"""
    selector = spec.get("podSelector") or {}
    ours = {box.COMPONENT: box.AGENT, "app.kubernetes.io/managed-by": "preloop"}
    fits = not selector.get("matchExpressions") and selector.get("matchLabels", {}).items() <= ours.items()
    return fits and {"Ingress", "Egress"} <= set(spec.get("policyTypes") or ())
