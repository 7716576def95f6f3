"""The conversation of a Responses request: its input items, each with the fields it may have, as messages.

Pure. Codex's items are known: calls with a namespace, custom calls, its own tool search, tools that come in the middle
of the conversation. An item that stands for something on the server is refused: nothing is stored here.
"""

from collections.abc import Callable
from itertools import groupby

from gateway.wires.documents import Document
from gateway.wires.fields import objects, only, required, tool_name, typed, unsupported, words
from gateway.wires.neutral import Call, Image, Json, Message, Part, Result, Said, Thought, Tool, compact
from gateway.wires.openai import ROLES, document, image, text_parts, texts
from gateway.wires.responses_tools import flat, tools_of
from gateway.wires.seals import maker, seal
from kit.errors import Invalid

_ID = frozenset({"type", "id", "status"})
_FIELDS = {
    "message": _ID | {"role", "content", "phase"},
    "reasoning": _ID | {"summary", "content", "encrypted_content"},
    "function_call": _ID | {"call_id", "name", "namespace", "arguments"},
    "custom_tool_call": _ID | {"call_id", "name", "namespace", "input"},
    "function_call_output": _ID | {"call_id", "output"},
    "custom_tool_call_output": _ID | {"call_id", "output", "name"},
    "tool_search_call": _ID | {"call_id", "execution", "arguments"},
    "tool_search_output": _ID | {"call_id", "execution", "tools"},
    "additional_tools": _ID | {"role", "tools"},
    "web_search_call": _ID | {"action"},
}
_PARTS = {
    "input_text": frozenset({"type", "text"}),
    "output_text": frozenset({"type", "text", "annotations", "logprobs"}),
    "text": frozenset({"type", "text"}),
    "refusal": frozenset({"type", "refusal"}),
    "input_image": frozenset({"type", "image_url", "detail"}),
    "input_file": frozenset({"type", "filename", "file_data"}),
    "summary_text": frozenset({"type", "text"}),
    "reasoning_text": frozenset({"type", "text"}),
}
_SAID = ("input_text", "output_text", "text", "refusal", "input_image")
ECHOED = ("annotations", "logprobs")
_ASKED = (*_SAID, "input_file")
_THOUGHT = ("summary_text", "reasoning_text", "text")
_SEARCHED = frozenset({"type", "query", "queries", "url", "pattern", "sources"})
_SEALS_OF_CALLS = ("gemini", "chat")
"""Dialects that sign calls, and never have a thought without a word."""


