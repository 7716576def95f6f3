"""OpenAI's Responses as a provider speaks it: platform.openai.com/docs/api-reference/responses-streaming.

Pure. Encrypted reasoning comes back to the client inside a seal and returns here alone. Neighbours: `responses_asked`
writes requests.
"""

from collections.abc import Sequence

from gateway.dialects import hosted
from gateway.dialects.counts import counted, told
from gateway.dialects.dialect import Dialect
from gateway.dialects.events import EventMeter, EventReader, decoded, pieces
from gateway.dialects.failures import broken_by, headers, refused
from gateway.dialects.responses_asked import asked, passed
from gateway.dialects.told import spoken, word
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
)
from gateway.wires.responses_face import ResponsesFace
from gateway.wires.responses_tools import flat
from gateway.wires.seals import seal
from kit.errors import Fault

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
_MARKS = (b"response.completed", b"response.incomplete", b"response.failed", b'"error"')
_TEXTS = ("response.output_text.delta", "response.refusal.delta")
_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")


class ResponsesMeter(EventMeter):
    """Looks on while events pass: only the one that ends the answer is read."""

    said = pieces("delta")

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._first = b""

    def feed(self, data: bytes) -> bytes:
        passed = super().feed(data)
        self._first = self._first or self.last
        return passed

    def marked(self, events: bytes) -> bool:
        return any(mark in events for mark in _MARKS)

    def look(self, payload: bytes) -> bool:
        event = decoded(payload)
        if event.get("type") not in ENDS:
            return True
        self.finished = True
        answer = _object(event.get("response"))
        self._finished(answer, payload)
        _failed(event, self._counted(answer, payload))
        return True

    def whole(self, body: bytes) -> bytes:
        answer = decoded(body)
        broken_by(answer.get("error"), self._counted(answer, body))
        self.heard = spoken(answer.get("output"), "text", "arguments", "input", "name")
        self._finished(answer, body)
        return body

    def fail(self, fault: Fault) -> bytes:
        """It takes up the provider's own id and numbers, if it said any."""
        face = ResponsesFace(self._request, _id(self._first), 0, sequence=_number(self.last))
        return (b"" if self._first else face.begin()) + face.fail(fault)

    def _finished(self, answer: Json, payload: bytes) -> None:
        self.stopped = answer.get("status") in ("completed", "incomplete")
        cut = word(_object(answer.get("incomplete_details")).get("reason"))
        self.reasons = {"0": cut or str(answer["status"])} if self.stopped else {}
        self.counted = self._counted(answer, payload) or self.counted

    def _counted(self, answer: Json, raw: bytes) -> Counted | None:
        if not isinstance(usage := answer.get("usage"), dict):
            return None
        used = hosted.in_responses(answer.get("output"), self._request) if self._request.hosted else None
        return counted(usage, answer.get("id"), raw, used, answer.get("model"))


