"""What only the provider that made it can read: signatures and ciphertext of its thoughts, carried by other wires.

Pure. A seal is `preloop.<dialect>.<base64url>`; it goes back to a provider of the dialect that made it and is dropped
for every other. A client keeps it wherever its wire has room for an opaque text.
"""

import base64
import binascii
import re

_SEAL = re.compile(r"preloop\.([a-z]+)\.([A-Za-z0-9_-]*)", re.ASCII)


def seal(dialect: str, value: str) -> str:
    """Wrap a provider's own text."""
    return f"preloop.{dialect}.{base64.urlsafe_b64encode(value.encode()).decode().rstrip('=')}"


def maker(sealed: str | None) -> str | None:
    """The dialect that made it; None when it is no seal of ours."""
    found = _SEAL.fullmatch(sealed or "")
    return found[1] if found else None


def unseal(dialect: str, sealed: str | None) -> str | None:
    """The provider's own text if that dialect made it; None for any other, and for what we never sealed."""
    found = _SEAL.fullmatch(sealed or "")
    if found is None or found[1] != dialect:
        return None
    try:
        return base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
