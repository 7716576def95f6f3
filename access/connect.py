"""The head of a CONNECT request (RFC 9110 §9.3.6), read strictly, and whether a charter lets it through. Pure.

What any reader could understand in two ways is refused: bare line breaks, folded lines, a body, two credentials.
"""

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass

from control.identity.charter import Charter
from kit.errors import Invalid, Refused, Unauthorized

METHOD = b"CONNECT "
MOST = 16 * 1024
"""Bytes of a head."""
TLS = 443
_REQUEST = re.compile(rb"CONNECT ([A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):([0-9]{1,5}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`host` in small letters; `token` is '' when there is none."""

    host: str
    port: int
    token: str


def read(head: bytes) -> Asked:
    """A head up to and with its empty line; Invalid for anything that is not exactly one CONNECT."""
    if len(head) > MOST or not head.endswith(b"\r\n\r\n"):
        raise Invalid("connect_invalid", f"The request has no head of at most {MOST} bytes.")
    first, *lines = head[:-4].split(b"\r\n")
    found = _REQUEST.fullmatch(first)
    if not found or not 0 < int(found[2]) < 65536 or b".." in found[1]:
        raise Invalid("connect_invalid", "That is not CONNECT to a host's name and a port.", "Addresses are not taken.")
    headers = [_header(line) for line in lines]
    if any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers):
        raise Invalid("connect_invalid", "A CONNECT has no body.")
    credentials = [value for name, value in headers if name == b"proxy-authorization"]
    if len(credentials) > 1:
        raise Invalid("connect_invalid", "There are two credentials.", "Send one.")
    token = _basic(credentials[0]) if credentials else ""
    return Asked(host=found[1].decode().lower(), port=int(found[2]), token=token)


def _header(line: bytes) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(line)
    if not found:
        raise Invalid("connect_invalid", "A header line can't be read.")
    return found[1].lower(), found[2]


def _basic(value: bytes) -> str:
    """The password of Basic credentials (RFC 7617); any user name will do."""
    scheme, _, encoded = value.partition(b" ")
    try:
        _, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = password = ""
    if scheme.lower() != b"basic" or not colon:
        raise Unauthorized(
            "proxy_credentials", "The proxy's credentials are not Basic ones.", "The token is the password."
        )
    return password


def check(charter: Charter, asked: Asked, wildcards: Collection[str]) -> None:
    """Refused for what the flow does not list. Wildcards count while an admin still allows them."""
    if charter.egress == "open" or any(_fits(site, asked, wildcards) for site in charter.egress):
        return
    where = asked.host if asked.port == TLS else f"{asked.host}:{asked.port}"
    raise Refused("egress_not_listed", f"This flow does not list {where}.", f"Add it to the flow's `egress`: {where}.")


def _fits(site: str, asked: Asked, wildcards: Collection[str]) -> bool:
    name, _, port = site.partition(":")
    if asked.port != int(port or TLS):
        return False
    if name.startswith("*."):
        return name in wildcards and asked.host.endswith(name[1:])
    return asked.host == name
