"""The Anthropic Messages wire: the conversation of a request, block by block, with an allowlist for each.

Pure. Every block is checked to its bottom, also those that only a provider of this dialect can read. A signature is
sealed here, so that it reaches no other provider; the seals of others come back from the client as they are.
"""

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from gateway.wires import seals
from gateway.wires.documents import PDF, Document
from gateway.wires.fields import objects, only, required, tool_name, typed, unsupported
from gateway.wires.neutral import Call, Image, Json, Message, Part, Result, Said, Thought, compact
from gateway.wires.openai import base64_of
from kit.errors import Invalid

DIALECT = "messages"
REDACTED = "redacted:"
"""Before the ciphertext in the seal of a thought without text: a wire in between can't tell it from a signature."""
CITED = frozenset(["type", "cited_text", "url", "title", "encrypted_index"])
FOUND = frozenset(["type", "url", "title", "encrypted_content", "page_age"])
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class Native(NamedTuple):
    """A block that means something to a provider of this dialect only."""

    kind: str


Block = Part | Native


def turns(body: Json) -> tuple[tuple[Message, ...], set[str]]:
    """System text and messages in order, and the names of what only this dialect can carry."""
    found: list[Message] = []
    foreign: set[str] = set()
    if body.get("system") is not None:
        found += _messages("system", blocks(body, "system", {"text"}), foreign)
        foreign |= _beside(body["system"])
    required(body, "messages", list)
    for item in objects(body, "messages"):
        only(item, frozenset(["role", "content"]))
        role = required(item, "role", str)
        if role not in _ALLOWED:
            raise Invalid("field_invalid", f"The role {role!r} is not known.", "Send user, assistant or system.")
        required(item, "content", str, list)
        found += _messages(role, blocks(item, "content", _ALLOWED[role]), foreign)
        foreign |= _beside(item["content"])
    return tuple(found), foreign


def blocks(item: Json, name: str, allowed: set[str]) -> list[Block]:
    """A field that is text or a list of blocks."""
    if isinstance(value := typed(item, name, str, list), str):
        return [Said(text=value)] if value else []
    found = []
    for block in objects({name: value}, name):
        kind = required(block, "type", str)
        if kind not in allowed:
            raise unsupported(f"A content block {kind!r} in this place")
        found.append(_READ[kind](block))
    return found


def _beside(content: str | list[Json]) -> set[str]:
    """The names of what blocks say that a neutral part has no room for."""
    if isinstance(content, str):
        return set()
    found = set()
    for block in content:
        if block["type"] == "text" and block.get("citations"):
            found.add("citations")
        elif block["type"] == "tool_use" and block.get("cache_control"):
            found.add("cache_control")
        elif block["type"] == "tool_result":
            found |= _beside(block.get("content") or "")
    return found


def marker(item: Json) -> Json | None:
    """A cache marker, checked."""
    value: Json | None = typed(item, "cache_control", dict)
    if value is not None:
        only(value, frozenset(["type", "ttl"]))
        if value.get("type") != "ephemeral" or value.get("ttl") not in (None, "5m", "1h"):
            raise Invalid("field_invalid", "The field `cache_control` is not a cache marker of 5m or 1h.")
    return value


def _messages(role: str, found: list[Block], foreign: set[str]) -> list[Message]:
    """A turn of this wire holds tool results among the user's words; elsewhere each is a message of its own."""
    foreign |= {block.kind for block in found if isinstance(block, Native)}
    parts = _attached([block for block in found if not isinstance(block, Native)])
    made = []
    for is_result, group in groupby(parts, key=lambda part: isinstance(part, Result)):
        turn = tuple(group)
        if is_result:
            made += [Message(role="tool", parts=(part,)) for part in turn]
        else:
            made.append(Message(role=role, parts=turn))  # type: ignore[arg-type]
    return made


def _attached(parts: list[Part]) -> list[Part]:
    """A seal that stands alone before a call, put there by our own answer, belongs to the call (Gemini's do)."""
    found: list[Part] = []
    for part in parts:
        before = found[-1] if found else None
        if isinstance(part, Call) and isinstance(before, Thought) and _of_a_call(before):
            found[-1] = replace(part, seal=before.seal)
        else:
            found.append(part)
    return found


def _of_a_call(thought: Thought) -> bool:
    return thought.redacted and seals.maker(thought.seal) not in (None, DIALECT)


def _said(block: Json) -> Said:
    only(block, frozenset(["type", "text", "cache_control", "citations"]))
    for cited in objects(block, "citations"):
        only(cited, CITED)
    return Said(text=required(block, "text", str), cached=marker(block))


