"""Money is a whole number of nano-dollars: parsed from and printed as decimal text, never a float.

Pure. A division rounds up, once per ledger entry, so that nothing is ever billed below its price.
"""

import re

from kit.errors import Invalid

NANO = 10**9
"""Nano-dollars in a dollar."""
MILLION = 10**6
_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse(text: str) -> int:
    """'2.00' → 2_000_000_000. At most nine digits before and nine after the point, no sign, no exponent."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise Invalid("amount_invalid", f"{text!r} is not an amount of dollars.", "Write it like '2.00'.")
    return int(found[1]) * NANO + int((found[2] or "").ljust(9, "0"))


def usd(nano: int) -> str:
    """2_000_000_000 → '2.00': every digit that counts, and at least two after the point."""
    whole, part = divmod(abs(nano), NANO)
    digits = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{digits}"


def per_million(tokens: int, nano_per_million: int) -> int:
    """Numerator of a price: still to be divided by a million, so that a sum is rounded only once."""
    return tokens * nano_per_million


def round_up(millionths: int) -> int:
    """Millionths of a nano-dollar → whole nano-dollars."""
    return -(-millionths // MILLION)
