"""A host that is not this one: a network namespace behind a cable, with a web server, a cloud's metadata address and a
resolver that tell who came. And an ear on every interface of this host, for a question that was to stay inside.

One at a time on a machine, as the metadata address is one.
"""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

SERVER = Path(__file__).with_name("outside_server.py")
HERE, THERE, METADATA = "198.51.100.1", "198.51.100.2", "169.254.169.254"
PORTS = (53, 80, 443)
_NAME = "preloop-outside"
_CABLE = ("preloop-out0", "preloop-out1")
_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL


@dataclass
class Outside:
    """`addresses` are those of the other host; `came` is what it heard."""

    addresses: tuple[str, ...] = (THERE, METADATA)
    ports: tuple[int, ...] = PORTS
    came: list[str] = field(default_factory=list)


@contextmanager
def outside() -> Iterator[Outside]:
    with (Path(tempfile.gettempdir()) / f"{_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _take_down()
        _set_up()
        command = ["ip", "netns", "exec", _NAME, sys.executable, str(SERVER), f"{THERE},{METADATA}", *map(str, PORTS)]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout
                assert server.stdout.readline() == "ready\n"
                found = Outside()
                listening = Thread(target=lambda: found.came.extend(map(str.strip, server.stdout or ())))
                listening.start()
                try:
                    yield found
                finally:
                    server.kill()
                    listening.join()
        finally:
            _take_down()


def _set_up() -> None:
    here, there = _CABLE
    for line in (
        f"netns add {_NAME}",
        f"link add {here} type veth peer name {there} netns {_NAME}",
        f"addr add {HERE}/30 dev {here}",
        f"link set {here} up",
        f"-n {_NAME} addr add {THERE}/30 dev {there}",
        f"-n {_NAME} addr add {METADATA}/32 dev lo",
        f"-n {_NAME} link set {there} up",
        f"-n {_NAME} link set lo up",
        f"-n {_NAME} route add default via {HERE}",
        f"route add {METADATA}/32 via {THERE}",
    ):
        subprocess.run(["ip", *line.split()], check=True)


def _take_down() -> None:
    for line in (f"link del {_CABLE[0]}", f"netns del {_NAME}"):
        subprocess.run(["ip", *line.split()], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def overheard(word: bytes) -> Iterator[list[str]]:
    """The interfaces of this host on which packets with these bytes were seen."""
    seen: list[str] = []
    enough = b"enough heard of it" + os.urandom(8)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)

        def listen() -> None:
            while enough not in (heard := ear.recvfrom(1 << 16))[0]:
                if word in heard[0]:
                    seen.append(heard[1][0])

        listening = Thread(target=listen)
        listening.start()
        try:
            yield seen
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
                mouth.sendto(enough, ("127.0.0.1", 9))
            listening.join()
