"""The engine without containers: each job is a process of its own session in a folder of its own.

This is not isolation: the agent runs as our user and can read what we can read. It exists so that a demo and the tests
need nothing installed. A keeper process (`runner/keeper`) stays with each job, so a control plane that comes back finds
everything by name in the folder: who runs, what was said, how it ended. It knows nothing of executions or flows.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from kit.clock import Clock, rfc3339
from kit.errors import Fault, Invalid, Missing, Unavailable
from runner import keeper
from runner.engine import Exit, Found, Job, LogLine
from runner.lines import LineSplitter
from runner.packing import packed

_POLL_S = 0.02
_START_TIMEOUT_S = 20.0
_KILL_TIMEOUT_S = 10.0
_READ_BYTES = 1 << 18


class ProcessEngine:
    """`root` holds one folder per job, named as the job; the handle of a job is its name."""

    name = "process"
    gives_files = True

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Nothing to reach; folders are made with their jobs."""

    async def close(self) -> None:
        """Nothing is held: jobs run on."""

    async def prepare(self, job: Job) -> None:
        folder = self._folder(job.name)
        if not (folder / "keeper.json").exists():
            await anyio.to_thread.run_sync(_lay_out, folder, job)

    async def start(self, job: Job) -> str:
        folder = self._folder(job.name)
        if not (folder / "job.json").exists():
            raise Missing("job_missing", f"The job {job.name} was not prepared.")
        if _labels(folder) != dict(job.labels):
            raise Fault("job_name_taken", f"Another job is called {job.name}.")
        try:
            with anyio.fail_after(_START_TIMEOUT_S):
                if not (folder / "keeper.json").exists():
                    await _launch_keeper(folder)
                while not (folder / "keeper.json").exists():  # noqa: ASYNC110 - another process writes it
                    await anyio.sleep(_POLL_S)
        except TimeoutError as exc:
            raise Unavailable("engine_unreachable", f"The process for {job.name} did not come up.") from exc
        return job.name

    async def began(self, handle: str) -> bool:
        return (self._folder(handle) / "keeper.json").exists()

    async def logs(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        """The cursor is the byte offset after the line, with `+` inside a cut one; the time is when it was read."""
        folder = self._folder(handle)
        offset = int(after.rstrip("+") or 0)
        splitter = LineSplitter(continued=after.endswith("+"))
        ended = False
        while True:
            chunk = _read(folder / "output", offset)
            offset += len(chunk)
            at = rfc3339(Clock().now())
            for line in splitter.feed(chunk):
                yield LogLine(text=line.text, at=at, cursor=f"{offset - line.pending}{'+' if line.cut else ''}")
            if chunk:
                continue
            if ended:
                break
            # The end is looked for before the last read, so that nothing written before it is missed.
            if not (ended := _ending(folder) is not None):
                await anyio.sleep(_POLL_S)
        for text in splitter.rest():
            yield LogLine(text=text, at=rfc3339(Clock().now()), cursor=str(offset))

    async def wait(self, handle: str) -> Exit:
        folder = self._folder(handle)
        while (ending := _ending(folder)) is None:  # noqa: ASYNC110 - another process ends it
            await anyio.sleep(_POLL_S)
        return ending

    async def stop(self, handle: str, *, grace_s: float) -> None:
        folder = self._folder(handle)
        pid = _keeper_pid(folder)
        if pid is None:
            return
        self._ask_to_end(pid)
        with anyio.move_on_after(grace_s):
            await self.wait(handle)
            return
        try:
            with anyio.fail_after(_KILL_TIMEOUT_S):
                await self._kill(folder, pid)
        except TimeoutError as exc:
            raise Unavailable("engine_unreachable", f"The process of {handle} does not end.") from exc

    def archive(self, handle: str, path: str) -> AsyncGenerator[bytes]:
        return packed(self._folder(handle) / "workspace", path)

    async def remove(self, handle: str) -> None:
        folder = self._folder(handle)
        await self.stop(handle, grace_s=0)
        await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        if folder.exists():
            raise Unavailable("workspace_not_removed", f"The folder {folder} could not be removed.")

    async def jobs(self, instance: str) -> tuple[Found, ...]:
        """Every job with the label `preloop.instance` = `instance`, running or not."""
        return tuple(
            Found(name=path.parent.name, labels=labels, running=_ending(path.parent) is None)
            for path in sorted(self._root.glob("*/job.json"))
            if (labels := _labels(path.parent)).get("preloop.instance") == instance
        )

    async def _kill(self, folder: Path, pid: int) -> None:
        """The agent first, so that the keeper can still say how it ended."""
        while _ending(folder) is None:
            keeper.kill(keeper.descendants(pid))
            await anyio.sleep(_POLL_S)

    def _ask_to_end(self, pid: int) -> None:
        """TERM for the agent of this keeper."""
        signalled(pid, signal.SIGTERM)

    def _folder(self, name: str) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise Invalid("job_name_invalid", f"{name!r} can't name a job.")
        return self._root / name


def _lay_out(folder: Path, job: Job) -> None:
    """job.json comes last: where it is, the rest is."""
    work = folder / "workspace"
    for path in (work, folder / "home"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for relative, content in job.files.items():
        target = work / relative
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(content)
        target.chmod(0o600)
    env = {"PATH": _path(), "HOME": str(folder / "home"), **job.env}
    keeper.write_whole(folder / "job.json", json.dumps({"argv": job.argv, "env": env, "labels": dict(job.labels)}))


def _path() -> str:
    """The interpreter we run on comes first: the entry script may need a python3 that certainly works."""
    own = Path(sys.executable).parent
    return os.pathsep.join([str(own), "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])


async def _launch_keeper(folder: Path) -> None:
    """With an empty environment: the agent runs as our user and may read its keeper's."""
    done = await anyio.run_process(
        [sys.executable, "-I", "-S", keeper.__file__, str(folder)],
        env={},
        cwd=folder,
        start_new_session=True,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise Unavailable("engine_unreachable", f"The process for {folder.name} could not be started.")


def _labels(folder: Path) -> Mapping[str, str]:
    labels: dict[str, str] = json.loads((folder / "job.json").read_text())["labels"]
    return labels


def _keeper_pid(folder: Path) -> int | None:
    """The keeper's pid while it lives; None before, after, and when another process has its number."""
    try:
        record = json.loads((folder / "keeper.json").read_text())
    except FileNotFoundError:
        return None
    pid: int = record["pid"]
    return pid if keeper.born(pid) == record["born"] else None


def _ending(folder: Path) -> Exit | None:
    """None while it runs. The order matters: a keeper found dead has written its last word by then."""
    alive = _keeper_pid(folder) is not None
    try:
        return Exit(code=int((folder / "exit").read_text()))
    except FileNotFoundError:
        return None if alive else Exit(gone=True)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_READ_BYTES)
    except FileNotFoundError:
        return b""


def signalled(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
