"""Google's generateContent, the provider's side: asked in passing, read, and metered. Its wire is `wires/gemini`.

Pure. Other wires' requests are made into its words by LiteLLM's transform (`provider`). Usage stands in every chunk and
grows: the last one counts. `promptTokenCount` includes what was read from the cache, `candidatesTokenCount` excludes
the thoughts (ai.google.dev/api/generate-content#UsageMetadata).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from gateway.dialects import failures, hosted
from gateway.dialects.dialect import Broken, Dialect
from gateway.dialects.events import EventMeter, EventReader, decoded
from gateway.dialects.told import count, inner, objects, word
from gateway.wires import gemini, seals
from gateway.wires.gemini_parts import DIALECT, wrapped
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
from kit.errors import Fault
from ledger.prices import Usage, of_totals

UNSIGNED = "skip_thought_signature_validator"
"""Instead of a signature on a call that another model made: ai.google.dev/gemini-api/docs/thought-signatures"""
COUNTED = ("contents", "systemInstruction", "tools", "toolConfig")
STOPS: Mapping[object, StopReason] = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "LANGUAGE": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
FAILED = (
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
)
"""Reasons to stop that are no end of an answer."""


def path(model: str, stream: bool) -> str:
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return f"/{quote(name)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def counting(model: str) -> str:
    """The path that counts tokens."""
    return path(model, stream=False).removesuffix(":generateContent") + ":countTokens"


def headers(key: str | None, request: Request) -> Mapping[str, str]:
    sent = {"content-type": "application/json"}
    return sent | {"x-goog-api-key": key} if key else sent


def passed(request: Request, model: str, max_output: int) -> Json:
    """The body as it came, with this bound and without what another provider signed."""
    kept = gemini.FIELDS.difference(gemini.KEPT_HERE)
    body = {name: value for name, value in request.body.items() if name in kept}
    body["generationConfig"] = {**(body.get("generationConfig") or {}), "maxOutputTokens": max_output}
    if "store" in body:
        body["store"] = False
    if any(_foreign(part) for content in body.get("contents") or () for part in content.get("parts") or ()):
        body["contents"] = [bare for content in body["contents"] if (bare := _own(content))]
    return body


def counted(request: Request, model: str) -> Json:
    """The body that asks how many tokens the same request has."""
    body = passed(request, model, 1)
    asked = {name: body[name] for name in COUNTED if name in body}
    return {"generateContentRequest": {"model": path(model, stream=False)[1:].partition(":")[0], **asked}}


def _foreign(part: Json) -> bool:
    """Has it a seal of ours?"""
    return wrapped(part.get("thoughtSignature") or "") is not None


def _own(content: Json) -> Json | None:
    """A turn without what others thought and signed; None when nothing of it is left."""
    parts = [bare for part in content.get("parts") or () if (bare := _signed(part))]
    return content | {"parts": parts} if parts else None


def _signed(part: Json) -> Json | None:
    """A part with Google's own signature or none; a thought without one may be of any model, and goes."""
    sealed = wrapped(part.get("thoughtSignature") or "")
    if sealed is None:
        return None if part.get("thought") and not part.get("thoughtSignature") else part
    bare = {name: value for name, value in part.items() if name != "thoughtSignature"}
    if own := seals.unseal(DIALECT, sealed):
        return bare | {"thoughtSignature": own}
    if "functionCall" in part:
        return bare | {"thoughtSignature": UNSIGNED}
    return None if part.get("thought") else bare


def usage_of(told: Json) -> Usage:
    """Google's usage in disjoint classes. What it counts in the total alone is output: it is billed as such."""
    prompt = count(told, "promptTokenCount")
    tools = count(told, "toolUsePromptTokenCount")
    cached = min(prompt, count(told, "cachedContentTokenCount"))
    thoughts, said = count(told, "thoughtsTokenCount"), count(told, "candidatesTokenCount")
    total = count(told, "totalTokenCount")
    if thoughts and total == prompt + tools + said:  # there the answer includes the thoughts
        said -= min(said, thoughts)
    said += max(0, total - prompt - tools - said - thoughts) if prompt else 0
    asked, kept, came = (_kinds(told, f"{name}TokensDetails") for name in ("prompt", "cache", "candidates"))
    return of_totals(
        total_input=prompt + tools,
        total_output=said + thoughts,
        cache_read=max(0, cached - kept["AUDIO"]),
        cache_read_audio=min(cached, kept["AUDIO"]),
        audio_input=max(0, asked["AUDIO"] - kept["AUDIO"]),
        image_input=max(0, asked["IMAGE"] - kept["IMAGE"]),
        reasoning=thoughts,
        audio_output=came["AUDIO"],
        image_output=came["IMAGE"],
    )


def _kinds(told: Json, name: str) -> Counter[str]:
    """Tokens by what they were: TEXT, IMAGE, AUDIO, VIDEO, DOCUMENT."""
    found: Counter[str] = Counter()
    for item in objects(told.get(name)):
        found[str(item.get("modality"))] += count(item, "tokenCount")
    return found


