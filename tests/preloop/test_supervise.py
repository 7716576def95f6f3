"""`up --supervise`, as a process: the plane may die, its ports stay open, and what it says itself is final."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_S = 60


@contextmanager
def supervised(data: Path, port: int = 0) -> Iterator["subprocess.Popen[str]"]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PRELOOP_")}
    env |= {"PRELOOP_SERVER__CONTAINER_PORT": "0", "PRELOOP_RUNNER__ENGINE": "process"}
    command = [sys.executable, "-m", "preloop", "up", "--supervise", "--data", str(data), "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as parent:
        try:
            yield parent
        finally:
            if parent.poll() is None:
                parent.terminate()


def listens(parent: "subprocess.Popen[str]") -> str:
    """Where it listens, as it says itself; an AssertionError with its words when it ends before."""
    assert parent.stdout
    said = []
    for line in parent.stdout:
        said.append(line)
        if "Preloop listens on" in line:
            return line.split()[-1]
    raise AssertionError("".join(said))


def plane(data: Path) -> int:
    pid: int = json.loads((data / "plane.json").read_text())["pid"]
    return pid


def test_a_plane_that_is_killed_is_started_again_and_answers_who_came_meanwhile(tmp_path: Path) -> None:
    with supervised(tmp_path / "data") as parent:
        url = listens(parent)
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        first = plane(tmp_path / "data")
        assert first != parent.pid
        os.kill(first, signal.SIGKILL)
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=START_S).status_code == 200
        assert listens(parent) == url
        assert plane(tmp_path / "data") not in (first, parent.pid)


def test_a_stop_ends_both(tmp_path: Path) -> None:
    with supervised(tmp_path / "data") as parent:
        host, port = listens(parent).removeprefix("http://").split(":")
        parent.terminate()
        assert parent.wait(START_S) == 0
        assert not (tmp_path / "data" / "plane.json").exists()
        with socket.socket() as client:
            assert client.connect_ex((host, int(port))) != 0


def test_what_the_plane_says_itself_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    with supervised(tmp_path / "data") as parent:
        assert parent.wait(START_S) == 5
        assert parent.stdout and parent.stdout.read().count("Error") == 1


def test_a_port_that_is_taken_is_an_error_and_no_loop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, supervised(tmp_path / "data", taken.getsockname()[1]) as it:
        assert it.wait(START_S) == 5
