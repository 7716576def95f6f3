"""Prefixed ids that sort by time: `exe_01k…` = 48 bits of milliseconds, then 80 random bits, Crockford base 32."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`new_id('exe')` → 'exe_' and 26 characters, safe in URLs, file names and container names."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
