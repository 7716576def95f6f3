"""The engine without Docker that isolates all the same: each job in a sandbox of bubblewrap, without any network.

Its one way out is the containers' listener, through a unix socket (`bwrap_inside`). It sees this machine's programs,
read-only, and its own folder; no home, no other job, no service of this machine. What it lacks beside a container
are limits of processors, and of memory for all its processes together: each by itself has one. A keeper stays with
each job, as in the process engine, from which all but the command and the probe comes.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from kit.errors import Unsuitable
from runner import keeper
from runner.engine import Job
from runner.process import ProcessEngine, signalled

PROGRAM = "bwrap"
WORK = "/workspace"
HOME = "/home/agent"
DOOR = "/run/preloop"
SOCKET = "agents.sock"
UID = "1000"
OPEN_FILES = 4096
TMP, OF_HOME = 256 << 20, 128 << 20
"""Bytes of `/tmp` and `/var/tmp`, each, and of the home, as in a container."""
_NEWER = ("--size", "--disable-userns")
"""Since 0.7 and 0.8."""
_PROBE_S = 10.0
_INSIDE = Path(__file__).with_name("bwrap_inside.py")
_AGENT = Path(__file__).parents[1] / "images" / "scripted" / "agent.py"
_OF_THE_SYSTEM = (
    "/usr",
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf.d"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf"),
    *("/etc/pki/ca-trust/extracted", "/etc/ca-certificates/extracted"),
)
"""Of TLS what a client reads. Folders of keys (`/etc/ssl/private`, `/etc/pki/tls/private`) lie beside it: the sandbox
of a plane that runs as root could read them."""
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = {
    "passwd": f"agent:x:{UID}:{UID}::{HOME}:/bin/sh\n",
    "group": f"agent:x:{UID}:\n",
    "hosts": "127.0.0.1 localhost agent\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""All that it knows of users and names."""
_DEPTH = 3
"""Below the keeper: bubblewrap, its first process inside, and then `bwrap_inside`, which hears TERM."""


class BwrapEngine(ProcessEngine):
    """`root` holds a folder per job, `door` the unix socket `agents.sock`; `port` is where agents think it is."""

    name = "bwrap"

    def __init__(self, root: Path, *, door: Path, port: int) -> None:
        super().__init__(root)
        self._door = door.resolve()
        self._etc = self._door.with_name(f"{self._door.name}-etc")
        self._port = port
        self._knows: frozenset[str] = frozenset()
        """Which of `_NEWER` this bubblewrap has."""

    async def open(self) -> None:
        """Raises `Unsuitable` where no sandbox can be made: one is."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise Unsuitable(
                "bwrap_missing", "There is no bubblewrap on this machine.", "Install it: apt install bubblewrap"
            )
        for folder in (self._door, self._etc):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in _ETC.items():
            (self._etc / name).write_text(text)
        try:
            with anyio.fail_after(_PROBE_S):
                told = await anyio.run_process([program, "--help"], check=False, stderr=subprocess.STDOUT)
                self._knows = frozenset(one for one in _NEWER if one.encode() in told.stdout)
                command = [*self._sandbox(self._door), "true"]
                made = await anyio.run_process(command, check=False, stderr=subprocess.STDOUT)
        except (TimeoutError, OSError) as exc:
            raise _unusable(str(exc) or f"no answer in {_PROBE_S:g} s") from exc
        if made.returncode != 0:
            raise _unusable(made.stdout.decode(errors="replace").strip()[-300:])

    async def prepare(self, job: Job) -> None:
        """As the process engine's, with the command wrapped; may run twice."""
        work = self._folder(job.name) / "workspace"
        inside = (sys.executable, "-I", "-S", str(_INSIDE), str(self._port), f"{DOOR}/{SOCKET}")
        limits = map(str, (OPEN_FILES, job.memory_bytes, job.pids))
        argv = (*self._sandbox(work), *inside, *limits, *job.argv)
        await super().prepare(replace(job, argv=argv, env={**job.env, "HOME": HOME}))

    def _ask_to_end(self, pid: int) -> None:
        below = keeper.generations(pid)[_DEPTH - 1 : _DEPTH]
        for inner in below[0] if below else [pid]:
            signalled(inner, signal.SIGTERM)

    def _sandbox(self, work: Path) -> Sequence[str]:
        return (PROGRAM, *_arguments(work, self._door, self._etc, self._knows), "--")


def _arguments(work: Path, door: Path, etc: Path, knows: Container[str]) -> Iterator[str]:
    yield from ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if "--disable-userns" in knows:
        yield "--disable-userns"
    yield from ("--uid", UID, "--gid", UID, "--hostname", "agent")
    # first, as the interpreter may be below one of them
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder, size in (("/tmp", TMP), ("/var/tmp", TMP), (HOME, OF_HOME)):
        yield from (*(("--size", str(size)) if "--size" in knows else ()), "--tmpfs", folder)
    yield from ("--ro-bind", str(door), DOOR, "--bind", str(work), WORK)
    for name in _OF_THE_SYSTEM:
        yield from ("--ro-bind-try", name, name)
    for link in map(Path, _LINKS):
        if link.is_symlink():
            yield from ("--symlink", str(link.readlink()), str(link))
        elif link.exists():
            yield from ("--ro-bind", str(link), str(link))
    for path in dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), _INSIDE, _AGENT)):
        if not path.is_relative_to("/usr"):
            yield from ("--ro-bind", str(path), str(path))
    for name in _ETC:
        yield from ("--ro-bind", str(etc / name), f"/etc/{name}")
    # /proc too: the agent of a plane that runs as root owns this machine's sysctls; writing them takes no capability
    yield from ("--chdir", WORK, "--remount-ro", "/", "--remount-ro", "/proc")


def _unusable(why: str) -> Unsuitable:
    return Unsuitable(
        "bwrap_unusable",
        f"bubblewrap makes no sandbox here: {why}",
        "User namespaces may be forbidden: `sysctl kernel.unprivileged_userns_clone` or AppArmor's profile of bwrap.",
    )
