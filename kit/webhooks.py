"""Standard Webhooks (standardwebhooks.com), both ways: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

The signature is `v1,` and base64 of HMAC-SHA256 over "id.timestamp.body" with the bytes behind `whsec_`.
"""

import base64
import binascii
import hashlib
import hmac

from kit.errors import Invalid, Unauthorized

TOLERANCE_S = 300
"""How far a sender's clock may be from ours."""


def secret_bytes(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("webhook_secret_invalid", "A webhook secret is whsec_ and base64.") from error


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def verify(secret: str, *, message_id: str, timestamp: str, signature: str, body: bytes, now: float) -> None:
    """Unauthorized unless one of the space-separated signatures is ours and the time is near."""
    if (
        not (timestamp.isascii() and timestamp.isdecimal())
        or len(timestamp) > 12
        or abs(now - int(timestamp)) > TOLERANCE_S
    ):
        raise Unauthorized("webhook_time", "The webhook's timestamp is missing or too far from now.")
    expected = sign(secret, message_id=message_id, timestamp=int(timestamp), body=body)["webhook-signature"]
    if not any(hmac.compare_digest(expected.encode(), given.encode(errors="replace")) for given in signature.split()):
        raise Unauthorized("webhook_signature", "The webhook's signature is not ours.")
