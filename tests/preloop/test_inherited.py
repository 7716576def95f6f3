"""Sockets handed over as systemd does: taken by processes that were really started so, or refused with a reason."""

import configparser
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.errors import Unsuitable
from preloop.inherited import NAMES
from preloop.listen import opened
from preloop.settings import ServerSettings

ROOT = Path(__file__).parents[2]
HANDING = ROOT / "tests" / "fakes" / "handing.py"
UNITS = ROOT / "examples" / "systemd"
TAKES = """
import os, sys
from kit.errors import Fault
from preloop.inherited import take
try:
    given = take(os.environ, os.getpid())
except Fault as fault:
    sys.exit(f"{fault.code}: {fault.message} {fault.hint}")
print([(name, sock.getsockname()[1]) for name, sock in given.items()], flush=True)
"""
STARTS_A_CHILD = """
import subprocess
from preloop.settings import take_listen_variables
told = take_listen_variables()
child = "import os; print([os.path.exists(f'/dev/fd/{fd}') for fd in (3, 4)], [n for n in os.environ if 'LISTEN' in n])"
subprocess.run([sys.executable, "-c", child], close_fds=False, check=True)
"""


def started(fds: str, program: str = TAKES, **env: str) -> "subprocess.CompletedProcess[str]":
    """A process that takes what it is given; `fds` as in tests/fakes/handing.py, `env` set over what that says."""
    handing = [sys.executable, str(HANDING), fds] if fds else []
    numbers = tuple(int(word.partition("=")[2]) for word in fds.split(":")) if fds else ()
    command = [*handing, "env", *(f"{name}={value}" for name, value in env.items()), sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, pass_fds=numbers, capture_output=True, text=True, timeout=60)


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_both_sockets_are_taken_by_name_and_no_child_gets_them(port: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        given = [("containers", other.getsockname()[1]), ("people", port.getsockname()[1])]
        done = started(f"containers={other.fileno()}:people={port.fileno()}", TAKES + STARTS_A_CHILD)
    assert done.stdout == f"{given}\n[False, False] []\n", done.stderr


def test_one_socket_is_enough(port: socket.socket) -> None:
    assert started(f"people={port.fileno()}").stdout == f"[('people', {port.getsockname()[1]})]\n"


def test_without_listen_fds_nothing_is_taken() -> None:
    assert started("").stdout == "[]\n"


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"LISTEN_PID": "1"}, "LISTEN_PID is 1, but this is process"),
        ({"LISTEN_PID": ""}, "LISTEN_PID is , but this is process"),
        ({"LISTEN_FDS": "2"}, "LISTEN_FDS is 2 and LISTEN_FDNAMES is people."),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is -1"),
        ({"LISTEN_FDNAMES": "preloop.socket"}, "LISTEN_FDNAMES is preloop.socket."),
        ({"LISTEN_FDNAMES": ""}, "LISTEN_FDNAMES is not set."),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "people:people"}, "LISTEN_FDNAMES is people:people."),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "people:containers"}, "File descriptor 4 (containers) is no socket"),
    ],
)
def test_variables_that_do_not_fit_are_refused(port: socket.socket, env: dict[str, str], why: str) -> None:
    done = started(f"people={port.fileno()}", **env)
    assert done.returncode == 1 and done.stderr.startswith("sockets_unusable: ")
    assert why in done.stderr and "docs/service.md" in done.stderr


def test_only_listening_tcp_sockets_are_taken(tmp_path: Path) -> None:
    with (
        socket.socket() as silent,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as local,
        (tmp_path / "file").open("w") as file,
    ):
        local.bind(str(tmp_path / "socket"))
        local.listen()
        for wrong in (silent, datagrams, local):
            assert "(people) is not a listening TCP socket" in started(f"people={wrong.fileno()}").stderr
        assert "(people) is no socket" in started(f"people={file.fileno()}").stderr


@pytest.mark.parametrize("host", ["127.0.0.2", "0.0.0.0", "::", "::1"])
def test_a_socket_at_another_host_than_the_settings_say_is_refused(port: socket.socket, host: str) -> None:
    here = port.getsockname()[1]
    with pytest.raises(Unsuitable, match=rf"as people listens on 127.0.0.1:{here}, the settings say {host}:{here}"):
        opened({"people": port}, "people", host, here)


def test_a_socket_at_another_port_than_the_settings_say_is_refused(port: socket.socket) -> None:
    here = port.getsockname()[1]
    with pytest.raises(Unsuitable, match=r"the settings say 127\.0\.0\.1:1"):
        opened({"people": port}, "people", "127.0.0.1", 1)
    assert opened({"people": port}, "people", "localhost", here) is port
    assert opened({"people": port}, "people", "127.0.0.1", 0) is port


def test_the_units_we_ship_hand_over_what_the_settings_expect() -> None:
    server = ServerSettings()
    expected = {"people": f"{server.host}:{server.port}", "containers": f"127.0.0.1:{server.container_port}"}
    units = {path.name: _unit(path)["Socket"] for path in UNITS.glob("*.socket")}
    assert {unit["FileDescriptorName"]: unit["ListenStream"] for unit in units.values()} == expected
    assert tuple(expected) == NAMES
    service = _unit(UNITS / "preloop.service")
    assert set(service["Service"]["Sockets"].split()) == set(service["Unit"]["Requires"].split()) == set(units)
    assert {unit["Service"] for unit in units.values()} == {"preloop.service"}


def _unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser
