"""The Gemini wire: how it is answered, as chunks or as one response.

Pure. A call comes whole, in one part, when the answer is complete: arguments can't be sent in pieces here. Between
events a stream bears nothing but blank lines; a comment breaks Gemini CLI (measured).
"""

import json
from typing import Any

from gateway.wires import gemini
from gateway.wires.gemini_parts import DIALECT, signature_of
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

BLANK = b"\n\n"
_REASONS: dict[StopReason, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}


class GeminiFace:
    """Renders one answer. `_parts` is what was said so far, `_calls` the parts of calls and their arguments by id."""

    def __init__(self, request: Request, attempt: str, created: int) -> None:
        self._request = request
        self._head = {"modelVersion": request.alias, "responseId": attempt}
        self._parts: list[Json] = []
        self._calls: dict[str, tuple[Json, list[str]]] = {}
        self._usage = Usage()
        self._stop: StopReason = "stop"

    def begin(self) -> bytes:
        return b""

    def render(self, delta: Delta) -> bytes:
        match delta:
            case Text(text=text):
                return self._said({"text": text}) if text else b""
            case Reasoning(text=text, seal=seal):
                signed = {"thoughtSignature": signature_of(seal)} if seal else {}
                return self._said({"text": text, "thought": True, **signed}) if text or seal else b""
            case CallBegun(id=id_, name=name, seal=seal):
                signed = {"thoughtSignature": signature_of(seal)} if seal else {}
                call = {"id": id_, "name": self._request.tool(name).own}
                self._calls[id_] = ({"functionCall": call, **signed}, [])
            case CallArguments(id=id_, text=text):
                self._calls[id_][1].append(text)
            case Counted(usage=usage):
                self._usage = usage
            case Stop(reason=reason):
                self._stop = reason
        return b""

    def end(self) -> bytes:
        calls, reason = self._called()
        out = sse(self._answer(calls)) if calls else b""
        return out + sse(self._answer([{"text": ""}], reason))

    def fail(self, fault: Fault) -> bytes:
        return gemini.broken(fault)

    def body(self) -> bytes:
        calls, reason = self._called()
        return compact(self._answer([*self._parts, *calls], reason)).encode()

    def _said(self, part: Json) -> bytes:
        """One more part; in the whole answer it goes on with the one before it, if that is of its kind and unsigned."""
        last = self._parts[-1] if self._parts else None
        if last is not None and "thoughtSignature" not in last and last.get("thought") == part.get("thought"):
            self._parts[-1] = part | {"text": last["text"] + part["text"]}
        else:
            self._parts.append(part)
        return sse(self._answer([part]))

    def _called(self) -> tuple[list[Json], str]:
        """The calls, and why the answer ended. One whose arguments broke off is left out: the answer was too long."""
        found, reason = [], _REASONS[self._stop]
        for part, pieces in self._calls.values():
            arguments = _object("".join(pieces) or "{}")
            if arguments is None:
                reason = "MAX_TOKENS"
            else:
                found.append(part | {"functionCall": part["functionCall"] | {"args": arguments}})
        return found, reason

    def _answer(self, parts: list[Json], reason: str | None = None) -> Json:
        """A chunk, or the last one, which tells why it ended and what was used."""
        candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if reason is None:
            return {"candidates": [candidate], **self._head}
        candidate["finishReason"] = reason
        return {"candidates": [candidate], "usageMetadata": usage(self._usage), **self._head}


def usage(used: Usage) -> Json:
    """On this wire the prompt includes what was read from the cache, and thoughts stand beside the answer."""
    counts = {
        "promptTokenCount": used.total_input,
        "cachedContentTokenCount": used.read_from_cache,
        "candidatesTokenCount": used.total_output - used.reasoning,
        "thoughtsTokenCount": used.reasoning,
    }
    found = {name: count for name, count in counts.items() if count or name == "promptTokenCount"}
    return found | {"totalTokenCount": used.total_input + used.total_output}


def _object(text: str) -> Json | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


GEMINI = Wire(name=DIALECT, parse=gemini.parse, face=GeminiFace, refusal=gemini.refusal, keep_alive=BLANK)
