"""The seam between a run and whatever holds its container, in lifecycle order.

An engine knows images, processes and log cursors. It knows nothing of executions, flows or approvals: `runner/run`
drives it, `runner/docker`, `runner/kubernetes`, `runner/swarm` and `runner/process` are the real ones.
"""

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from kit.errors import Invalid

KILL = 128 + signal.SIGKILL
"""The exit code of what was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One agent to start. `name` is deterministic per execution: creating it twice is how a second start is noticed."""

    name: str
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, bytes]
    """Paths relative to the job's folder, where `argv` starts; written before the start, owned by the agent's user."""
    memory_bytes: int = 2 << 30
    cpus: float = 1.0
    pids: int = 256
    log_bytes: int = 50 << 20
    """How much of its output is kept."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in map(PurePosixPath, self.files):
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise Invalid("file_path_invalid", f"{str(path)!r} is not a path inside the job's folder.")


class LogLine(NamedTuple):
    """One line of output without its newline, and the cursor to read on after it. A tuple, as there are thousands a
    second."""

    text: str
    at: str
    """RFC 3339 UTC with the engine's precision."""
    cursor: str
    ours: bool = False
    """No output: what an engine has to say of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a job ended. `gone` says the engine no longer knows it, and then nothing else is known. `oom_killed`: a
    process of it was killed for want of memory, and not always the one whose code this is."""

    code: int | None = None
    oom_killed: bool = False
    gone: bool = False
    at: str = field(default="", compare=False)
    """When, in RFC 3339 UTC, as far as the engine says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A job that an engine still holds, whoever started it: what a reaper looks at."""

    name: str
    labels: Mapping[str, str]
    running: bool


class Engine(Protocol):
    """Every method has its own time limit inside and raises `Fault('engine_unreachable')` when the engine is silent."""

    name: str
    gives_files: bool
    """Can `archive` read what a job left? Where it can't, the job hands it over itself (`access/left`)."""

    async def prepare(self, job: Job) -> None:
        """Networks, volumes, the folder, files. May run twice."""

    async def start(self, job: Job) -> str:
        """Create and start; returns the handle. May run twice: a job of that name and label is adopted as it is."""

    async def began(self, handle: str) -> bool:
        """Has the job started, whatever became of it? One that was made and not started is watched for as long as
        whoever made it may take. May run twice."""

    def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        """Follow the output after a cursor ('' from the beginning) until the job has ended and all was read."""

    async def wait(self, handle: str) -> Exit:
        """Until the job ends. Safe to call again after the end; a job nobody knows is `Exit(gone=True)`."""

    async def stop(self, handle: str, *, grace_s: float) -> None:
        """TERM, then KILL after the grace. Stopping what has ended is fine."""

    def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        """A tar of one path below the job's folder, of a job that runs or has ended; nothing where there is no such
        path or no such job. May run twice. What an agent wrote is in it, so it is read with distrust (`runner/tar`)."""

    async def remove(self, handle: str) -> None:
        """Forget the job, its volume and its files. May run twice."""
