"""An engine without processes: a job is a task that says its lines and ends. What a queue and a run are shown with.

It keeps the promises of `runner/engine`: a second start finds the first, the output stays readable until `remove`, an
end is told to whoever waits, a job nobody knows is gone. `asked` is what was asked of it, in order.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from kit.clock import Clock, rfc3339
from runner import docker_box
from runner.engine import Exit, Job, LogLine

START, END = "PRELOOP_AGENT_EXEC_START", "PRELOOP_AGENT_EXEC_END {}"
STOPPED = 143
Agent = Callable[["Running"], Awaitable[int]]
"""Plays one agent, from its start to its exit code."""


@dataclass(eq=False)
class Running:
    """One job. Lines are numbered from 1; a line's number is the cursor after it."""

    job: Job
    lines: list[LogLine] = field(default_factory=list)
    left: dict[str, bytes] = field(default_factory=dict)
    """Files of its folder, by path."""
    exit: Exit | None = None
    stopped: anyio.Event = field(default_factory=anyio.Event)
    _news: anyio.Event = field(default_factory=anyio.Event)

    def say(self, text: str) -> None:
        number = len(self.lines) + 1
        self.lines.append(LogLine(text=text, at=rfc3339(Clock().now()), cursor=str(number)))
        self._tell()

    def end(self, code: int, *, oom_killed: bool = False) -> None:
        self.exit = self.exit or Exit(code=code, oom_killed=oom_killed)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def news(self) -> None:
        await self._news.wait()


async def stays(running: Running) -> int:
    """An agent that works until somebody else ends it."""
    running.say(START)
    await running.stopped.wait()
    return STOPPED


class MemoryEngine:
    """Jobs of one event loop; `agent` plays each of them."""

    name = "process"  # the scripted agent is known to run there
    gives_files = True

    def __init__(self, tasks: TaskGroup, agent: Agent = stays) -> None:
        self._tasks = tasks
        self._agent = agent
        self.jobs: dict[str, Running] = {}
        self.asked: list[tuple[str, str]] = []
        self.most = 0
        """How many jobs ran at the same time, at most."""

    async def prepare(self, job: Job) -> None:
        self.asked.append(("prepare", job.name))

    async def start(self, job: Job) -> str:
        self.asked.append(("start", job.name))
        if job.name not in self.jobs:
            self.jobs[job.name] = Running(job)
            self._tasks.start_soon(self._play, self.jobs[job.name])
            self.most = max(self.most, sum(running.exit is None for running in self.jobs.values()))
        return job.name

    async def _play(self, running: Running) -> None:
        code = await self._agent(running)
        if running.exit is None:
            running.say(END.format(code))
            running.end(code)

    async def began(self, handle: str) -> bool:
        return handle in self.jobs

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        running, at = self.jobs.get(handle), int(after or 0)
        while running is not None:
            for line in running.lines[at:]:
                at += 1
                yield line
            if at == len(running.lines):
                if running.exit is not None:
                    return
                await running.news()

    async def wait(self, handle: str) -> Exit:
        while (running := self.jobs.get(handle)) is not None:
            if running.exit is not None:
                return running.exit
            await running.news()
        return Exit(gone=True)

    async def stop(self, handle: str, *, grace_s: float) -> None:
        self.asked.append(("stop", handle))
        if running := self.jobs.get(handle):
            running.stopped.set()
            running.end(STOPPED)

    async def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        running = self.jobs.get(handle)
        left = running.left if running else {}
        above = len(path) - len(path.rpartition("/")[2])
        if below := {name[above:]: content for name, content in left.items() if f"{name}/".startswith(f"{path}/")}:
            yield docker_box.archive(below)

    async def remove(self, handle: str) -> None:
        self.asked.append(("remove", handle))
        await self.stop(handle, grace_s=0)
        self.jobs.pop(handle, None)
