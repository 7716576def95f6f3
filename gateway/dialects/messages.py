"""Anthropic's Messages API, the provider's side: asked in passing, read, and metered. Its wire is `wires/messages`.

Pure. Other wires' requests are made into its words by LiteLLM's transform (`provider`). Usage: `input_tokens` excludes
what was read from or written to the cache, `output_tokens` includes thinking (platform.claude.com, prompt caching).
"""

from collections.abc import Mapping, Sequence

from gateway.dialects import failures, hosted
from gateway.dialects.dialect import Broken, Dialect
from gateway.dialects.events import EventMeter, EventReader, decoded, opens, pieces
from gateway.dialects.told import count, inner, spoken, word
from gateway.wires import messages, seals
from gateway.wires.messages_blocks import DIALECT, REDACTED, native
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
from kit.errors import Fault
from ledger.prices import Usage

VERSION = "2023-06-01"
LEAST_THINKING = 1024
"""Tokens; the API takes no smaller budget."""
STOPS: Mapping[object, StopReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STATUSES: Mapping[object, int] = {"rate_limit_error": 429, "invalid_request_error": 400, "request_too_large": 400}


def path(model: str, stream: bool) -> str:
    return "/v1/messages"


def headers(key: str | None, request: Request) -> Mapping[str, str]:
    """The key and the version; of the client's own headers only the beta values that the wire let through."""
    found = {"content-type": "application/json", "anthropic-version": VERSION}
    if key:
        found["x-api-key"] = key
    if request.betas:
        found["anthropic-beta"] = ",".join(request.betas)
    return found


def passed(request: Request, model: str, max_output: int) -> Json:
    """The body as it came, for this model and with this bound; thoughts that this provider didn't sign are left out."""
    body = {name: value for name, value in request.body.items() if name in messages.FIELDS}
    body |= {"model": model, "max_tokens": max_output, "messages": [_own(item) for item in request.body["messages"]]}
    if request.hosted:
        body["tools"] = [_bounded(item, hosted.most(request)) for item in body["tools"]]
    thinking = body.get("thinking") or {}
    if (thinking.get("budget_tokens") or 0) >= max_output:
        fits = max_output - 1 >= LEAST_THINKING
        body["thinking"] = thinking | {"budget_tokens": max_output - 1} if fits else {"type": "disabled"}
    return body


def _bounded(tool: Json, most: int) -> Json:
    """A tool that Anthropic runs, this often at most."""
    own = tool.get("type") in (None, "custom")
    return tool if own else tool | {"max_uses": min(most, tool.get("max_uses") or most)}


def counted(request: Request, model: str) -> Json:
    """The body of the same request for `count_tokens`."""
    body = passed(request, model, request.max_output or messages.MOST)
    return {name: value for name, value in body.items() if name in messages.COUNTED}


def _own(message: Json) -> Json:
    content = message["content"]
    if message["role"] != "assistant" or isinstance(content, str):
        return message
    return message | {"content": [bare for block in content if (bare := _signed(block))]}


def _signed(block: Json) -> Json | None:
    """The block with its signature as Anthropic wrote it; None when the signature is not Anthropic's."""
    name = {"thinking": "signature", "redacted_thinking": "data"}.get(block["type"])
    sealed = block.get(name or "") or ""
    if name is None or (sealed and not seals.maker(sealed)):
        return block
    return native(block.get("thinking", ""), sealed)


def usage_of(told: Json) -> Usage:
    """Anthropic's usage object in disjoint classes. `cache_creation` tells for how long what was written is kept."""
    details = inner(told, "output_tokens_details")
    total = count(told, "output_tokens")
    reasoning = min(count(details, "thinking_tokens"), total)
    kept = inner(told, "cache_creation")
    hour = count(kept, "ephemeral_1h_input_tokens")
    written = max(count(told, "cache_creation_input_tokens"), hour + count(kept, "ephemeral_5m_input_tokens"))
    return Usage(
        input=count(told, "input_tokens"),
        cache_read=count(told, "cache_read_input_tokens"),
        cache_write=written - hour,
        cache_write_1h=hour,
        output=total - reasoning,
        reasoning=reasoning,
    )


_OUTPUT = ("output_tokens", "output_tokens_details")


class Told:
    """What the events of one answer say of its usage: `message_start` has the input and counts no output yet,
    `message_delta` has the last word."""

    def __init__(self) -> None:
        self._usage: Json = {}
        self._id: str | None = None
        self._model: str | None = None
        self.reasons: dict[str, str] = {}

    def heard(self, event: Json) -> None:
        message = inner(event, "message")
        self._model = word(message.get("model")) or self._model
        if reason := word(message.get("stop_reason")) or word(inner(event, "delta").get("stop_reason")):
            self.reasons = {"0": reason}
        self._id = message.get("id") if isinstance(message.get("id"), str) else self._id
        told = inner(message, "usage") or inner(event, "usage")
        early = _OUTPUT if event.get("type") == "message_start" else ()
        self._usage |= {name: value for name, value in told.items() if value is not None and name not in early}

    @property
    def counted(self) -> Counted:
        used = hosted.in_messages(self._usage) or None
        return Counted(usage=usage_of(self._usage), upstream_id=self._id, hosted=used, model=self._model)


class MessagesReader(EventReader):
    """Reads one answer into neutral deltas. Signatures leave it sealed."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._told = Told()
        self._blocks: dict[int, Json] = {}
        self._stop: StopReason = "stop"

    def read(self, payload: bytes) -> Sequence[Delta]:
        event = decoded(payload)
        try:
            return self._read(event)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not an event of the Messages API") from error

    def whole(self, body: bytes) -> list[Delta]:
        message = decoded(body)
        broken_by(message)
        try:
            return self._answered(message)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not an answer of the Messages API") from error

    def _answered(self, message: Json) -> list[Delta]:
        found: list[Delta] = []
        for index, block in enumerate(message["content"]):
            found += self._begun(index, block)
            if block["type"] == "tool_use":
                self._blocks[index]["said"] = compact(block["input"])
                found.append(CallArguments(id=block["id"], text=self._blocks[index]["said"]))
            found += self._ended(index)
        self._told.heard({"message": message})
        return [*found, self._told.counted, Stop(reason=STOPS.get(message["stop_reason"], "stop"))]

    def _read(self, event: Json) -> list[Delta]:
        match event.get("type"):
            case "message_start":
                self._told.heard(event)
                return [self._told.counted]
            case "content_block_start":
                return self._begun(event["index"], event["content_block"])
            case "content_block_delta":
                return self._more(event["index"], event["delta"])
            case "content_block_stop":
                return self._ended(event["index"])
            case "message_delta":
                self._told.heard(event)
                self._stop = STOPS.get(event["delta"].get("stop_reason"), self._stop)
            case "message_stop":
                return [self._told.counted, Stop(reason=self._stop)]
            case "error":
                broken_by(event)
        return []

    def _begun(self, index: int, block: Json) -> list[Delta]:
        self._blocks[index] = dict(block) | {"said": ""}
        match block["type"]:
            case "text":
                return [Text(text=block["text"])] if block["text"] else []
            case "thinking":
                return [Reasoning(text=block["thinking"])] if block["thinking"] else []
            case "redacted_thinking":
                return [Reasoning(seal=seals.seal(DIALECT, REDACTED + block["data"]), redacted=True)]
            case "tool_use":
                return [CallBegun(id=block["id"], name=block["name"])]
        return []

    def _more(self, index: int, delta: Json) -> list[Delta]:
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta":
                return [Text(text=delta["text"])]
            case "thinking_delta":
                return [Reasoning(text=delta["thinking"])]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta" if block["type"] == "tool_use" and delta["partial_json"]:
                block["said"] += delta["partial_json"]
                return [CallArguments(id=block["id"], text=delta["partial_json"])]
        return []

    def _ended(self, index: int) -> list[Delta]:
        block = self._blocks[index]
        if block["type"] == "thinking" and block.get("signature"):
            return [Reasoning(seal=seals.seal(DIALECT, block["signature"]))]
        if block["type"] == "tool_use" and not block["said"]:
            return [CallArguments(id=block["id"], text="{}")]
        return []


class MessagesMeter(EventMeter):
    """Looks on while Anthropic's answer passes through."""

    said = pieces("text", "thinking", "partial_json", "name")

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._told = Told()

    def marked(self, events: bytes) -> bool:
        return b"message_" in events or opens(events, b'"error"', b"{")

    def look(self, payload: bytes) -> bool:
        event = decoded(payload)
        match event.get("type"):
            case "message_start" | "message_delta":
                self._take(event)
            case "message_stop":
                self.stopped = self.finished = True
            case "error":
                broken_by(event)
        return True

    def whole(self, body: bytes) -> bytes:
        message = decoded(body)
        broken_by(message)
        self._take({"message": message})
        self.stopped = message.get("type") == "message"
        self.heard = spoken(message.get("content"), "text", "thinking", "input", "name")
        return body

    def fail(self, fault: Fault) -> bytes:
        return sse(messages.error(fault), "error")

    def _take(self, event: Json) -> None:
        self._told.heard(event)
        self.counted, self.reasons = self._told.counted, self._told.reasons


def broken_by(answer: Json) -> None:
    """Raise Broken if an answer, or an event of it, is an error."""
    if answer.get("type") == "error":
        error = answer.get("error")
        kind = error.get("type") if isinstance(error, dict) else None
        usage = inner(answer, "usage")
        used = Counted(usage=usage_of(usage)) if usage else None
        raise Broken(failures.sentence(answer) or failures.UNSAID, status=STATUSES.get(kind, 502), counted=used)


MESSAGES = Dialect(
    name=DIALECT,
    path=path,
    headers=headers,
    passed=passed,
    asked=None,
    meter=MessagesMeter,
    reader=MessagesReader,
    refused=failures.refused,
)
