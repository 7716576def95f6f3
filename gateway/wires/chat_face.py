"""The OpenAI Chat Completions wire: how it is answered, as chunks or as one completion.

Pure. A call's seal travels where Google's clients keep their signatures, a thought's in `thinking_blocks`, as LiteLLM's
clients know them: a block is said when its thought is whole.
"""

from collections.abc import Iterator

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
    compact,
    sse,
)
from gateway.wires.openai import error, free_text
from kit.errors import Fault
from ledger.prices import Usage


class ChatFace:
    """Renders one answer as chat.completion.chunk events or as one chat.completion."""

    def __init__(self, request: Request, attempt: str, created: int) -> None:
        self._request = request
        self._head = {"id": f"chatcmpl-{attempt}", "created": created, "model": request.alias}
        self._text: list[str] = []
        self._thought: list[str] = []
        self._unsealed: list[str] = []  # of the thought that is not closed yet
        self._blocks: list[Json] = []
        self._calls: dict[str, Json] = {}
        self._usage = Usage()
        self._stop: StopReason = "stop"

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def render(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                self._text.append(text)
                return self._chunk({"content": text})
            case Reasoning():
                return self._thinks(delta)
            case CallBegun():
                return self._begun(delta)
            case CallArguments(id=id_, text=text):
                return self._argued(id_, text)
            case Counted(usage=usage):
                self._usage = usage
            case Stop(reason=reason):
                self._stop = reason
        return b""

    def end(self) -> bytes:
        last = b"".join(self._inputs()) + self._chunk({}, finish=self._stop)
        if self._request.wants_usage:
            last += sse(self._head | {"object": "chat.completion.chunk", "choices": [], "usage": usage(self._usage)})
        return last + b"data: [DONE]\n\n"

    def fail(self, fault: Fault) -> bytes:
        return sse(error(fault)) + b"data: [DONE]\n\n"

    def body(self) -> bytes:
        for _ in self._inputs():
            pass
        message: Json = {"role": "assistant", "content": "".join(self._text) or None, "refusal": None}
        if self._thought:
            message["reasoning_content"] = "".join(self._thought)
        if self._blocks:
            message["thinking_blocks"] = self._blocks
        if self._calls:
            message["tool_calls"] = list(self._calls.values())
        choice = {"index": 0, "message": message, "finish_reason": self._stop, "logprobs": None}
        whole = {"object": "chat.completion", "choices": [choice], "usage": usage(self._usage)}
        return compact(self._head | whole).encode()

    def _thinks(self, delta: Reasoning) -> bytes:
        out = b""
        if delta.text:
            self._thought.append(delta.text)
            self._unsealed.append(delta.text)
            out = self._chunk({"reasoning_content": delta.text})
        if not delta.seal:
            return out
        if delta.redacted:
            block: Json = {"type": "redacted_thinking", "data": delta.seal}
        else:
            block = {"type": "thinking", "thinking": "".join(self._unsealed), "signature": delta.seal}
            self._unsealed.clear()
        self._blocks.append(block)
        index = {"index": len(self._blocks) - 1}  # OpenAI's SDK adds up no list whose entries have none
        return out + self._chunk({"thinking_blocks": [index | block]})

    def _begun(self, delta: CallBegun) -> bytes:
        kind, field = ("custom", "input") if self._request.tool(delta.name).custom else ("function", "arguments")
        call: Json = {"id": delta.id, "type": kind, kind: {"name": delta.name, field: ""}}
        if delta.seal:
            call["extra_content"] = {"google": {"thought_signature": delta.seal}}
        self._calls[delta.id] = call
        begun = {"index": self._index(delta.id), **call, kind: dict(call[kind])}
        return self._chunk({"tool_calls": [begun]})

    def _argued(self, id_: str, text: str) -> bytes:
        call = self._calls[id_]
        if call["type"] == "custom":  # free text inside JSON can't be cut into pieces: it is said when it is whole
            call["custom"]["input"] += text
            return b""
        call["function"]["arguments"] += text
        return self._chunk({"tool_calls": [{"index": self._index(id_), "function": {"arguments": text}}]})

    def _inputs(self) -> Iterator[bytes]:
        """The free text of custom tools, now that it is whole."""
        for id_, call in self._calls.items():
            if call["type"] == "custom":
                call["custom"]["input"] = free_text(call["custom"]["input"])
                said = {"index": self._index(id_), "custom": {"input": call["custom"]["input"]}}
                yield self._chunk({"tool_calls": [said]})

    def _index(self, id_: str) -> int:
        return list(self._calls).index(id_)

    def _chunk(self, delta: Json, finish: StopReason | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse(self._head | {"object": "chat.completion.chunk", "choices": [choice]})


def usage(used: Usage) -> Json:
    return {
        "prompt_tokens": used.total_input,
        "completion_tokens": used.total_output,
        "total_tokens": used.total_input + used.total_output,
        "prompt_tokens_details": {"cached_tokens": used.read_from_cache},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }
