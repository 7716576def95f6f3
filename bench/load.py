"""Many requests at a server, by wrk, and what they cost it: CPU of its whole process tree, the work it does after the
answers included."""

import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench import processes

SCRIPT = Path(__file__).with_name("post.lua")
SETTLES_S = 0.3
"""What a server writes down after it answered counts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where requests go, and the process whose tree is measured."""

    name: str
    url: str
    pid: int
    headers: tuple[str, ...] = ()
    seconds: int = 1
    """How many times longer than the others it is asked, because it answers so much less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one round. Times are milliseconds; CPU is of one request."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


def once(to: Server, body: bytes, proof: str) -> None:
    """One request, whose answer must have this in it, or RuntimeError. What a server loads late is there afterwards."""
    headers = dict(header.split(": ", 1) for header in (*to.headers, "content-type: application/json"))
    with urllib.request.urlopen(urllib.request.Request(to.url, body, headers), timeout=60) as answer:
        if proof not in (said := answer.read().decode()):
            raise RuntimeError(f"{to.name} answered {said[:500]}")


def post(to: Server, body: Path, *, connections: int, seconds: int) -> Run:
    """Closed loop for some seconds; RuntimeError when an answer was not a good one."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds * to.seconds}s", "--timeout", "30s", "-s", str(SCRIPT)]
    before = processes.cpu_s(to.pid)
    ran = subprocess.run([*command, to.url, "--", str(body), *to.headers], capture_output=True, text=True, check=False)
    time.sleep(SETTLES_S)
    cpu_s = processes.cpu_s(to.pid) - before
    figures = ran.stdout.rpartition("figures ")[2].split()
    if ran.returncode or len(figures) != 5:
        raise RuntimeError(f"wrk at {to.name}: {ran.stderr or ran.stdout}")
    requests, failed, duration_us, p50_us, p99_us = map(int, figures)
    if failed or not requests:
        raise RuntimeError(f"{to.name}: {failed} of {requests} requests failed")
    return Run(
        requests=requests,
        per_s=requests / duration_us * 1e6,
        p50_ms=p50_us / 1000,
        p99_ms=p99_us / 1000,
        cpu_ms=cpu_s * 1000 / requests,
    )
