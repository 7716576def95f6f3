"""The OpenAI Chat Completions wire: platform.openai.com/docs/api-reference/chat.

Pure. Errors use the statuses that this wire's clients do not retry: 402 for money, 400 and 404 for what asking again
can't change (measured with OpenCode and Copilot). Neighbours: `chat_messages` reads the conversation, `chat_face`
answers.
"""

from gateway.wires.chat_face import ChatFace
from gateway.wires.chat_messages import message
from gateway.wires.fields import objects, only, positive, required, tool_name, typed, unsupported
from gateway.wires.neutral import HERE, Address, Json, Request, Tool, Wire
from gateway.wires.openai import (
    chosen,
    error,
    format_of,
    grammar,
    kind,
    mark,
    pictures,
    refusal,
    sampling,
    standard_tier,
    texts,
)
from kit.errors import Invalid

FIELDS = frozenset([
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop",
    "response_format", "reasoning_effort", "n", "store", "metadata", "user", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "verbosity", "service_tier", "logprobs", "top_logprobs",
    "logit_bias", "prediction", "modalities", "web_search_options",
])  # fmt: skip
KEPT_HERE = ("metadata", "safety_identifier", "user")
"""They speak in the operator's name, or steer a proxy: no provider is told."""
SAME_DIALECT_ONLY = (
    "logit_bias", "logprobs", "prediction", "prompt_cache_key", "prompt_cache_retention", "service_tier",
    "top_logprobs", "verbosity",
)  # fmt: skip
CUSTOM = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""What a custom tool, which takes free text, is offered as where there are only functions."""
MOST_CHOICES = 128
_DROPPED = frozenset({*KEPT_HERE, *SAME_DIALECT_ONLY})
_PLAIN = _DROPPED | {"store", "max_completion_tokens", "modalities"}
"""Without any of these there is nothing more to look at: most requests have none."""
_OPTIONS = frozenset({"include_usage", "include_obfuscation"})
_SEARCH = frozenset({"search_context_size", "user_location"})
_PLACE = frozenset({"type", "approximate"})
_APPROXIMATE = frozenset({"city", "country", "region", "timezone"})
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM = frozenset({"name", "description", "format"})
_PREDICTED = frozenset({"type", "content"})


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request, checked to the bottom; Invalid names the field that is wrong."""
    only(body, FIELDS)
    if not _PLAIN.isdisjoint(body):
        _plain(body)
    standard_tier(body)
    lost: set[str] = set()
    messages = tuple(message(item, lost) for item in objects(body, "messages"))
    tools = tuple(_tool(item) for item in objects(body, "tools"))
    choice, offered = _choice(typed(body, "tool_choice", str, dict), tools)
    media, media_bytes = pictures(messages)
    return Request(
        alias=required(body, "model", str),
        messages=messages,
        tools=offered,
        tool_choice=choice,
        parallel_calls=typed(body, "parallel_tool_calls", bool),
        stream=bool(typed(body, "stream", bool)),
        wants_usage=_wants_usage(body),
        max_output=positive(body, "max_completion_tokens", "max_tokens"),
        choices=_choices(body),
        sampling=sampling(body),
        effort=typed(body, "reasoning_effort", str),
        format=format_of(typed(body, "response_format", dict), "response_format"),
        hosted=_hosted(body),
        media=media,
        media_bytes=media_bytes,
        dropped=_dropped(body, tools, lost),
        body=body,
    )


def _plain(body: Json) -> None:
    """Fields that only a provider of this dialect reads: of the right type, and nothing else inside."""
    texts(body, *KEPT_HERE[1:], "prompt_cache_key", "prompt_cache_retention", "verbosity")
    typed(body, "metadata", dict)
    typed(body, "store", bool)
    typed(body, "logprobs", bool)
    typed(body, "top_logprobs", int)
    positive(body, "max_tokens")
    for token, bias in (typed(body, "logit_bias", dict) or {}).items():
        if not isinstance(bias, int | float) or not token.isdecimal():
            raise Invalid("field_invalid", "The field `logit_bias` must lead from token ids to numbers.")
    if typed(body, "modalities", list) not in (None, ["text"]):
        raise unsupported("Audio, and any other of the `modalities` than text,")
    predicted = typed(body, "prediction", dict)
    if predicted is not None:
        only(predicted, _PREDICTED, "in `prediction`")
        required(predicted, "type", str)
        message({"role": "user", "content": required(predicted, "content", str, list)}, set())


