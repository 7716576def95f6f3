"""The engine that holds each job as a service of a Docker Swarm, with one task that is never tried again.

A job is one service and one secret, both called as it and labelled as it; the handle is that name. It speaks to a
manager alone: nodes may be anywhere. The task and its output stay until `remove`. What a container is allowed is
`swarm_box`, what the swarm says of it `swarm_task`; where it may go is an internal overlay network that must be there.

A node that is cut off goes on without its manager, which gives its task up and starts no other; when the node comes
back, it ends the container.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

import aiohttp
import anyio

from kit.errors import Conflict, Fault, Missing, Unavailable
from runner import swarm_box as box
from runner import swarm_task
from runner.docker_door import ASK_TIMEOUT_S
from runner.engine import Exit, Found, Job, LogLine
from runner.swarm_door import SwarmDoor
from runner.swarm_logs import TaskLog
from runner.swarm_task import NOTHING, Seen, Stage

_BREATH_S = 0.2
_LOOK_S = 1.0
"""Between two looks at a task: a manager has no events of tasks."""
_AWAY_S = 300.0
"""How long managers may be silent while runs go on: an election, an upgrade."""
_REST_S = 10.0
"""For what a node has yet to send of an output that is over."""
_IMAGE_HINT = "Is it on that node, or in a registry that the nodes reach? See docs/swarm.md."


class SwarmEngine:
    """Open it before use: `async with SwarmEngine(…) as engine`."""

    name = "swarm"
    gives_files = False

    def __init__(self, url: str, swarm: box.Swarm, *, away_s: float = _AWAY_S, rest_s: float = _REST_S) -> None:
        """`url` is the engine of a manager."""
        self._door = SwarmDoor(url)
        self._swarm = swarm
        self._away_s = away_s
        self._rest_s = rest_s
        self._network = ""

    async def __aenter__(self) -> "SwarmEngine":
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Raises `Unsuitable` where there is no swarm, or no network for agents on it."""
        await self._door.open()
        try:
            self._network = await self._door.need_network(self._swarm.network)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Jobs run on."""
        with anyio.CancelScope(shield=True):
            await self._door.close()

    async def prepare(self, job: Job) -> None:
        """Nothing: what a job needs is made with it, and goes with it."""

    async def start(self, job: Job) -> str:
        if await self._held(job):
            return job.name  # adopted as it is, also one that has ended
        secret_id = await self._kept(job)
        body = box.service(job, self._swarm, secret_id=secret_id, network_id=self._network)
        made = await self._door.ask(f"start {job.name}", "POST", "services/create", body, unless=(409,))
        if made is None and not await self._held(job):
            raise Unavailable("engine_unreachable", f"The service {job.name} was there and is gone.")
        return job.name

    async def began(self, handle: str) -> bool:
        """A service is whole from the moment that there is one."""
        return await self._door.service(handle) is not None

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        output, told = TaskLog(after), ""
        while (seen := await self._look(handle)).stage is not Stage.ENDED:
            if seen.why and seen.why != told:
                told = seen.why
                yield output.note(f"The swarm says: {told}")
            if seen.stage is Stage.RUNNING:
                with suppress(Unavailable):  # of its node; `wait` says when it does not come back
                    async with aclosing(self._follow(handle, seen.task, output)) as lines:
                        async for line in lines:
                            yield line
            await anyio.sleep(_BREATH_S)
        async with aclosing(self._last(seen, output)) as lines:
            async for line in lines:
                yield line

    async def wait(self, handle: str) -> Exit:
        seen = await self._end(handle)
        if seen.stuck and "o such image" in seen.why:
            raise Missing("image_missing", f"The swarm can't start the agent. {seen.why}", _IMAGE_HINT)
        if seen.stuck:
            raise Fault("engine_refused", f"The swarm can't start the agent. {seen.why}")
        return seen.exit

    async def stop(self, handle: str, *, grace_s: float) -> None:
        """Its service gets no place to be, which ends its task and keeps it. Its grace is the one that it was made
        with. One that waits, or whose node is silent, is forgotten."""
        seen = await self._look(handle)
        if seen.stage is Stage.WAITING:
            await self._forget(handle)
        elif seen.stage is Stage.RUNNING:
            await self._displace(handle)
            with anyio.move_on_after(max(grace_s, self._swarm.grace_s) + ASK_TIMEOUT_S):
                await self._end(handle)
                return
            await self._forget(handle)

    async def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        """Nothing: a manager has no way to a node's files. The job hands over what its agent left."""
        return
        yield b""

    async def remove(self, handle: str) -> None:
        await self._forget(handle)

    async def jobs(self, instance: str) -> tuple[Found, ...]:
        """Every job with the label `preloop.instance` = `instance`, ended or not, and secrets alone."""
        label = f"preloop.instance={instance}"
        found = {}
        for kept in await self._door.secrets(label):
            found[kept["Spec"]["Name"]] = Found(name=kept["Spec"]["Name"], labels=kept["Spec"]["Labels"], running=False)
        for held in await self._door.services(label):
            name = held["Spec"]["Name"]
            running = (await self._look(name)).stage is not Stage.ENDED
            found[name] = Found(name=name, labels=held["Spec"]["Labels"], running=running)
        return tuple(found[name] for name in sorted(found))

    async def _held(self, job: Job) -> bool:
        """Is there a service of that name? Conflict when it is another's."""
        held = await self._door.service(job.name)
        if held and held["Spec"]["Labels"] != dict(job.labels):
            raise Conflict("job_name_taken", f"Another service of this swarm is called {job.name}.")
        return held is not None

    async def _kept(self, job: Job) -> str:
        """The secret's id. One that is there was made by whoever died over it, or starts this job just now."""
        made = await self._door.keep(job.name, job.labels, box.secret(job))
        if made is not None:
            return made
        held = await self._door.ask(f"look at the secret {job.name}", "GET", f"secrets/{job.name}")
        if held["Spec"]["Labels"] != dict(job.labels):
            raise Conflict("job_name_taken", f"Another secret of this swarm is called {job.name}.")
        return str(held["ID"])

    async def _look(self, handle: str) -> Seen:
        """A manager that is silent is waited for: its nodes run on."""
        until = anyio.current_time() + self._away_s
        while True:
            try:
                return await self._seen(handle)
            except Unavailable:
                if anyio.current_time() >= until:
                    raise
            await anyio.sleep(_LOOK_S)

    async def _seen(self, handle: str) -> Seen:
        task = swarm_task.oldest(await self._door.tasks(handle))
        if task is None:
            return Seen(stage=Stage.WAITING) if await self._door.service(handle) else NOTHING
        node = await self._door.node(task["NodeID"]) if task.get("NodeID") else None
        return swarm_task.look(task, node)

    async def _end(self, handle: str) -> Seen:
        while True:
            if (seen := await self._look(handle)).stage is Stage.ENDED:
                return seen
            await anyio.sleep(_LOOK_S)

    async def _displace(self, handle: str) -> None:
        while (held := await self._door.service(handle)) and not box.is_stopped(held["Spec"]):
            version, body = str(held["Version"]["Index"]), box.stopped(held["Spec"])
            try:
                at = f"services/{handle}/update"
                await self._door.ask(f"stop {handle}", "POST", at, body, unless=(404,), version=version)
            except Fault as fault:
                if "out of sequence" not in fault.message:  # somebody changed it in between
                    raise

    async def _forget(self, handle: str) -> None:
        """The service, its containers on nodes that are heard of, the secret. What runs on a node that is cut off ends
        when that node comes back."""
        tasks = await self._door.tasks(handle)
        await self._door.ask(f"remove {handle}", "DELETE", f"services/{handle}", unless=(404,))
        with anyio.move_on_after(self._swarm.grace_s + ASK_TIMEOUT_S):
            for task in tasks:
                await self._until_gone(task["ID"])
        await self._door.ask(f"remove the secret {handle}", "DELETE", f"secrets/{handle}", unless=(404,))

    async def _until_gone(self, task_id: str) -> None:
        """A task of a removed service, unless its node is not there to see to it."""
        while True:
            task = await self._door.task(task_id)
            node = await self._door.node(task["NodeID"]) if task and task.get("NodeID") else None
            if node is None or node["Status"]["State"] != "ready":
                return
            await anyio.sleep(_BREATH_S)

    async def _follow(self, handle: str, task: str, output: TaskLog) -> AsyncGenerator[LogLine]:
        """One stream until its task has ended: a manager closes none by itself. What is still on its way then comes
        with the last read."""
        response = await self._door.open_log(task, since=output.reopen(), follow=True)
        if response is None:
            return
        async with response:
            while True:
                while chunk := await _piece(response.content, anyio.current_time() + _LOOK_S):
                    for line in output.feed(chunk):
                        yield line
                if response.content.at_eof() or (await self._look(handle)).stage is Stage.ENDED:
                    return

    async def _last(self, seen: Seen, output: TaskLog) -> AsyncGenerator[LogLine]:
        """All that was not read while it ran, and what is to say of the end."""
        response = None
        if seen.task and not seen.lost:
            response = await self._door.open_log(seen.task, since=output.reopen(), follow=False)
        if response is not None:
            async with response:
                until = anyio.current_time() + self._rest_s
                while chunk := await _piece(response.content, until):
                    until = anyio.current_time() + self._rest_s
                    for line in output.feed(chunk):
                        yield line
                if output.broken or not response.content.at_eof():
                    yield output.note("Output after this point can't be read: its node does not answer.")
        for line in output.rest():
            yield line
        if seen.why:
            yield output.note(f"The swarm ended it: {seen.why}")


async def _piece(content: aiohttp.StreamReader, until: float) -> bytes:
    """Empty at the end, also when nothing more comes until then."""
    with anyio.move_on_after(until - anyio.current_time()), suppress(aiohttp.ClientError, OSError):
        return await content.readany()
    return b""
