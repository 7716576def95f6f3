"""`up --supervise`: a parent that only holds the listening sockets and starts the plane again when it dies.

For where no systemd does it. What kills the plane, also the kernel for want of memory, leaves the parent and its open
ports; what the plane says itself (a wrong setting, a dead engine, a stop that was asked for) ends both.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from types import FrameType

from kit.observe import log
from preloop.listen import opened
from preloop.settings import Settings

AGAIN_S = 1.0
"""Between a death and the next start."""
STOPS = (signal.SIGINT, signal.SIGTERM)
BROKE = 1
"""The exit code of an error that nobody foresaw."""


def hold(settings: Settings, given: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
    """The sockets to serve on. It returns in each child; the parent leaves with the last child's exit code."""
    server = settings.server
    ports = {
        "people": opened(given, "people", server.host, server.port),
        "containers": opened(given, "containers", server.container_host, server.container_port),
    }
    child, stopped = 0, False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if child:
            os.kill(child, number)

    before = {number: signal.signal(number, stop) for number in STOPS}
    while not stopped:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # none is lost between the fork and what follows it
        child = os.fork()
        if not child:
            for number in STOPS:
                signal.signal(number, before[number])
            os.setpgid(0, 0)  # Ctrl-C reaches it once, through the parent
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        if not child:
            return ports
        code, child = _ended(child), 0
        if not stopped:
            _judge(code)
    sys.exit(0)


def _ended(child: int) -> int:
    """Wait for it; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _judge(code: int) -> None:
    """Leave where another start would change nothing."""
    if code >= 0 and code != BROKE:
        sys.exit(code)
    log.error("the control plane died", code=code, again_s=AGAIN_S)
    time.sleep(AGAIN_S)
