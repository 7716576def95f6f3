"""Prefixed ids that sort by time: `exe_01k…` = 48 bits of milliseconds, then 80 random bits, Crockford base 32."""

import os
import time
from datetime import datetime
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHIFTS = range(45, -1, -5)
_OF_BYTES = (_ALPHABET * 8).encode()
"""A character for each byte, all equally often: five bits of it count."""


def new_id(prefix: str) -> str:
    """`new_id('exe')` → 'exe_' and 26 characters, safe in URLs, file names and container names."""
    return f"{prefix}_{_moment(time.time_ns() // 1_000_000)}{os.urandom(16).translate(_OF_BYTES).decode()}"


def earliest(prefix: str, moment: datetime) -> str:
    """What sorts before every id of this prefix that was made from a moment on, and after all before it."""
    return f"{prefix}_{_moment(int(moment.timestamp() * 1000))}"


@lru_cache(16)
def _moment(ms: int) -> str:
    return "".join([_ALPHABET[ms >> shift & 31] for shift in _SHIFTS])
