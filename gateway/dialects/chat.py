"""OpenAI's Chat Completions as a provider speaks it: platform.openai.com/docs/api-reference/chat. Half the world does.

Pure. What the neighbours add is understood: `reasoning_content` and `reasoning` (DeepSeek, OpenRouter), the signature
of a call in `extra_content` (Google), a charge in `usage.cost` (OpenRouter). Neighbours: `chat_asked` writes requests.
"""

from collections.abc import Mapping, Sequence

from gateway.dialects import hosted
from gateway.dialects.chat_asked import asked, passed
from gateway.dialects.counts import counted, told
from gateway.dialects.dialect import Dialect
from gateway.dialects.events import DONE, EventMeter, EventReader, decoded, opens, pieces
from gateway.dialects.failures import broken_by, headers, refused
from gateway.dialects.told import objects, spoken, word
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
    sse,
)
from gateway.wires.openai import error
from gateway.wires.seals import seal
from kit.errors import Fault

STOPS: Mapping[object, StopReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
MARK = b"data: [DONE]\n\n"
"""Behind the last event of a stream."""
THOUGHT_HERE = seal("chat", "")
"""Closes a thought that a provider of this dialect showed: only such a one is sent its thoughts back."""


SPOKEN = ("content", "reasoning_content", "reasoning", "refusal", "arguments", "name", "text")
"""The names that texts of an answer stand under; `text` is that of a part (Mistral)."""


class ChatMeter(EventMeter):
    """Looks on while chunks pass. The usage event is taken out if only we asked for it."""

    said = pieces(*SPOKEN)

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._wanted = request.wants_usage

    def marked(self, events: bytes) -> bool:
        return (
            DONE in events
            or opens(events, b'"usage"', b"{")
            or opens(events, b'"finish_reason"', b'"')
            or opens(events, b'"error"', b'{"')
        )

    def look(self, payload: bytes) -> bool:
        if payload == DONE:
            self.stopped = self.finished = True
            return True
        chunk = decoded(payload)
        used = self._counted(chunk, payload)
        broken_by(chunk.get("error"), used)
        choices = objects(chunk.get("choices"))
        self._end(choices)
        self.stopped = self.stopped or len(self.reasons) >= self._request.choices
        self.counted = used or self.counted
        return used is None or bool(choices) or self._wanted

    def whole(self, body: bytes) -> bytes:
        answer = decoded(body)
        self.counted = self._counted(answer, body)
        broken_by(answer.get("error"), self.counted)
        self._end(objects(answer.get("choices")))
        self.stopped = bool(objects(answer.get("choices")))
        self.heard = spoken(answer.get("choices"), *SPOKEN)
        return body

    def end(self) -> bytes:
        """Its mark: an answer that was cut behind its reason to stop is all there."""
        return b"" if self.finished else MARK

    def fail(self, fault: Fault) -> bytes:
        return sse(error(fault)) + MARK

    def _end(self, choices: Sequence[Json]) -> None:
        """Take note of the choices that did."""
        for choice in choices:
            if reason := choice.get("finish_reason"):
                self.reasons[str(choice.get("index", 0))] = word(reason) or ""

    def _counted(self, answer: Json, raw: bytes) -> Counted | None:
        if not isinstance(usage := answer.get("usage"), dict):
            return None
        used = hosted.in_chat(usage, self._request) if self._request.hosted else None
        return counted(usage, answer.get("id"), raw, used, answer.get("model"))


class ChatReader(EventReader):
    """Reads chunks, or one completion, into deltas."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._calls: dict[int, str] = {}
        self._id: str | None = None
        self._thinking = False
        self._stop: StopReason | None = None
        self._stopped = False

    def read(self, payload: bytes) -> Sequence[Delta]:
        if payload == DONE:
            return self.finish()
        chunk = decoded(payload)
        broken_by(chunk.get("error"), told(chunk, payload))
        return self._read(chunk, payload, "delta")

    def whole(self, body: bytes) -> list[Delta]:
        answer = decoded(body)
        broken_by(answer.get("error"), told(answer, body))
        if not objects(answer.get("choices")):
            raise ValueError("no choices in a chat completion")
        return [*self._read(answer, body, "message"), *self.finish()]

    def finish(self) -> Sequence[Delta]:
        """The stop is said last: the usage comes after the reason for it."""
        if self._stop is None or self._stopped:
            return ()
        self._stopped = True
        stop: StopReason = "tool_calls" if self._calls and self._stop == "stop" else self._stop
        return *self._thought(), Stop(reason=stop)

    def _read(self, chunk: Json, payload: bytes, said: str) -> list[Delta]:
        found: list[Delta] = []
        if isinstance(chunk.get("id"), str):
            self._id = chunk["id"]
        for choice in objects(chunk.get("choices")):
            if choice.get("index", 0) == 0:
                message = choice.get(said)
                found += self._said(message if isinstance(message, dict) else {})
                if reason := choice.get("finish_reason"):
                    self._stop = STOPS.get(reason, "stop")
        if isinstance(usage := chunk.get("usage"), dict):
            found.append(counted(usage, self._id, payload, model=chunk.get("model")))
        return found

    def _said(self, message: Json) -> list[Delta]:
        found: list[Delta] = []
        thought = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(thought, str) and thought:
            self._thinking = True
            found.append(Reasoning(text=thought))
        for text in (_text(message.get("content")), message.get("refusal")):
            if isinstance(text, str) and text:
                found += [*self._thought(), Text(text=text)]
        for place, call in enumerate(objects(message.get("tool_calls"))):
            found += [*self._thought(), *self._called(call, place)]
        return found

    def _thought(self) -> list[Delta]:
        """The end of a thought, if one is open."""
        if not self._thinking:
            return []
        self._thinking = False
        return [Reasoning(seal=THOUGHT_HERE)]

    def _called(self, call: Json, place: int) -> list[Delta]:
        """A piece of a call. Some count every call as the first: then only its id tells it from the one before."""
        index = call["index"] if isinstance(call.get("index"), int) else place
        named = call.get("function")
        function: Json = named if isinstance(named, dict) else {}
        found: list[Delta] = []
        id_, name = call.get("id"), function.get("name")
        if index not in self._calls or (id_ and name and id_ != self._calls[index]):
            self._calls[index] = str(id_ or f"call_{self._id}_{index}")
            found.append(CallBegun(id=self._calls[index], name=str(name or ""), seal=_signature(call)))
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            found.append(CallArguments(id=self._calls[index], text=arguments))
        return found


def _text(content: object) -> str:
    """A content that is text, or the text of its parts (Mistral)."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in objects(content) if part.get("type") == "text")


def _signature(call: Json) -> str | None:
    google = (call.get("extra_content") or {}).get("google") or {}
    signature = google.get("thought_signature")
    return seal("chat", signature) if isinstance(signature, str) and signature else None


def _path(model: str, stream: bool) -> str:
    return "/chat/completions"


CHAT = Dialect(
    name="chat",
    path=_path,
    headers=headers,
    passed=passed,
    asked=asked,
    meter=ChatMeter,
    reader=ChatReader,
    refused=refused,
)
