"""Listening sockets that somebody opened before us and hands over in systemd's manner, sd_listen_fds(3).

Who holds them keeps our ports open while we are down: an agent's connection waits in the backlog instead of being
refused. What is handed over wrongly is refused here; what to listen on is said in `preloop/settings`, as without.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from kit.errors import Unsuitable

FIRST_FD = 3
NAMES = ("people", "containers")
"""What `LISTEN_FDNAMES` may say: the two listeners."""
MANUAL = "docs/service.md shows the units; to do without, unset LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES."


def take(told: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets by their names, from the variables `LISTEN_…`; none if no `LISTEN_FDS` is set.

    Raises Unsuitable when they are not for process `pid`, not two distinct names of ours, or no listening TCP sockets.
    """
    if "LISTEN_FDS" not in told:
        return {}
    if told.get("LISTEN_PID") != str(pid):
        raise _wrong(
            f"LISTEN_PID is {told.get('LISTEN_PID', 'not set')}, but this is process {pid}.",
            "Let the supervisor start Preloop itself, without a shell between that stays. ",
        )
    count = told["LISTEN_FDS"]
    names = told.get("LISTEN_FDNAMES", "").split(":")
    if not count.isdecimal() or int(count) != len(names) or set(names) - set(NAMES) or len(set(names)) != len(names):
        raise _wrong(
            f"LISTEN_FDS is {count} and LISTEN_FDNAMES is {':'.join(names) or 'not set'}.",
            "Each socket has a name of its own, people or containers (FileDescriptorName= of its unit). ",
        )
    return {name: _listening(fd, name) for fd, name in enumerate(names, FIRST_FD)}


def stands_at(sock: socket.socket, host: str, port: int) -> bool:
    """Is it bound to that address of the settings? Port 0 is any."""
    here = sock.getsockname()
    with contextlib.suppress(socket.gaierror):  # no such address in the socket's family
        found = socket.getaddrinfo(host, None, sock.family, socket.SOCK_STREAM)
        return port in (0, here[1]) and any(here[0] == address[0] for *_, address in found)
    return False


def _listening(fd: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)  # what we start must not hold our ports
        sock = socket.socket(fileno=fd)
        kind = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
        listens = kind and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _wrong(f"File descriptor {fd} ({name}) is no socket: {error.strerror}.") from error
    if not listens:
        sock.detach()
        raise _wrong(f"File descriptor {fd} ({name}) is not a listening TCP socket.", "Its unit needs ListenStream=. ")
    sock.setblocking(False)
    return sock


def _wrong(message: str, hint: str = "") -> Unsuitable:
    return Unsuitable("sockets_unusable", f"The sockets handed over can't be used: {message}", hint + MANUAL)