def _image(block: Json) -> Image:
    only(block, frozenset(["type", "source", "cache_control"]))
    source = required(block, "source", dict)
    kind = required(source, "type", str)
    if kind == "url":
        only(source, frozenset(["type", "url"]))
        url = required(source, "url", str)
        if not url.startswith("https://"):
            raise Invalid("field_invalid", "A picture's `url` must begin with https://.", "Send it as base64.")
        return Image(url=url, cached=marker(block))
    if kind != "base64":
        raise unsupported(f"A picture by {kind!r}")
    only(source, frozenset(["type", "media_type", "data"]))
    media_type = required(source, "media_type", str)
    if media_type not in PICTURES:
        raise Invalid("field_invalid", f"A picture can't be {media_type!r}.", f"Send one of {', '.join(PICTURES)}.")
    return Image(media_type=media_type, data=required(source, "data", str), cached=marker(block))


def _document(block: Json) -> Document:
    """A PDF as base64. What is said beside it, and citations of it, are Anthropic's alone."""
    only(block, frozenset(["type", "source", "title", "context", "citations", "cache_control"]))
    source = required(block, "source", dict)
    if required(source, "type", str) != "base64" or source.get("media_type") != PDF:
        raise unsupported("A document that is not a PDF as base64")
    only(source, frozenset(["type", "media_type", "data"]))
    for name in ("title", "context"):
        typed(block, name, str)
    if (cited := typed(block, "citations", dict)) is not None:
        only(cited, frozenset(["enabled"]))
        typed(cited, "enabled", bool)
    beside = tuple(name for name in ("citations", "context") if block.get(name))
    data = base64_of(required(source, "data", str))
    return Document(data=data, name=block.get("title"), cached=marker(block), beside=beside)


def _thinking(block: Json) -> Thought:
    only(block, frozenset(["type", "thinking", "signature"]))
    text = required(block, "thinking", str)
    return Thought(text=text, seal=_sealed(typed(block, "signature", str) or ""))


def _redacted(block: Json) -> Thought:
    only(block, frozenset(["type", "data"]))
    return Thought(seal=_sealed(required(block, "data", str), REDACTED), redacted=True)


def _sealed(own: str, mark: str = "") -> str | None:
    if seals.maker(own):
        return own
    return seals.seal(DIALECT, mark + own) if own else None


def native(text: str, sealed: str | None, maker: str = DIALECT) -> Json | None:
    """A thought as Anthropic's own block; None when its maker is another."""
    own = seals.unseal(maker, sealed)
    if not own:
        return None
    if own.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": own.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": text, "signature": own}


def _call(block: Json) -> Call:
    _checked_call(block)
    arguments = compact(required(block, "input", dict))
    return Call(id=required(block, "id", str), name=tool_name(block), arguments=arguments)


def _checked_call(block: Json) -> None:
    only(block, frozenset(["type", "id", "name", "input", "cache_control", "caller"]))
    marker(block)
    _check_caller(block)


def _check_caller(block: Json) -> None:
    if (caller := typed(block, "caller", dict)) is not None:
        only(caller, frozenset(["type"]))
        if caller.get("type") != "direct":
            raise unsupported(f"A call by {caller.get('type')!r}")


def _result(block: Json) -> Result:
    only(block, frozenset(["type", "tool_use_id", "content", "is_error", "cache_control"]))
    parts = blocks(block, "content", {"text", "image"})
    return Result(
        call_id=required(block, "tool_use_id", str),
        parts=tuple(part for part in parts if isinstance(part, Said | Image)),
        failed=bool(typed(block, "is_error", bool)),
        cached=marker(block),
    )


def _server_call(block: Json) -> Native:
    _checked_call(block)
    return Native(required(block, "type", str))


def _searched(block: Json) -> Native:
    only(block, frozenset(["type", "tool_use_id", "content", "cache_control", "caller"]))
    marker(block)
    _check_caller(block)
    content = required(block, "content", list, dict)
    if isinstance(content, dict):
        only(content, frozenset(["type", "error_code"]))
    else:
        for item in objects(block, "content"):
            only(item, FOUND)
    return Native(required(block, "type", str))


_READ: dict[str, Callable[[Json], Block]] = {
    "text": _said,
    "image": _image,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _call,
    "tool_result": _result,
    "server_tool_use": _server_call,
    "web_search_tool_result": _searched,
}
_ALLOWED = {
    "system": {"text"},
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {
        "text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result",
    },
}  # fmt: skip