class Conversation:
    """Reads items one by one; what they say is in `messages`, what they bring along in `tools`, `dropped`."""

    def __init__(self) -> None:
        self.tools: list[Tool] = []
        self.dropped: set[str] = set()
        self._found: list[Message] = []
        self._sealed: str | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Text, thoughts and calls of one assistant's turn are separate items here and one message everywhere else."""
        found: list[Message] = []
        for role, group in groupby(self._found, key=lambda message: message.role):
            turn = list(group)
            if role == "assistant":
                turn = [Message(role="assistant", parts=tuple(part for message in turn for part in message.parts))]
            found += turn
        return tuple(found)

    def read(self, item: Json) -> None:
        """One item, checked to the bottom."""
        kind = typed(item, "type", str) or "message"
        if kind not in _FIELDS:
            raise unsupported(f"An input item of type {kind!r}")
        only(item, _FIELDS[kind], f"in an item of type {kind!r}")
        texts(item, "id", "status", "phase", "name", "namespace")
        _READERS[kind](self, item)
        if kind not in ("reasoning", *_CALLS):
            self._sealed = None

    def add(self, role: str, *parts: Part) -> None:
        if parts:
            self._found.append(Message(role=role, parts=parts))  # type: ignore[arg-type]

    def message(self, item: Json) -> None:
        given = required(item, "role", str)
        role = ROLES.get(given)
        if role is None or role == "tool":
            raise Invalid("field_invalid", f"The role {given!r} is not known.")
        self.dropped |= _echoed(item)
        if item.get("phase"):
            self.dropped.add("input.phase")
        self.add(role, *_content(item, "content", _ASKED if role == "user" else _SAID))

    def reasoning(self, item: Json) -> None:
        """A thought. One without words by a dialect that signs calls is the signature of the call behind it."""
        thought = "\n\n".join(
            part.text
            for name in ("summary", "content")
            for part in _content(item, name, _THOUGHT)
            if isinstance(part, Said)
        )
        sealed = typed(item, "encrypted_content", str) or None
        if sealed and maker(sealed) is None:
            sealed = seal("responses", sealed)
        if not thought and maker(sealed) in _SEALS_OF_CALLS:
            self._sealed = sealed
        elif thought or sealed:
            self.add("assistant", Thought(text=thought, seal=sealed, redacted=not thought))

    def call(self, item: Json) -> None:
        namespace = tool_name(item, "namespace") if item.get("namespace") else None
        name = flat(namespace, tool_name(item))
        if item["type"] == "custom_tool_call":
            arguments = compact({"input": typed(item, "input", str) or ""})
        else:
            arguments = typed(item, "arguments", str) or "{}"
        self.add(
            "assistant", Call(id=required(item, "call_id", str), name=name, arguments=arguments, seal=self._sealed)
        )
        self._sealed = None

    def result(self, item: Json) -> None:
        said = _content(item, "output", _SAID)
        shown = tuple(part for part in said if not isinstance(part, Document))
        self.add("tool", Result(call_id=required(item, "call_id", str), parts=shown))

    def search(self, item: Json) -> None:
        """A search among tools that the client does itself. What it found is offered; the search has no translation."""
        texts(item, "call_id", "execution")
        arguments = typed(item, "arguments", dict, str)
        if isinstance(arguments, dict):
            only(arguments, frozenset({"query", "limit"}), "in a tool search")
            texts(arguments, "query")
            typed(arguments, "limit", int)
        self.dropped.add("input.tool_search")
        self._bring(item)

    def more_tools(self, item: Json) -> None:
        texts(item, "role")
        self._bring(item)

    def web_search(self, item: Json) -> None:
        action = typed(item, "action", dict) or {}
        only(action, _SEARCHED, "in a web search's `action`")
        texts(action, "type", "query", "url", "pattern")
        words(action, "queries")
        for source in objects(action, "sources"):
            only(source, frozenset({"type", "url"}), "in a web search's `sources`")
            texts(source, "type", "url")
        self.dropped.add("input.web_search_call")

    def _bring(self, item: Json) -> None:
        tools, hosted, dropped = tools_of(objects(item, "tools"))
        if hosted:
            raise unsupported(f"The provider's tool {hosted[0]!r} inside the conversation")
        self.tools += tools
        self.dropped |= dropped


_CALLS = ("function_call", "custom_tool_call")
_READERS: dict[str, Callable[[Conversation, Json], None]] = {
    "message": Conversation.message,
    "reasoning": Conversation.reasoning,
    "function_call": Conversation.call,
    "custom_tool_call": Conversation.call,
    "function_call_output": Conversation.result,
    "custom_tool_call_output": Conversation.result,
    "tool_search_call": Conversation.search,
    "tool_search_output": Conversation.search,
    "additional_tools": Conversation.more_tools,
    "web_search_call": Conversation.web_search,
}


def _content(item: Json, name: str, kinds: tuple[str, ...]) -> tuple[Said | Image | Document, ...]:
    """A field that is text or parts of some kinds."""
    content = typed(item, name, str, list)
    if not isinstance(content, list):
        return text_parts(content or "")
    return tuple(_part(part, kinds) for part in objects(item, name))


def _echoed(item: Json) -> set[str]:
    """What an answer says of its words and clients echo: no model is told, of this dialect either."""
    parts = objects(item, "content") if isinstance(item.get("content"), list) else []
    return {f"input.{name}" for part in parts for name in ECHOED if part.get(name)}


def _part(part: Json, kinds: tuple[str, ...]) -> Said | Image | Document:
    kind = required(part, "type", str)
    if kind not in kinds:
        raise unsupported(f"The content part {kind!r}")
    for echoed in ECHOED:
        if kind == "output_text" and part.get(echoed):
            part[echoed] = []
    only(part, _PARTS[kind], f"in a part of type {kind!r}")
    if kind == "input_image":
        return image(required(part, "image_url", str), typed(part, "detail", str), None)
    if kind == "input_file":
        return document(part, "in a part of type 'input_file'", "type")
    return Said(text=required(part, "refusal" if kind == "refusal" else "text", str))
