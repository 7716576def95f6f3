"""A file in a conversation: a PDF, as base64. Pure. Its readers are each wire's own."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

PDF = "application/pdf"


class Document(Struct, frozen=True, kw_only=True):
    """Never an address or the id of something stored. `beside` names what only its own wire can say of it."""

    data: str
    name: str | None = None
    cached: Mapping[str, Any] | None = None
    beside: tuple[str, ...] = ()
