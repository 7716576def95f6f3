"""Ports for programs that bind them later, or again after a kill.

Below the range from which systems take ports for outgoing connections and for port 0: one from there may be somebody
else's by then, who answers in the program's place.
"""

import random
import socket

_RANGE = range(12_000, 32_000)
_random = random.SystemRandom()  # what a test seeds must not lead two of them to the same port


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody listens on now."""
    while True:
        port = _random.choice(_RANGE)
        with socket.socket() as sock:
            try:
                sock.bind((host, port))
            except OSError:
                continue
            return port
