"""The engine that holds each job as a Job of a Kubernetes cluster, with one pod that is never tried again.

A job is one Job and the Secret that it owns, both called as it and labelled as it; the handle is that name. The pod and
its output stay until `remove`. What a pod is allowed is `kubernetes_box`, what the cluster says of it `kubernetes_pod`;
where it may go is a NetworkPolicy of the namespace (deploy/kubernetes), which must be there before anything starts.
"""

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import anyio

from kit.clock import Clock, rfc3339
from kit.errors import Conflict, Fault, Missing, Unavailable, Unsuitable
from runner import kubernetes_box as box
from runner import kubernetes_pod
from runner.engine import Exit, Found, Job, LogLine
from runner.kubernetes_door import ASK_TIMEOUT_S, KubernetesDoor
from runner.kubernetes_jobs import AGAIN_S, BREATH_S, Jobs
from runner.kubernetes_logs import PodLog
from runner.kubernetes_pod import Seen, Stage

_SILENCE_S = 30.0
"""After so long without a word a watch or a log is opened anew: what stands between may have dropped it."""
_PULL_S = 120.0
"""How long an image may fail to come: registries have hiccups."""
_AWAY_S = 300.0
"""How long the API server may be silent while runs go on: managed ones are away for minutes at an upgrade."""
_IMAGE_HINT = "Is the image in a registry that the nodes reach? See runner.kubernetes.registry and .pull_secrets."
_LEAVING_S = 60.0
"""A pod that was told to go and does not end for so long is on a machine that nobody hears from."""


