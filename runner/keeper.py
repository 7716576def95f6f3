"""The process that stays with one job of the process engine: it starts the agent, waits, and leaves its exit code.

It runs in its own session so that it outlives the control plane, is started as a plain script (`python -I keeper.py`)
and imports the standard library only, so that it costs little and depends on nothing that an upgrade could replace.
Files in the job's folder, each written whole or not at all:

    job.json      written by the engine: argv, env
    keeper.json   {"pid", "born"}: the first keeper to link it runs the job, any other ends at once
    output        stdout and stderr of the agent
    exit          the exit code, decimal
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")


def born(pid: int) -> str:
    """What tells this process from a later one with the same number; '' when there is no such process.

    Linux: boot id and start time (proc(5), field 22 of stat). Elsewhere `ps -o lstart=`.
    """
    if not _LINUX:
        told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return told.stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else f"{_boot()}:{fields[18]}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def descendants(root: int) -> list[int]:
    """Every process below `root`, nearest first; zombies count."""
    return [pid for row in generations(root) for pid in row]


def generations(root: int) -> list[list[int]]:
    """The children of `root`, their children, and so on."""
    children: dict[int, list[int]] = {}
    for pid, parent in _proc_parents() if _LINUX else _ps_parents():
        children.setdefault(parent, []).append(pid)
    found, edge = [], [root]
    while edge := [child for parent in edge for child in children.get(parent, [])]:
        found.append(edge)
    return found


def _proc_parents() -> Iterator[tuple[int, int]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                yield int(entry), int(stat.rpartition(")")[2].split()[1])


def _ps_parents() -> Iterator[tuple[int, int]]:
    told = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)
    for line in told.stdout.splitlines():
        pid, parent = line.split()
        yield int(pid), int(parent)


def kill(pids: Iterable[int]) -> None:
    """KILL each; one that is gone is fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def write_whole(path: Path, text: str) -> None:
    """A reader sees all of `text` or no file, and only our user is one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _be_first(folder: Path) -> bool:
    """link(2) is atomic and refuses an existing name: of racing keepers one wins, and it is known who it is."""
    draft = folder / f"keeper.{os.getpid()}.tmp"
    draft.write_text(json.dumps({"pid": os.getpid(), "born": born(os.getpid())}))
    try:
        os.link(draft, folder / "keeper.json")
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _adopt_orphans() -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prepare_agent() -> None:
    """Between fork and exec. An agent whose keeper was killed would run on with nobody watching it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _spawn(folder: Path) -> "subprocess.Popen[bytes] | None":
    """None when it can't be started, and `output` says why."""
    job = json.loads((folder / "job.json").read_text())
    with (folder / "output").open("ab", buffering=0) as output:
        try:
            return subprocess.Popen(
                job["argv"],
                env=job["env"],
                cwd=folder / "workspace",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_prepare_agent,
            )
        except OSError as exc:
            output.write(f"preloop: could not start {job['argv'][0]}: {exc.strerror}\n".encode())
            return None


def _wait(agent: int) -> int:
    """The agent's exit code the way a shell tells it; orphans that came to us are reaped on the way."""
    while True:
        pid, status = os.wait()
        if pid == agent:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_leftovers() -> None:
    """What the agent left running ends with it, as it would in a container."""
    while left := descendants(os.getpid()):
        kill(left)
        with contextlib.suppress(ChildProcessError):
            os.wait()


def keep(folder: Path) -> None:
    """Run the job of this folder once."""
    if not _be_first(folder):
        return
    _adopt_orphans()
    agent = None

    def forward(signum: int, _frame: object) -> None:
        if agent:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, signum)

    # A TERM that came before the agent has a number waits until it has one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, forward)
    # The Popen is kept: one that is dropped reaps a child that ended early, and its code is lost.
    agent = _spawn(folder)
    if agent:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        code = _wait(agent.pid)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _end_leftovers()
    else:
        code = 127
    write_whole(folder / "exit", f"{code}\n")


def main() -> None:
    """Leave the control plane behind: whoever started us reaps the first half at once, the second lives on its own."""
    if os.fork() == 0:
        os.setsid()
        keep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
