"""Token mechanics: opaque secrets stored as hashes, and short-lived JWTs signed with Ed25519.

What a token means is `control/identity/principals`. Neighbours: `kit/secrets` seals what must be read back.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.errors import Unauthorized

ALGORITHM = "EdDSA"


def mint(prefix: str) -> tuple[str, str]:
    """A new opaque secret of 256 random bits: (the clear text, shown once; its hash, kept)."""
    clear = f"{prefix}_{secrets.token_urlsafe(32)}"
    return clear, digest(clear)


def digest(clear: str) -> str:
    """What is stored of an opaque secret: hex SHA-256. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(clear.encode()).hexdigest()


class Signer:
    """Holds a private key. Only the role that mints runtime tokens opens one."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.kid = hashlib.sha256(raw).hexdigest()[:16]
        self.public_pem = (
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    @classmethod
    def open(cls, path: Path) -> "Signer":
        """Read the key file, or make it (mode 0600) on the first start."""
        if path.exists():
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError(f"{path} holds no Ed25519 key")
            return cls(key)
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem)
        return cls(key)

    def sign(self, *, subject: str, audience: str, expires_at: datetime) -> str:
        """A JWT {kid | sub, aud, exp, iat}, RFC 7519 with RFC 8037's EdDSA."""
        claims = {"sub": subject, "aud": audience, "exp": expires_at, "iat": datetime.now(UTC)}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.kid})


def verify(token: str, *, key_of: Callable[[str], str | None], audience: str) -> Mapping[str, Any]:
    """The claims of a JWT we signed. `key_of(kid)` gives the public key as PEM; anything wrong is Unauthorized."""
    try:
        pem = key_of(str(jwt.get_unverified_header(token).get("kid", "")))
        if pem is None:
            raise Unauthorized("token_unknown_key", "The token was signed with a key that is not ours.")
        return jwt.decode(
            token, pem, algorithms=[ALGORITHM], audience=audience, options={"require": ["sub", "aud", "exp"]}
        )
    except jwt.PyJWTError as error:
        raise Unauthorized("token_invalid", f"The token is not valid: {error}.") from error


def write_private(path: Path, content: bytes) -> None:
    """Create a file that only its owner reads (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