class KubernetesEngine:
    """Open it before use: `async with KubernetesEngine(…) as engine`."""

    name = "kubernetes"
    gives_files = False

    def __init__(
        self,
        door: KubernetesDoor,
        cluster: box.Cluster,
        *,
        plane: str = "",
        forsaken_s: float = 10.0,
        pull_s: float = _PULL_S,
        leaving_s: float = _LEAVING_S,
        silence_s: float = _SILENCE_S,
        away_s: float = _AWAY_S,
        force_s: float = ASK_TIMEOUT_S,
    ) -> None:
        """`plane` is the host that agents are to find as `preloop`, by a name that we can resolve or an address.
        `forsaken_s` is how long whoever made a Job may take to let it go."""
        self._door = door
        self._cluster = cluster
        self._plane = plane
        self._forsaken_s = forsaken_s
        self._pull_s = pull_s
        self._leaving_s = leaving_s
        self._silence_s = silence_s
        self._jobs = Jobs(door, silence_s=silence_s, away_s=away_s, grace_s=cluster.grace_s, force_s=force_s)

    async def __aenter__(self) -> "KubernetesEngine":
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Raises `Unsuitable` where the namespace can't be used, or nothing there says where agents may go."""
        await self._door.open()
        try:
            await self._door.ask("list jobs", "GET", self._door.at("jobs"), limit=1)
            await self._jobs.need_policy()
        except Fault as fault:
            await self.close()
            if isinstance(fault, Unsuitable):
                raise
            raise Unsuitable("kubernetes_refuses", fault.message, fault.hint) from fault

    async def close(self) -> None:
        """Jobs run on."""
        with anyio.CancelScope(shield=True):
            await self._door.close()

    async def prepare(self, job: Job) -> None:
        """Nothing: what a job needs is made with it, and goes with it."""

    async def start(self, job: Job) -> str:
        made = await self._make(job)
        if kubernetes_pod.suspended(made):  # one that was let go is adopted as it is
            body = box.secret(job, made["metadata"])
            await self._door.ask(f"keep the files of {job.name}", "POST", self._door.at("secrets"), body, unless=(409,))
            let_go = {"spec": {"suspend": False}}
            await self._door.ask(f"start {job.name}", "PATCH", self._door.at("jobs", job.name), let_go)
        return job.name

    async def began(self, handle: str) -> bool:
        with anyio.move_on_after(self._forsaken_s):
            while (job := await self._jobs.job(handle)) is not None:
                if not kubernetes_pod.suspended(job):
                    return True
                await anyio.sleep(BREATH_S)
        return False

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        output, told = PodLog(after), ""
        while (seen := await self._jobs.look(handle)).stage is not Stage.ENDED:
            if seen.why and seen.why != told:
                told = seen.why
                yield output.note(f"The cluster says: {told}", rfc3339(Clock().now()))
            if seen.stage is Stage.WAITING:
                await self._jobs.news(handle, seen.version)
                continue
            with suppress(Unavailable):  # of its node, which may come back; `wait` says when it does not
                async with aclosing(self._read(seen.pod, output, follow=True)) as lines:
                    async for line in lines:
                        yield line
            await anyio.sleep(BREATH_S)
        async with aclosing(self._last(seen, output)) as lines:
            async for line in lines:
                yield line

    async def wait(self, handle: str) -> Exit:
        pulled_from = leaving_from = None
        while (seen := await self._jobs.look(handle)).stage is not Stage.ENDED:
            now = anyio.current_time()
            pulled_from = (pulled_from or now) if seen.pulling else None
            if seen.stuck or (pulled_from is not None and now - pulled_from >= self._pull_s):
                raise Missing("image_missing", f"The cluster can't start the agent. {seen.why}", _IMAGE_HINT)
            leaving_from = (leaving_from or now) if seen.leaving else None
            if leaving_from is not None and now - leaving_from >= self._leaving_s:
                return Exit(gone=True)
            soon = seen.pulling or seen.leaving
            await self._jobs.news(
                handle, seen.version, min(self._silence_s, self._pull_s, self._leaving_s) if soon else None
            )
        return seen.exit

    async def stop(self, handle: str, *, grace_s: float) -> None:
        """A pod is told that its time is over, which ends it and keeps its output; to delete it would lose both that
        and its exit code. Its own grace is the one that it was made with. One whose node is silent is forgotten."""
        seen = await self._jobs.look(handle)
        if seen.stage is Stage.WAITING:
            await self._jobs.forget(handle)
        elif seen.stage is Stage.RUNNING:
            over = {"spec": {"activeDeadlineSeconds": 1}}
            at = self._door.at("pods", seen.pod)
            # 422: it is over already, and may not be made longer
            await self._door.ask(f"stop {handle}", "PATCH", at, over, unless=(404, 422))
            with anyio.move_on_after(max(grace_s, self._cluster.grace_s) + ASK_TIMEOUT_S):
                await self.wait(handle)
                return
            await self._jobs.forget(handle)

    async def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        """Nothing: a pod that has ended runs no command. The job hands over what its agent left."""
        return
        yield b""

    async def remove(self, handle: str) -> None:
        await self._jobs.forget(handle)

    async def jobs(self, instance: str) -> tuple[Found, ...]:
        """Every job with the label `preloop.instance` = `instance`, ended or not; a Secret goes with its Job."""
        label = f"preloop.instance={instance}"
        listed = await self._door.ask("list jobs", "GET", self._door.at("jobs"), labelSelector=label)
        found = {}
        for held in (listed or {})["items"]:
            over = kubernetes_pod.without_pod(held, "").stage is Stage.ENDED
            running = not over and not kubernetes_pod.suspended(held)
            labels = {key: value for key, value in held["metadata"]["labels"].items() if key.startswith("preloop.")}
            labels.pop(box.MINE, None)
            name = held["metadata"]["name"]
            found[name] = Found(name=name, labels=labels, running=running)
        return tuple(found[name] for name in sorted(found))

    async def _make(self, job: Job) -> dict[str, Any]:
        """The Job as the cluster has it, suspended where it is new."""
        body = box.suspended_job(job, self._cluster, await self._address())
        while True:
            made = await self._door.ask(f"make {job.name}", "POST", self._door.at("jobs"), body, unless=(409,))
            held = made or await self._jobs.job(job.name)
            if held is None or "deletionTimestamp" in held["metadata"]:
                await anyio.sleep(BREATH_S)  # the one of that name is just going
                continue
            if not box.labels(job).items() <= held["metadata"].get("labels", {}).items():
                raise Conflict("job_name_taken", f"Another Job of this namespace is called {job.name}.")
            return held

    async def _address(self) -> str:
        if not self._plane:
            return ""
        try:
            with anyio.fail_after(ASK_TIMEOUT_S):
                found = await anyio.getaddrinfo(self._plane, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as wrong:
            raise Unavailable(
                "plane_unknown",
                f"The address of {self._plane} (runner.kubernetes.plane) can't be found: {wrong}",
                "It is the Service of the containers' listener, as the runner resolves it.",
            ) from wrong
        return str(found[0][4][0])

    async def _read(self, pod: str, output: PodLog, *, follow: bool) -> AsyncGenerator[LogLine]:
        """One stream, to its end or a silence; whoever follows opens the next."""
        response = await self._door.open_log(pod, box.AGENT, since=output.reopen(), follow=follow)
        if response is None:
            return
        async with response:
            while True:
                chunk = b""
                with anyio.move_on_after(self._silence_s), suppress(aiohttp.ClientError, OSError):
                    chunk = await response.content.readany()
                if not chunk:
                    return
                for line in output.feed(chunk):
                    yield line

    async def _last(self, seen: Seen, output: PodLog) -> AsyncGenerator[LogLine]:
        """Followers end early and miss the last lines: what a plain read still finds, and what is to say of the end."""
        at, until = seen.exit.at or rfc3339(Clock().now()), anyio.current_time() + self._silence_s
        while seen.pod:
            try:
                async with aclosing(self._read(seen.pod, output, follow=False)) as lines:
                    async for line in lines:
                        yield line
                break
            except Unavailable as silent:
                if anyio.current_time() >= until:
                    yield output.note(f"Output after this point can't be read. {silent.message}", at)
                    break
            await anyio.sleep(AGAIN_S)
        for line in output.rest():
            yield line
        if seen.why:
            yield output.note(f"The cluster ended it: {seen.why}", at)
