"""The conversation of a Chat Completions request: messages, their parts, and the tool calls in them.

Pure. Every object has a list of the fields it may have; what clients echo of an answer (`reasoning_content`, `refusal`,
a call's `extra_content`) is on it. Thoughts are read next door in `chat_thoughts`.
"""

from collections.abc import Callable

from gateway.wires.chat_thoughts import THOUGHTS, thoughts
from gateway.wires.documents import Document
from gateway.wires.fields import objects, only, required, tool_name, typed, unsupported
from gateway.wires.neutral import Call, Image, Json, Message, Part, Result, Said, compact
from gateway.wires.openai import ROLES, document, image, mark, text_parts, texts
from gateway.wires.seals import maker, seal
from kit.errors import Invalid

_TALK = frozenset({"role", "content", "name", "cache_control"})
_FIELDS = {
    "system": _TALK,
    "user": _TALK,
    "tool": _TALK | {"tool_call_id"},
    "assistant": _TALK | {"tool_calls", "refusal", *THOUGHTS},
}
_PARTS = {
    "text": frozenset({"type", "text", "cache_control"}),
    "refusal": frozenset({"type", "refusal"}),
    "image_url": frozenset({"type", "image_url", "cache_control"}),
    "file": frozenset({"type", "file", "cache_control"}),
}
_IMAGE = frozenset({"url", "detail"})
_CALL = frozenset({"id", "type", "index", "extra_content"})
_FUNCTION = frozenset({"name", "arguments"})
_ECHOED = frozenset({"annotations", "provider_specific_fields", "parsed", "parsed_arguments"})
"""What answers have, or SDKs add to them (LiteLLM's, OpenAI's parsed forms), and clients echo: in no request."""
ANNOTATIONS = "messages.annotations"
_CUSTOM = frozenset({"name", "input"})


def message(item: Json, lost: set[str]) -> Message:
    """One message, checked to the bottom; `lost` takes the names of what no other dialect is told."""
    given = required(item, "role", str)
    role = ROLES.get(given)
    if role is None:
        raise Invalid("field_invalid", f"The role {given!r} is not known.", "`function` is now `tool`.")
    text = item.get("content")
    if len(item) == 2 and type(text) is str and role != "tool":  # a role and a text: most turns are no more
        return Message(role=role, parts=text_parts(text))  # type: ignore[arg-type]
    if item.get("annotations"):
        lost.add(ANNOTATIONS)
    _unecho(item)
    only(item, _FIELDS[role], f"in a message of the {given}")
    texts(item, "name", "refusal", "reasoning_content", "reasoning")
    if item.get("name") and role != "tool":
        lost.add("messages.name")
    parts = _content(item, given)
    if role == "tool":
        shown = tuple(part for part in parts if not isinstance(part, Document))
        result = Result(call_id=required(item, "tool_call_id", str), parts=shown, cached=mark(item))
        return Message(role="tool", parts=(result,))
    if role != "assistant":
        return Message(role=role, parts=parts)  # type: ignore[arg-type]
    return Message(role="assistant", parts=(*thoughts(item), *parts, *_refused(item), *map(_call, _calls(item))))


def _unecho(item: Json) -> None:
    if not _ECHOED.isdisjoint(item):
        for name in _ECHOED:
            item.pop(name, None)


def _refused(item: Json) -> tuple[Part, ...]:
    return text_parts(item.get("refusal") or "")


def _content(item: Json, role: str) -> tuple[Said | Image | Document, ...]:
    """Text or parts; a marker on the message stands for one on its last part. Files are a user's alone."""
    content = typed(item, "content", str, list)
    if isinstance(content, list):
        if role != "user" and any(part.get("type") == "file" for part in objects(item, "content")):
            raise unsupported(f"A file in a message of the {role}")
        return tuple(_part(part) for part in objects(item, "content"))
    return (Said(text=content, cached=mark(item)),) if content else ()


def _part(part: Json) -> Said | Image | Document:
    name = required(part, "type", str)
    if name not in _PARTS:
        raise unsupported(f"The content part {name!r}")
    only(part, _PARTS[name], f"in a part of type {name!r}")
    if name == "image_url":
        shown = required(part, "image_url", dict)
        only(shown, _IMAGE, "in an `image_url`")
        return image(required(shown, "url", str), typed(shown, "detail", str), mark(part))
    if name == "file":
        return document(required(part, "file", dict), "in a `file`", cached=mark(part))
    return Said(text=required(part, name, str), cached=mark(part))


def _calls(item: Json) -> list[Json]:
    return objects(item, "tool_calls")


def _call(item: Json) -> Call:
    """A call of a function, or of a custom tool, whose free text is one argument everywhere else."""
    kind = typed(item, "type", str) or "function"
    read = _CALLS.get(kind)
    if read is None:
        raise unsupported(f"A tool call of type {kind!r}")
    _unecho(item)
    only(item, _CALL | {kind}, "in a tool call")
    typed(item, "index", int)
    name, arguments = read(required(item, kind, dict))
    return Call(id=required(item, "id", str), name=name, arguments=arguments, seal=_seal(item))


def _function(item: Json) -> tuple[str, str]:
    _unecho(item)
    only(item, _FUNCTION, "in a call's `function`")
    return tool_name(item), typed(item, "arguments", str) or "{}"


def _custom(item: Json) -> tuple[str, str]:
    only(item, _CUSTOM, "in a call's `custom`")
    return tool_name(item), compact({"input": typed(item, "input", str) or ""})


_CALLS: dict[str, Callable[[Json], tuple[str, str]]] = {"function": _function, "custom": _custom}


def _seal(item: Json) -> str | None:
    """The signature of a call, where Google's OpenAI-compatible clients keep it."""
    extra = typed(item, "extra_content", dict)
    if extra is None:
        return None
    only(extra, frozenset({"google"}), "in `extra_content`")
    google = typed(extra, "google", dict) or {}
    only(google, frozenset({"thought_signature"}), "in `extra_content`")
    signature: str | None = typed(google, "thought_signature", str)
    return signature if signature is None or maker(signature) else seal("chat", signature)
