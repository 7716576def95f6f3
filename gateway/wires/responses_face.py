"""The OpenAI Responses wire: how it is answered, as numbered events or as one response object.

Pure. A call of a namespaced tool carries `name` and `namespace` apart, or Codex refuses it as an unsupported call.
"""

from gateway.wires import responses
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
    said,
    sse,
)
from gateway.wires.openai import free_text
from kit.errors import Fault
from ledger.prices import Usage

_SPOKEN = ("message", "reasoning")
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesFace:
    """Renders one answer. A text is closed when the next item opens, calls when the answer is complete."""

    def __init__(self, request: Request, attempt: str, created: int, *, sequence: int = -1) -> None:
        self._request = request
        self._id = attempt
        self._created = created
        self._sequence = sequence
        self._items: list[Json] = []
        self._open: Json | None = None
        self._usage: Usage | None = None
        self._stop: StopReason = "stop"

    def begin(self) -> bytes:
        started = self._response("in_progress")
        return self._event("response.created", response=started) + self._event("response.in_progress", response=started)

    def render(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                return self._speak("message", "output_text", text)
            case Reasoning():
                return self._thinks(delta)
            case CallBegun():
                return self._begun(delta)
            case CallArguments(text=text):
                return self._argued(delta.id, text)
            case Counted(usage=usage):
                self._usage = usage
            case Stop(reason=reason):
                self._stop = reason
        return b""

    def end(self) -> bytes:
        status = "incomplete" if self._stop in _INCOMPLETE else "completed"
        return self._finished() + self._event(f"response.{status}", response=self._response(status))

    def fail(self, fault: Fault) -> bytes:
        """`invalid_prompt` is what Codex takes as final; anything else it asks again. No call of it is ever done."""
        out = self._closed()
        self._items = [item for item in self._items if item["type"] in _SPOKEN]
        code = "server_error" if fault.status >= 500 or fault.status == 429 else "invalid_prompt"
        failed = self._response("failed") | {"error": {"code": code, "message": said(fault)}}
        return out + self._event("response.failed", response=failed)

    def body(self) -> bytes:
        self._finished()
        return compact(self._response("incomplete" if self._stop in _INCOMPLETE else "completed")).encode()

    def _speak(self, kind: str, event: str, text: str) -> bytes:
        """More text of a message or a reasoning summary, opening its item first if need be."""
        out = b""
        if self._open is None or self._open["type"] != kind:
            out = self._closed() + self._opened(kind)
        self._part()["text"] += text
        return out + self._event(f"response.{event}.delta", delta=text, **self._at(), **self._extra())

    def _thinks(self, delta: Reasoning) -> bytes:
        """More of a thought. Its seal closes it, as ciphertext that only we and its maker can read."""
        out = self._speak("reasoning", "reasoning_summary_text", delta.text) if delta.text else b""
        if delta.seal is None:
            return out
        if self._open is None or self._open["type"] != "reasoning":
            return out + self._closed() + self._sealed(delta.seal)
        self._open["encrypted_content"] = delta.seal
        return out + self._closed()

    def _sealed(self, sealed: str) -> bytes:
        """A thought of which there is nothing but the seal."""
        item = {"id": self._name("rs"), "type": "reasoning", "summary": [], "encrypted_content": sealed}
        out = self._added(item)
        self._open = None
        return out + self._done(item)

    def _opened(self, kind: str) -> bytes:
        if kind == "message":
            item: Json = {
                "id": self._name("msg"),
                "type": kind,
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
        else:
            item = {"id": self._name("rs"), "type": kind, "summary": []}
        out = self._added(item)
        part = {"type": "output_text", "text": "", "annotations": []} if kind == "message" else _summary()
        self._parts().append(part)
        return out + self._event(f"{self._prefix()}_part.added", part=dict(part), **self._at())

    def _begun(self, delta: CallBegun) -> bytes:
        tool = self._request.tool(delta.name)
        item: Json = {"id": self._name("fc"), "call_id": delta.id, "name": tool.own, "status": "in_progress"}
        item |= {"type": "custom_tool_call", "input": ""} if tool.custom else {"type": "function_call", "arguments": ""}
        if tool.namespace:
            item["namespace"] = tool.namespace
        out = self._closed()
        if delta.seal:  # a call has no place for it: it goes before, and `responses_items` gives it back to the call
            out += self._sealed(delta.seal)
            item["id"] = self._name("fc")
        out += self._added(item)
        self._open = None
        return out

    def _argued(self, call_id: str, text: str) -> bytes:
        item = next(item for item in reversed(self._items) if item.get("call_id") == call_id)
        field = "input" if item["type"] == "custom_tool_call" else "arguments"
        item[field] += text
        if field == "input":  # free text inside JSON can't be cut into pieces: it is said when it is whole
            return b""
        at = {"item_id": item["id"], "output_index": self._items.index(item)}
        return self._event("response.function_call_arguments.delta", delta=text, **at)

    def _finished(self) -> bytes:
        """Close the text that is open, then every call: their arguments are known to be whole only now."""
        out = self._closed()
        for item in self._items:
            if item["type"] not in _SPOKEN:
                out += self._called(item) + self._done(item)
        return out

    def _closed(self) -> bytes:
        """Finish the text that is open, if any."""
        item = self._open
        if item is None:
            return b""
        part, at = self._part(), self._at()
        event = "response.output_text.done" if item["type"] == "message" else "response.reasoning_summary_text.done"
        out = self._event(event, text=part["text"], **at, **self._extra())
        out += self._event(f"{self._prefix()}_part.done", part=part, **at)
        self._open = None
        return out + self._done(item)

    def _done(self, item: Json) -> bytes:
        if item["type"] != "reasoning":
            item["status"] = "completed"
        return self._event("response.output_item.done", output_index=self._items.index(item), item=item)

    def _called(self, item: Json) -> bytes:
        at = {"item_id": item["id"], "output_index": self._items.index(item)}
        if item["type"] == "custom_tool_call":
            item["input"] = free_text(item["input"])
            delta = self._event("response.custom_tool_call_input.delta", delta=item["input"], **at)
            return delta + self._event("response.custom_tool_call_input.done", input=item["input"], **at)
        item["arguments"] = item["arguments"] or "{}"
        return self._event(
            "response.function_call_arguments.done", arguments=item["arguments"], name=item["name"], **at
        )

    def _added(self, item: Json) -> bytes:
        self._items.append(item)
        self._open = item
        return self._event("response.output_item.added", output_index=len(self._items) - 1, item=dict(item))

    def _parts(self) -> list[Json]:
        assert self._open is not None
        parts: list[Json] = self._open["content" if self._open["type"] == "message" else "summary"]
        return parts

    def _part(self) -> Json:
        return self._parts()[0]

    def _prefix(self) -> str:
        assert self._open is not None
        return "response.content" if self._open["type"] == "message" else "response.reasoning_summary"

    def _at(self) -> Json:
        assert self._open is not None
        index = "content_index" if self._open["type"] == "message" else "summary_index"
        return {"item_id": self._open["id"], "output_index": len(self._items) - 1, index: 0}

    def _extra(self) -> Json:
        return {"logprobs": []} if self._open and self._open["type"] == "message" else {}

    def _name(self, prefix: str) -> str:
        return f"{prefix}_{self._id}_{len(self._items)}"

    def _event(self, type_: str, **fields: object) -> bytes:
        self._sequence += 1
        return sse({"type": type_, "sequence_number": self._sequence, **fields}, type_)

    def _response(self, status: str) -> Json:
        incomplete = {"reason": _INCOMPLETE[self._stop]} if status == "incomplete" else None
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._request.alias,
            "output": list(self._items) if status != "in_progress" else [],
            "error": None,
            "incomplete_details": incomplete,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": self._request.parallel_calls is not False,
            "temperature": self._request.sampling.get("temperature"),
            "top_p": self._request.sampling.get("top_p"),
            "tool_choice": self._request.tool_choice or "auto",
            "tools": [],
            "store": False,
            "usage": _usage(self._usage) if self._usage and status != "in_progress" else None,
        }


def _summary() -> Json:
    return {"type": "summary_text", "text": ""}


def _usage(used: Usage) -> Json:
    return {
        "input_tokens": used.total_input,
        "input_tokens_details": {"cached_tokens": used.read_from_cache, "cache_write_tokens": used.written_to_cache},
        "output_tokens": used.total_output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.total_input + used.total_output,
    }


RESPONSES = Wire(name="responses", parse=responses.parse, face=ResponsesFace, refusal=responses.refusal)