def _wants_usage(body: Json) -> bool:
    if "stream_options" not in body:
        return False
    options = typed(body, "stream_options", dict) or {}
    only(options, _OPTIONS, "in `stream_options`")
    typed(options, "include_obfuscation", bool)
    return bool(typed(options, "include_usage", bool))


def _choices(body: Json) -> int:
    choices = positive(body, "n") or 1
    if choices > MOST_CHOICES:
        raise Invalid("field_invalid", f"The field `n` must be at most {MOST_CHOICES}.")
    return choices


def _hosted(body: Json) -> tuple[str, ...]:
    """The one tool of this wire that runs at the provider."""
    options = typed(body, "web_search_options", dict)
    if options is None:
        return ()
    only(options, _SEARCH, "in `web_search_options`")
    texts(options, "search_context_size")
    place = typed(options, "user_location", dict) or {}
    only(place, _PLACE, "in a `user_location`")
    texts(place, "type")
    around = typed(place, "approximate", dict) or {}
    only(around, _APPROXIMATE, "in a `user_location`")
    texts(around, *_APPROXIMATE)
    return ("web_search",)


def _dropped(body: Json, tools: tuple[Tool, ...], lost: set[str]) -> tuple[str, ...]:
    found = lost | {name for name in _DROPPED.intersection(body) if body[name] not in (None, False)}
    if (body.get("stream_options") or {}).get("include_obfuscation"):
        found.add("stream_options.include_obfuscation")
    if any(tool.custom for tool in tools) and any(
        (item.get("custom") or {}).get("format") for item in objects(body, "tools")
    ):
        found.add("tools.format")
    return tuple(sorted(found))


def _tool(item: Json) -> Tool:
    name = required(item, "type", str)
    if name not in ("function", "custom"):
        raise unsupported(f"A tool of type {name!r}")
    only(item, frozenset({"type", name, "cache_control"}), "in a tool")
    inner = required(item, name, dict)
    only(inner, _FUNCTION if name == "function" else _CUSTOM, f"in a tool's `{name}`")
    own = tool_name(inner)
    grammar(inner)
    return Tool(
        name=own,
        own=own,
        description=typed(inner, "description", str) or "",
        parameters=CUSTOM if name == "custom" else typed(inner, "parameters", dict) or {},
        strict=typed(inner, "strict", bool),
        custom=name == "custom",
        cached=mark(item),
    )


def _choice(choice: str | Json | None, tools: tuple[Tool, ...]) -> tuple[str | None, tuple[Tool, ...]]:
    """The choice, and the tools it leaves."""
    if choice is None:
        return None, tools
    if isinstance(choice, str):
        return chosen(choice), tools
    name = required(choice, "type", str)
    if name not in ("function", "custom", "allowed_tools"):
        raise unsupported(f"A `tool_choice` of type {name!r}")
    only(choice, frozenset({"type", name}), "in `tool_choice`")
    inner = required(choice, name, dict)
    if name != "allowed_tools":
        return _named(inner), tools
    only(inner, frozenset({"mode", "tools"}), "in `tool_choice`")
    allowed = {_allowed(item) for item in objects(inner, "tools")}
    return chosen(required(inner, "mode", str)), tuple(tool for tool in tools if tool.name in allowed)


def _allowed(item: Json) -> str:
    name = required(item, "type", str)
    if name not in ("function", "custom"):
        raise unsupported(f"An allowed tool of type {name!r}")
    only(item, frozenset({"type", name}), "in `tool_choice`")
    return _named(required(item, name, dict))


def _named(inner: Json) -> str:
    only(inner, frozenset({"name"}), "in `tool_choice`")
    return str(required(inner, "name", str))


CHAT = Wire(name="chat", parse=parse, face=ChatFace, refusal=refusal)
__all__ = ["CHAT", "ChatFace", "error", "kind", "parse", "refusal"]