class GeminiReader(EventReader):
    """Reads one answer into neutral deltas. Signatures leave it sealed, before the words they were sent with."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._id = f"turn{len(request.messages)}"  # of calls that have no id of their own
        self._told_id: str | None = None
        self._calls = 0
        self._thinking = False
        self._stop: StopReason | None = None

    def read(self, payload: bytes) -> Sequence[Delta]:
        chunk = decoded(payload)
        broken_by(chunk)
        if isinstance(chunk.get("responseId"), str):
            self._id = self._told_id = chunk["responseId"]
        found: list[Delta] = []
        for candidate in objects(chunk.get("candidates")):
            if candidate.get("index", 0) == 0:
                for part in objects(inner(candidate, "content").get("parts")):
                    found += self._part(part)
                self._ended(candidate.get("finishReason"))
        if inner(chunk, "promptFeedback").get("blockReason"):
            self._stop = "content_filter"
        if told := inner(chunk, "usageMetadata"):
            found.append(
                Counted(usage=usage_of(told), upstream_id=self._told_id, model=word(chunk.get("modelVersion")))
            )
        for candidate in objects(chunk.get("candidates")):
            if candidate.get("finishReason") in FAILED:
                raise Broken(f"It stopped with {candidate['finishReason']}.", deltas=tuple(found))
        return found

    def whole(self, body: bytes) -> list[Delta]:
        answer = decoded(body)
        if not answer.keys() & {"candidates", "promptFeedback", "error"}:
            raise ValueError("no candidates in an answer")
        return [*self.read(body), *self.finish()]

    def finish(self) -> Sequence[Delta]:
        """The stop is said last: whether there are calls is not part of the reason."""
        if self._stop is None:
            return ()
        reason: StopReason = "tool_calls" if self._calls and self._stop == "stop" else self._stop
        self._stop = None
        return (Stop(reason=reason),)

    def _ended(self, reason: object) -> None:
        if reason:
            self._stop = STOPS.get(reason, "stop")

    def _part(self, part: Json) -> list[Delta]:
        signature = part.get("thoughtSignature")
        sealed = seals.seal(DIALECT, signature) if isinstance(signature, str) and signature else None
        if call := inner(part, "functionCall"):
            self._thinking = False
            return self._called(call, sealed)
        if part.get("inlineData"):
            raise Broken("It answered with a picture or sound, which this model's other wires can't carry.")
        text = part.get("text")
        said = text if isinstance(text, str) else ""
        if part.get("thought") is True:
            self._thinking = sealed is None
            return [Reasoning(text=said, seal=sealed)] if said or sealed else []
        closing = [Reasoning(seal=sealed, redacted=not self._thinking)] if sealed else []
        self._thinking = False
        return [*closing, Text(text=said)] if said else [*closing]

    def _called(self, call: Json, sealed: str | None) -> list[Delta]:
        """A call, which has an id only where Google gives one."""
        own = call.get("id")
        id_ = own if isinstance(own, str) and own else f"call_{self._id}_{self._calls}"
        self._calls += 1
        arguments = compact(inner(call, "args"))
        return [CallBegun(id=id_, name=str(call.get("name") or ""), seal=sealed), CallArguments(id=id_, text=arguments)]


class GeminiMeter(EventMeter):
    """Looks on while Google's answer passes through. Its chunks are few and large: each is read."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._choices = request.choices
        self._hosted = bool(request.hosted)
        self._uses: Counter[str] = Counter()

    def marked(self, events: bytes) -> bool:
        return True

    def look(self, payload: bytes) -> bool:
        if payload:
            self._read(decoded(payload))
        return True

    def whole(self, body: bytes) -> bytes:
        self._read(decoded(body))
        return body

    def fail(self, fault: Fault) -> bytes:
        return gemini.broken(fault)

    def _read(self, chunk: Json) -> None:
        broken_by(chunk)
        if self._hosted:  # told once or again: the most is what it was
            self._uses |= Counter(hosted.in_gemini(objects(chunk.get("candidates")), chunk.get("modelVersion")))
        for candidate in objects(chunk.get("candidates")):
            self.heard += sum(map(_size, objects(inner(candidate, "content").get("parts"))))
            if candidate.get("finishReason"):
                self.reasons[str(candidate.get("index", 0))] = word(candidate["finishReason"]) or ""
        blocked = bool(inner(chunk, "promptFeedback").get("blockReason"))
        self.stopped = self.stopped or blocked or len(self.reasons) >= self._choices
        if told := inner(chunk, "usageMetadata"):
            id_ = chunk.get("responseId")
            self.counted = Counted(
                usage=usage_of(told),
                upstream_id=id_ if isinstance(id_, str) else None,
                hosted=dict(self._uses) or None,
                model=word(chunk.get("modelVersion")),
            )

    def _hear(self, whole: bytes) -> None:
        """Counted when it is read."""


def _size(part: Json) -> int:
    """Bytes of what a part says."""
    if call := inner(part, "functionCall"):
        return len(compact(call).encode())
    text = part.get("text")
    return len(text.encode()) if isinstance(text, str) else 0


def broken_by(chunk: Json) -> None:
    """Raise Broken if a chunk, or the whole answer, is an error."""
    error = chunk.get("error")
    if isinstance(error, dict):
        error = {name: value for name, value in error.items() if name != "status"}  # a name; the number is its code
    usage = inner(chunk, "usageMetadata")
    failures.broken_by(error, Counted(usage=usage_of(usage)) if usage else None)


GEMINI = Dialect(
    name=DIALECT,
    path=path,
    headers=headers,
    passed=passed,
    asked=None,
    meter=GeminiMeter,
    reader=GeminiReader,
    refused=failures.refused,
)
