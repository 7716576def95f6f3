"""The Gemini wire: how generateContent asks and how it hears no. ai.google.dev/api/generate-content

Pure. The conversation is read next door in `gemini_parts`, tools in `gemini_tools`, answers are made in `gemini_face`.
The alias and the method stand in the path. Refusals use the statuses after which Gemini CLI does not ask again: 402 for
money, 400, 403 and 404 for what asking again can't change (measured; it asks ten times after a 429 or a 500).
"""

import re

from gateway.wires.fields import objects, positive, typed, unsupported, words
from gateway.wires.gemini_parts import Conversation
from gateway.wires.gemini_spelling import fields, inner, json_schema
from gateway.wires.gemini_tools import choice_of, tools_of
from gateway.wires.neutral import HERE, Address, Json, Request, compact, said
from gateway.wires.openai import UNNAMED, pictures
from kit.errors import Fault, Invalid, Missing, Refused

FIELDS = frozenset({
    "model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings",
    "cachedContent", "labels", "serviceTier", "store",
})  # fmt: skip
CONFIG = frozenset({
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "presencePenalty",
    "frequencyPenalty", "seed", "responseMimeType", "responseSchema", "responseJsonSchema", "responseLogprobs",
    "logprobs", "responseModalities", "mediaResolution", "thinkingConfig", "enableEnhancedCivicAnswers",
})  # fmt: skip
KEPT_HERE = ("model", "labels")
"""No provider is told: the one is the alias, the other steers a bill that is not the client's."""
SAME_DIALECT_ONLY = ("topK", "responseLogprobs", "logprobs", "mediaResolution", "enableEnhancedCivicAnswers")
MOST_CHOICES = 8
METHODS = {"generateContent": False, "streamGenerateContent": True, "countTokens": False}
_PATH = re.compile(r"/v1(?:beta)?/models/(?P<alias>.+):(?P<method>\w+)", re.ASCII)
_SAMPLING = {
    "temperature": "temperature", "topP": "top_p", "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty", "seed": "seed",
}  # fmt: skip
_THINKING = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
_LEVELS = ("minimal", "low", "medium", "high")
_SAFETY = frozenset({"category", "threshold"})
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def addressed(path: str, query: str) -> tuple[str, Address]:
    """The method that a path asks for, and its alias and stream; `path` is what follows `/gemini`, without escapes.

    A stream is asked for with `alt=sse`, as Google's SDKs do; the JSON array that comes without it is not served.
    """
    found = _PATH.fullmatch(path)
    if found is None or found["method"] not in METHODS:
        raise Missing(
            "no_such_route",
            f"There is no /gemini{path} here.",
            f"Ask /gemini/v1beta/models/ALIAS:METHOD, with one of {', '.join(METHODS)}.",
        )
    stream = METHODS[found["method"]]
    if stream and query in ("", "alt=json"):
        raise Invalid("not_supported_yet", "A stream as a JSON array is not supported yet.", "Ask with ?alt=sse.")
    if query not in ("", "alt=sse" if stream else "alt=json"):
        raise Invalid("field_not_allowed", "The address asks for something that is not here.", "Leave its query out.")
    return found["method"], Address(alias=found["alias"], stream=stream)


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request, checked to the bottom; Invalid names the field that is wrong."""
    fields(body, FIELDS, "here")
    _check_rest(body, address)
    talk = Conversation(body)
    tools, hosted, lost = tools_of(objects(body, "tools"))
    choice, offered, inexact = choice_of(body, tools)
    config = inner(body, "generationConfig", CONFIG) or {}
    thinking, effort = _thinking(config)
    media, media_bytes = pictures(talk.messages)
    return Request(
        alias=address.alias,
        messages=talk.messages,
        tools=offered,
        tool_choice=choice,
        stream=address.stream,
        max_output=positive(config, "maxOutputTokens"),
        choices=_choices(config),
        sampling=_sampling(config),
        effort=effort,
        thinking=thinking,
        format=_format(config),
        hosted=hosted,
        media=media,
        media_bytes=media_bytes,
        dropped=tuple(sorted(talk.foreign | lost | inexact | _dropped(body, config))),
        body=body,
    )


def _check_rest(body: Json, address: Address) -> None:
    if typed(body, "model", str) not in (None, address.alias, f"models/{address.alias}"):
        raise Invalid("field_invalid", "The field `model` is not the model of the address.", "Leave it out.")
    if typed(body, "cachedContent", str) is not None:
        raise unsupported("Content that was stored on the server (`cachedContent`)")
    if (typed(body, "serviceTier", str) or "").lower().removeprefix("service_tier_") not in (
        "", "standard", "unspecified",
    ):  # fmt: skip
        raise Invalid(
            "not_supported_yet",
            "A `serviceTier` other than standard is not supported: it has another price than the one that is reserved "
            "and billed.",
            "Leave it out.",
        )
    typed(body, "store", bool)
    for setting in objects(body, "safetySettings"):
        for name in fields(setting, _SAFETY, "in `safetySettings`"):
            typed(setting, name, str)
    for label in (typed(body, "labels", dict) or {}).values():
        typed({"labels": label}, "labels", str)


def _dropped(body: Json, config: Json) -> set[str]:
    found = {name for name in ("labels", "safetySettings", "serviceTier") if body.get(name)}
    if (config.get("thinkingConfig") or {}).get("includeThoughts") is not None:
        found.add("includeThoughts")
    return found | {name for name in SAME_DIALECT_ONLY if config.get(name) not in (None, False)}


def _choices(config: Json) -> int:
    choices = positive(config, "candidateCount") or 1
    if choices > MOST_CHOICES:
        raise Invalid("field_invalid", f"The field `candidateCount` must be at most {MOST_CHOICES}.")
    return choices


def _sampling(config: Json) -> Json:
    found = {ours: typed(config, name, int, float) for name, ours in _SAMPLING.items()}
    typed(config, "topK", int, float)
    typed(config, "logprobs", int)
    for name in ("responseLogprobs", "enableEnhancedCivicAnswers"):
        typed(config, name, bool)
    typed(config, "mediaResolution", str)
    if any(name.upper() != "TEXT" for name in words(config, "responseModalities")):
        raise unsupported("An answer in pictures or sound (`responseModalities`)")
    found["stop"] = words(config, "stopSequences") or None
    return {name: value for name, value in found.items() if value is not None}


def _thinking(config: Json) -> tuple[int | None, str | None]:
    """Tokens it may think, and its effort. No budget, or -1, leaves it to the model."""
    wanted = inner(config, "thinkingConfig", _THINKING) or {}
    typed(wanted, "includeThoughts", bool)
    budget = typed(wanted, "thinkingBudget", int)
    if budget is not None and budget < -1:
        raise Invalid("field_invalid", "The field `thinkingBudget` is below -1.")
    level = (typed(wanted, "thinkingLevel", str) or "").lower().removeprefix("thinking_level_")
    if level not in ("", "unspecified", *_LEVELS):
        raise Invalid("field_invalid", f"The level {level!r} is not known.", f"Send one of {', '.join(_LEVELS)}.")
    return (None if budget == -1 else budget), (level if level in _LEVELS else None)


def _format(config: Json) -> Json | None:
    """The wanted form of the answer, as Chat's `response_format`."""
    kind = typed(config, "responseMimeType", str)
    plain, schema = typed(config, "responseSchema", dict), typed(config, "responseJsonSchema", dict)
    if plain is not None and schema is not None:
        raise Invalid("field_invalid", "There are two schemas.", "Send `responseSchema` or `responseJsonSchema`.")
    if kind in (None, "", "text/plain"):
        if plain is not None or schema is not None:
            raise Invalid("field_invalid", "A schema is only for JSON.", "Set `responseMimeType` to application/json.")
        return None
    if kind != "application/json":
        raise unsupported(f"An answer as {kind!r}")
    if plain is None and schema is None:
        return {"type": "json_object"}
    wanted = schema if plain is None else json_schema(plain)
    return {"type": "json_schema", "json_schema": {"name": UNNAMED, "schema": wanted}}


def error(fault: Fault) -> Json:
    """Google's error object; our sentence is its message, our code its reason."""
    status = _status(fault)
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": fault.code, "domain": "preloop"}
    details: list[Json] = [reason]
    after_s = getattr(fault, "retry_after_s", None)
    if after_s is not None:  # Gemini CLI reads it here, and no header
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{after_s}s"})
    named = _STATUSES.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    return {"error": {"code": status, "message": said(fault), "status": named, "details": details}}


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer."""
    return _status(fault), compact(error(fault)).encode()


def broken(fault: Fault) -> bytes:
    """The end of a stream that broke: Google's SDKs take it bare, without `data:` before it."""
    return compact(error(fault)).encode()


def _status(fault: Fault) -> int:
    if fault.code == "budget_exceeded":
        return 402
    kinds: dict[type[Fault], int] = {Invalid: 400, Missing: 404, Refused: 403}
    return kinds.get(type(fault), fault.status)
