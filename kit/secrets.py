"""Sealing what must be read back later (webhook secrets, stored credentials): Fernet, newest key first.

Opaque tokens are never sealed, only hashed (`kit/tokens`).
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from kit.errors import Fault
from kit.tokens import write_private


class Sealer:
    """Seals with the first key of the file and opens with any of them, so that keys rotate by adding a line on top."""

    def __init__(self, keys: list[bytes]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    @classmethod
    def fresh(cls) -> "Sealer":
        """One whose key nobody keeps."""
        return cls([Fernet.generate_key()])

    @classmethod
    def open(cls, path: Path) -> "Sealer":
        if not path.exists():
            write_private(path, Fernet.generate_key() + b"\n")
        return cls(path.read_bytes().split())

    def seal(self, clear: str) -> str:
        return self._fernet.encrypt(clear.encode()).decode()

    def unseal(self, sealed: str) -> str:
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise Fault(
                "seal_broken",
                "A stored secret can't be opened.",
                "Its key was replaced; put the old one back behind the new one, in keys/seal.key or server.seal_key.",
            ) from error
