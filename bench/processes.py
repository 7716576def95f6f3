"""Servers that are measured, as processes of their own: started, told apart, asked once, weighed, stopped."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
PEERS = Path(os.environ.get("BENCH_PEERS", "/tmp/preloop-peers"))
START_S = 120.0


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and everything below it so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(sum(map(int, fields[11:15])) for fields in map(_stat, _tree(pid))) / ticks


def rss_mb(pid: int) -> float:
    pages = sum(int(fields[21]) for fields in map(_stat, _tree(pid)))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _stat(pid: int) -> list[str]:
    """The fields after the name: [0] is the state, field 3 of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that ended meanwhile
                found += map(int, (task / "children").read_text().split())
    return found


@contextmanager
def running(
    command: list[str], env: dict[str, str] | None = None, at: Path = ROOT
) -> Iterator["subprocess.Popen[str]"]:
    with ExitStack() as stack:
        quiet = subprocess.DEVNULL
        server = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, env=env, cwd=at, text=True)
        )
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def told(server: "subprocess.Popen[str]", pattern: str) -> str:
    assert server.stdout
    for line in server.stdout:
        if found := re.search(pattern, line):
            threading.Thread(target=deque, args=(server.stdout, 0), daemon=True).start()  # a full pipe would stop it
            return found[found.re.groups]
    raise RuntimeError(f"{server.args!r} ended before it listened")


def eventually(path: Path) -> str:
    until = time.monotonic() + START_S
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.1)
    return path.read_text()


def wait_for(url: str) -> None:
    """Until something answers there, whatever it says."""
    until = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def rest(method: str, url: str, token: str, body: object = None, kind: str = "application/json") -> Any:  # noqa: ANN401
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    headers = {"authorization": f"Bearer {token}", "content-type": kind}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")
