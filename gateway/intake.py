"""What a request brings: its token, the headers we read, its body; bounded, decoded, checked to be plain JSON.

The strictness is that of `kit/canonical`, at a tenth of its price: what goes upstream is written anew from the value
that was checked, so a key that stands twice can't mean two things.
"""

import re
import zlib
from typing import Any

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope

from gateway.wires.neutral import Json
from kit.asgi import refusal
from kit.canonical import FLATTER, MAX_DEPTH
from kit.errors import Fault, Invalid, Unauthorized

_BEARER = re.compile(rb"bearer +(\S+) *$", re.IGNORECASE)
_TOKENS = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key"})
_OURS = (b"anthropic-beta", b"anthropic-version")
_HOLDERS = frozenset({dict, list})
_DECODER = msgspec.json.Decoder()


class Head(Struct, frozen=True, kw_only=True):
    """The headers that mean something here. `named` are those a wire may look at."""

    tokens: tuple[bytes, ...]
    encoding: bytes
    named: dict[str, str]


def head(scope: Scope) -> Head:
    """Read once what is needed of the headers."""
    headers = dict(scope["headers"])
    tokens = [_token(name, value) for name, value in scope["headers"] if name in _TOKENS]
    named = {name.decode(): headers[name].decode("latin-1") for name in _OURS if name in headers}
    return Head(
        tokens=tuple(filter(None, tokens)), encoding=headers.get(b"content-encoding", b"identity").lower(), named=named
    )


def _token(name: bytes, value: bytes) -> bytes:
    if name != b"authorization":
        return value
    bearer = _BEARER.match(value)
    return bearer[1] if bearer else b""


def check_query(query: bytes) -> None:
    """Unauthorized for a token in the address."""
    if b"key=" in query and re.search(rb"(?:^|&)key=", query):
        raise Unauthorized(
            "token_in_address",
            "A token in the address ends up in logs; it is not taken from there.",
            "Send it in a header: Authorization: Bearer, x-api-key or x-goog-api-key.",
        )


def token(found: Head) -> str:
    """The session's token, from whichever header this client's SDK uses; one that is sent twice must be the same."""
    if not found.tokens:
        raise Unauthorized("token_missing", "There is no token.", "Send Authorization: Bearer, with PRELOOP_API_TOKEN.")
    if len(set(found.tokens)) > 1:
        raise Unauthorized("tokens_differ", "There are two tokens, and they differ.", "Send one.")
    return found.tokens[0].decode("latin-1")


async def body(receive: Receive, encoding: bytes, most: int) -> bytes:
    """The body's bytes, unpacked if they were packed; never more than `most`, packed or not."""
    if encoding not in (b"identity", b"gzip", b""):
        raise _unread(encoding)
    message = await receive()
    raw = message.get("body", b"")
    if message.get("more_body"):
        raw = await _rest(receive, raw, most)
    elif message["type"] == "http.disconnect":
        raise Invalid("body_cut", "The request's body did not arrive whole.")
    _check(len(raw), most)
    return _unpacked(raw, most) if encoding == b"gzip" else raw


def parsed(raw: bytes) -> Json:
    """A body that is one JSON object; Invalid for what readers of JSON disagree about."""
    try:
        value = _DECODER.decode(raw)
        _flat(value, MAX_DEPTH)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid("json_invalid", f"That is not JSON: {error}.", "Check quotes and commas.") from error
    except RecursionError as error:
        raise too_deep() from error
    if not isinstance(value, dict):
        raise Invalid("body_invalid", "The body is not a JSON object.")
    return value


def too_deep() -> Invalid:
    return Invalid("json_too_deep", f"The JSON is nested more than {MAX_DEPTH} levels deep.", FLATTER)


def _flat(value: Any, left: int) -> None:  # noqa: ANN401 - a JSON value
    """RecursionError when it is nested deeper than `left` levels. Level by level: a call for each costs twice that."""
    holders = [value] if type(value) in _HOLDERS else []
    while holders:
        if left < 0:
            raise RecursionError
        left -= 1
        holders = [
            item
            for holder in holders
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) in _HOLDERS
        ]


async def _rest(receive: Receive, first: bytes, most: int) -> bytes:
    pieces, size = [first], len(first)
    more = True
    while more:
        _check(size, most)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("body_cut", "The request's body did not arrive whole.")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = bool(message.get("more_body"))
    return b"".join(pieces)


def _unpacked(raw: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(raw, most + 1)
    except zlib.error as error:
        raise Invalid("body_invalid", "The body is not gzip, as its header says.") from error
    _check(len(found), most)
    if not unpacker.eof or unpacker.unused_data:
        raise Invalid("body_invalid", "The gzip body is cut off or has something behind it.")
    return found


def _check(size: int, most: int) -> None:
    if size > most:
        raise Invalid("body_too_large", f"The body has more than {most} bytes.", "Send less at once.")


def _unread(encoding: bytes) -> Fault:
    named = encoding.decode("latin-1")[:40]
    return refusal(415, "encoding_not_supported", f"A body packed as {named!r} is not read here.", "Use gzip, or none.")