class ResponsesReader(EventReader):
    """Reads events, or one response, into deltas."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._calls: dict[object, str] = {}
        """Item id → call id."""
        self._argued: set[str] = set()
        self._called = False
        self._thought: object = None

    def read(self, payload: bytes) -> Sequence[Delta]:
        event = decoded(payload)
        kind = event.get("type")
        if kind in ENDS:
            answer = _object(event.get("response"))
            _failed(event, told(answer, payload))
            return self._end(answer, payload)
        if kind in _TEXTS:
            return (Text(text=str(event["delta"])),) if event.get("delta") else ()
        if kind in _THOUGHTS:
            return self._thinks(event)
        if kind == "response.output_item.added":
            return self._begun(_object(event.get("item")))
        if kind == "response.function_call_arguments.delta":
            return self._argues(self._calls.get(event.get("item_id")), str(event.get("delta") or ""))
        if kind == "response.output_item.done":
            return self._done(_object(event.get("item")))
        return ()

    def whole(self, body: bytes) -> list[Delta]:
        answer = decoded(body)
        broken_by(answer.get("error"), told(answer, body))
        if not isinstance(answer.get("output"), list):
            raise ValueError("no output in a response")
        found: list[Delta] = []
        for item in map(_object, answer["output"]):
            texts = [part.get("text") or part.get("refusal") for part in map(_object, item.get("content") or ())]
            if item.get("type") == "message":
                found += [Text(text=str(text)) for text in texts if text]
            if item.get("type") == "reasoning" and (thought := _thought(item)):
                found.append(Reasoning(text=thought))
            found += [*self._begun(item), *self._done(item)]
        return [*found, *self._end(answer, body)]

    def _thinks(self, event: Json) -> list[Delta]:
        """More of a thought; paragraphs of its summary are numbered."""
        place = (event.get("item_id"), event.get("summary_index"))
        apart = isinstance(self._thought, tuple) and self._thought[0] == place[0] and self._thought != place
        self._thought = place
        text = str(event.get("delta") or "")
        return [Reasoning(text=("\n\n" if apart else "") + text)] if text else []

    def _begun(self, item: Json) -> list[Delta]:
        if item.get("type") not in ("function_call", "custom_tool_call"):
            return []
        call_id = str(item.get("call_id") or item.get("id"))
        self._calls[item.get("id")] = call_id
        self._called = True
        return [CallBegun(id=call_id, name=flat(item.get("namespace"), str(item.get("name") or "")))]

    def _argues(self, call_id: str | None, text: str) -> list[Delta]:
        if call_id is None or not text:
            return []
        self._argued.add(call_id)
        return [CallArguments(id=call_id, text=text)]

    def _done(self, item: Json) -> list[Delta]:
        """What only the finished item tells: a thought's ciphertext, arguments that came in one piece."""
        if item.get("type") == "reasoning" and isinstance(item.get("encrypted_content"), str):
            sealed = seal("responses", item["encrypted_content"])
            return [Reasoning(seal=sealed, redacted=not _thought(item))]
        call_id = self._calls.get(item.get("id"))
        if call_id is None or call_id in self._argued:
            return []
        if item.get("type") == "custom_tool_call":
            return self._argues(call_id, compact({"input": str(item.get("input") or "")}))
        return self._argues(call_id, str(item.get("arguments") or ""))

    def _end(self, answer: Json, payload: bytes) -> list[Delta]:
        found: list[Delta] = []
        if used := told(answer, payload):
            found.append(used)
        reason = _object(answer.get("incomplete_details")).get("reason")
        stops: dict[object, StopReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
        return [*found, Stop(reason=stops.get(reason, "tool_calls" if self._called else "stop"))]


def _failed(event: Json, used: Counted | None) -> None:
    """Raise Broken for `error` and `response.failed`."""
    if event.get("type") == "error":
        broken_by(event.get("error") or {name: event.get(name) or "" for name in ("message", "code")}, used)
    if event.get("type") == "response.failed":
        broken_by(_object(event.get("response")).get("error") or "", used)


def _thought(item: Json) -> str:
    parts = [_object(part).get("text") for part in item.get("summary") or item.get("content") or ()]
    return "\n\n".join(str(text) for text in parts if text)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _id(events: bytes) -> str:
    """The id of a response in its first event, without its prefix; read only when the stream broke."""
    at = events.find(b'"resp_')
    return events[at + 6 : at + 200].partition(b'"')[0].decode("ascii", "replace") if at >= 0 else "cut"


def _number(events: bytes) -> int:
    """The last event's number."""
    _, _, after = events.rpartition(b'"sequence_number"')
    digits = after[:24].lstrip(b" :").partition(b",")[0].partition(b"}")[0]
    return int(digits) if digits.isdigit() else -1


def _path(model: str, stream: bool) -> str:
    return "/responses"


RESPONSES = Dialect(
    name="responses",
    path=_path,
    headers=headers,
    passed=passed,
    asked=asked,
    meter=ResponsesMeter,
    reader=ResponsesReader,
    refused=refused,
)
