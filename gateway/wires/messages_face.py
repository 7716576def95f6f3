"""The Anthropic Messages wire: how it is answered, as events or as one message.

Pure. Blocks come out one after the other, each closed before the next: a call that others interleave with is finished
first, what came meanwhile follows it. A seal of a call travels in a block of its own before it (`redacted_thinking`),
which clients send back as they got it.
"""

import json
from typing import Any

from gateway.wires import messages
from gateway.wires.messages_blocks import DIALECT
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Reasoning,
    Request,
    Stop,
    StopReason,
    Text,
    Wire,
    compact,
    sse,
)
from kit.errors import Fault
from ledger.prices import Usage

PING = sse({"type": "ping"}, "ping")
_REASONS: dict[StopReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TEXTS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


class MessagesFace:
    """Renders one answer. `_blocks` is all of it so far, `_at` the block that is being said."""

    def __init__(self, request: Request, attempt: str, created: int) -> None:
        self._request = request
        self._id = f"msg_{attempt}"
        self._blocks: list[Json] = []
        self._raw: dict[str, str] = {}  # arguments by call id: JSON in the making
        self._at = -1
        self._usage = Usage()
        self._stop: StopReason = "stop"

    def begin(self) -> bytes:
        return sse({"type": "message_start", "message": self._message([], None)}, "message_start")

    def render(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                return self._more("text", text)
            case Reasoning():
                return self._thought(delta)
            case CallBegun(id=id_, name=name, seal=seal):
                if seal:
                    self._blocks.append({"type": "redacted_thinking", "data": seal})
                self._raw[id_] = ""
                self._blocks.append({"type": "tool_use", "id": id_, "name": self._request.tool(name).own, "input": {}})
                return self._advanced()
            case CallArguments(id=id_, text=text):
                return self._argued(id_, text)
            case Counted(usage=usage):
                self._usage = usage
            case Stop(reason=reason):
                self._stop = reason
        return b""

    def end(self) -> bytes:
        out = self._advanced(to_the_end=True)
        if self._at >= 0:
            out += self._event("content_block_stop", index=self._at)
        delta = {"stop_reason": _REASONS[self._stop], "stop_sequence": None}
        return out + self._event("message_delta", delta=delta, usage=_usage(self._usage)) + self._event("message_stop")

    def fail(self, fault: Fault) -> bytes:
        return sse(messages.error(fault), "error")

    def body(self) -> bytes:
        """A call whose arguments broke off can't be said on this wire: it is left out and the answer was too long."""
        content = []
        reason = _REASONS[self._stop]
        for block in self._blocks:
            if block["type"] == "tool_use":
                arguments = _whole(self._raw[block["id"]] or "{}")
                if arguments is None:
                    reason = "max_tokens"
                    continue
                block = block | {"input": arguments}
            content.append(block)
        return compact(self._message(content, reason)).encode()

    def _more(self, kind: str, text: str) -> bytes:
        """More text of a block that goes on, or the first of a new one."""
        event, name = _TEXTS[kind]
        last = self._blocks[-1] if self._blocks else None
        if last is None or last["type"] != kind or last.get("signature"):
            self._blocks.append({"type": kind, name: ""} | ({"signature": ""} if kind == "thinking" else {}))
        said = self._advanced()
        self._blocks[-1][name] += text
        return said + (self._delta(len(self._blocks) - 1, {"type": event, name: text}) if text else b"")

    def _thought(self, delta: Reasoning) -> bytes:
        if delta.redacted and delta.seal:
            self._blocks.append({"type": "redacted_thinking", "data": delta.seal})
            return self._advanced()
        out = self._more("thinking", delta.text) if delta.text or delta.seal else b""
        if delta.seal:
            self._blocks[-1]["signature"] = delta.seal
            out += self._delta(len(self._blocks) - 1, {"type": "signature_delta", "signature": delta.seal})
        return out

    def _argued(self, id_: str, text: str) -> bytes:
        index = next(place for place, block in enumerate(self._blocks) if block.get("id") == id_)
        self._raw[id_] += text
        return self._delta(index, {"type": "input_json_delta", "partial_json": text}) + self._advanced()

    def _delta(self, index: int, delta: Json) -> bytes:
        """Of the block that is being said; others wait for their turn."""
        return self._event("content_block_delta", index=index, delta=delta) if index == self._at else b""

    def _advanced(self, *, to_the_end: bool = False) -> bytes:
        """Close the block that is said and open those after it, up to the first that is not complete."""
        out = b""
        while self._at < len(self._blocks) - 1 and (to_the_end or self._complete()):
            if self._at >= 0:
                out += self._event("content_block_stop", index=self._at)
            self._at += 1
            out += self._opened(self._blocks[self._at])
        return out

    def _complete(self) -> bool:
        """Only a call can be followed by others before its end."""
        if self._at < 0 or self._blocks[self._at]["type"] != "tool_use":
            return True
        return _whole(self._raw[self._blocks[self._at]["id"]]) is not None

    def _opened(self, block: Json) -> bytes:
        """The start of a block and what it has to say already."""
        kind = block["type"]
        empty = block | {name: "" for name in ("text", "thinking", "signature") if name in block}
        out = self._event("content_block_start", index=self._at, content_block=empty)
        if kind in _TEXTS and block[_TEXTS[kind][1]]:
            event, name = _TEXTS[kind]
            out += self._delta(self._at, {"type": event, name: block[name]})
        if block.get("signature"):
            out += self._delta(self._at, {"type": "signature_delta", "signature": block["signature"]})
        if kind == "tool_use" and self._raw[block["id"]]:
            out += self._delta(self._at, {"type": "input_json_delta", "partial_json": self._raw[block["id"]]})
        return out

    def _event(self, type_: str, **fields: object) -> bytes:
        return sse({"type": type_, **fields}, type_)

    def _message(self, content: list[Json], reason: str | None) -> Json:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._request.alias,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": _usage(self._usage),
        }


def _whole(arguments: str) -> Json | None:
    """Arguments as an object; None while they are not one."""
    try:
        found: Any = json.loads(arguments)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _usage(used: Usage) -> Json:
    """On this wire the classes of the input are apart, and thinking is part of the output."""
    return {
        "input_tokens": used.total_input - used.read_from_cache - used.written_to_cache,
        "cache_creation_input_tokens": used.written_to_cache,
        "cache_read_input_tokens": used.read_from_cache,
        "output_tokens": used.total_output,
    }


MESSAGES = Wire(name=DIALECT, parse=messages.parse, face=MessagesFace, refusal=messages.refusal, keep_alive=PING)
