"""The Anthropic Messages wire: how it asks and how it hears no. platform.claude.com/docs/en/api/messages

Pure. The conversation is read next door in `messages_blocks`, answers are made in `messages_face`. Refusals use the
statuses that Claude Code does not retry: 402 for money, 400 and 404 for what asking again can't change (it words a 403
as failed authentication, and asks eleven times after a 401 without `x-should-retry: false`; measured).
"""

import re

from gateway.wires.fields import objects, only, positive, required, tool_name, typed, unsupported, words
from gateway.wires.messages_blocks import marker, turns
from gateway.wires.neutral import HERE, Address, Json, Request, Tool, compact, said
from gateway.wires.openai import UNNAMED, pictures
from kit.errors import Fault, Invalid, Missing, Refused

FIELDS = frozenset([
    "model", "messages", "system", "max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "thinking", "output_config", "context_management", "service_tier",
    "cache_control",
])  # fmt: skip
COUNTED = frozenset([
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "context_management",
    "cache_control",
])  # fmt: skip
"""What `count_tokens` takes of it."""
MOST = 1 << 20
"""Output tokens, where nobody said how many: more than any model has."""
NOT_PASSED_ON = ("metadata", "top_k", "context_management", "service_tier", "cache_control")
BETAS = frozenset([
    "claude-code-20250219", "interleaved-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14",
    "token-efficient-tools-2025-02-19", "output-128k-2025-02-19", "context-management-2025-06-27",
    "effort-2025-11-24", "structured-outputs-2025-11-13", "extended-cache-ttl-2025-04-11", "prompt-caching-2024-07-31",
    "token-counting-2024-11-01", "adaptive-thinking-2026-01-28", "web-search-2025-03-05",
])  # fmt: skip
"""Values of `anthropic-beta` that reach a provider: they change neither a price nor what the provider reaches."""
CUSTOM = frozenset([
    "type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming", "defer_loading",
    "input_examples", "allowed_callers",
])  # fmt: skip
ALONE = ("eager_input_streaming", "defer_loading", "input_examples")
"""What a tool says to Anthropic alone."""
HOSTED = frozenset([
    "type", "name", "max_uses", "allowed_domains", "blocked_domains", "user_location", "cache_control",
])  # fmt: skip
EDITS = {
    "clear_tool_uses": ("trigger", "keep", "clear_at_least", "exclude_tools", "clear_tool_inputs"),
    "clear_thinking": ("keep",),
}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_CHOSEN = {"tool": ("name", "disable_parallel_tool_use"), "none": ()}
EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
_THINKING = {"enabled": ("budget_tokens", "display"), "adaptive": ("display",)}
_DATED = re.compile(r"_\d{8}\Z", re.ASCII)
_BETA = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a neutral request; Invalid names the field that is wrong."""
    only(body, FIELDS)
    messages, native = turns(body)
    tools, hosted, uses = _tools(objects(body, "tools"))
    choice, parallel = _choice(typed(body, "tool_choice", dict))
    effort, format_ = _output(typed(body, "output_config", dict))
    betas, unknown = _betas(address.headers.get("anthropic-beta", ""))
    _check_rest(body)
    media, media_bytes = pictures(messages)
    dropped = {name for name in NOT_PASSED_ON if body.get(name) is not None} | native | unknown | _untold(body)
    return Request(
        alias=required(body, "model", str),
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_calls=parallel,
        stream=bool(typed(body, "stream", bool)),
        max_output=positive(body, "max_tokens"),
        sampling=_sampling(body),
        effort=effort,
        thinking=_thinking(typed(body, "thinking", dict)),
        format=format_,
        hosted=hosted,
        hosted_most=uses,
        betas=betas,
        media=media,
        media_bytes=media_bytes,
        dropped=tuple(sorted(dropped)),
        body=body,
    )


def _tools(items: list[Json]) -> tuple[tuple[Tool, ...], tuple[str, ...], int | None]:
    """The client's own tools, the kinds of those that Anthropic defines or runs, and how often they may run at most."""
    own, hosted, uses = [], [], []
    for item in items:
        kind = typed(item, "type", str)
        if kind in (None, "custom"):
            own.append(_tool(item))
            continue
        only(item, HOSTED)
        marker(item)
        if (where := typed(item, "user_location", dict)) is not None:
            only(where, frozenset(["type", "city", "region", "country", "timezone"]))
        for name in ("allowed_domains", "blocked_domains"):
            words(item, name)
        uses.append(positive(item, "max_uses"))
        hosted.append(_DATED.sub("", kind))
    if len({tool.name for tool in own}) != len(own):
        raise Invalid("field_invalid", "Two tools have the same name.")
    return tuple(own), tuple(hosted), max((use for use in uses if use), default=None) if all(uses) else None


def _tool(item: Json) -> Tool:
    only(item, CUSTOM)
    if words(item, "allowed_callers") not in ([], ["direct"]):
        raise unsupported("A tool that code of the provider may call (`allowed_callers`)")
    objects(item, "input_examples")
    for name in ("eager_input_streaming", "defer_loading"):
        typed(item, name, bool)
    name = tool_name(item)
    return Tool(
        name=name,
        own=name,
        description=typed(item, "description", str) or "",
        parameters=required(item, "input_schema", dict),
        strict=typed(item, "strict", bool),
        cached=marker(item),
    )


def _untold(body: Json) -> set[str]:
    """What of tools and of thinking no other dialect has; adaptive thinking is its effort, if one is said."""
    found = {f"tools.{name}" for item in objects(body, "tools") for name in ALONE if item.get(name)}
    thinking = typed(body, "thinking", dict) or {}
    if thinking.get("type") == "adaptive" and not (body.get("output_config") or {}).get("effort"):
        found.add("thinking")
    if thinking.get("display"):
        found.add("thinking.display")
    return found


def _choice(choice: Json | None) -> tuple[str | None, bool | None]:
    if choice is None:
        return None, None
    kind = required(choice, "type", str)
    only(choice, frozenset(["type", *_CHOSEN.get(kind, ("disable_parallel_tool_use",))]))
    alone = typed(choice, "disable_parallel_tool_use", bool)
    parallel = None if alone is None else not alone
    if kind == "tool":
        return required(choice, "name", str), parallel
    if kind not in CHOICES:
        raise Invalid("field_invalid", f"The tool choice {kind!r} is not known.")
    return CHOICES[kind], parallel


def _output(config: Json | None) -> tuple[str | None, Json | None]:
    """Effort and structured output, the latter as Chat's `response_format`."""
    if config is None:
        return None, None
    only(config, frozenset(["effort", "format"]))
    effort = typed(config, "effort", str)
    if effort is not None and effort not in EFFORTS:
        raise Invalid("field_invalid", f"The effort {effort!r} is not known.", f"Send one of {', '.join(EFFORTS)}.")
    wanted = typed(config, "format", dict)
    if wanted is None:
        return EFFORTS.get(effort or ""), None
    only(wanted, frozenset(["type", "schema", "name"]))
    if wanted.get("type") != "json_schema":
        raise unsupported(f"An output format {wanted.get('type')!r}")
    schema = {"name": typed(wanted, "name", str) or UNNAMED, "schema": required(wanted, "schema", dict)}
    return EFFORTS.get(effort or ""), {"type": "json_schema", "json_schema": schema | {"strict": True}}


def _thinking(wanted: Json | None) -> int | None:
    """Tokens it may think; 0 not at all; None as many as the model likes, or what nobody said."""
    if wanted is None:
        return None
    kind = required(wanted, "type", str)
    only(wanted, frozenset(["type", *_THINKING.get(kind, ())]))
    if typed(wanted, "display", str) not in (None, "summarized", "omitted"):
        raise Invalid("field_invalid", "The field `display` is neither summarized nor omitted.")
    if kind == "enabled":
        return required(wanted, "budget_tokens", int) and positive(wanted, "budget_tokens")
    if kind not in ("adaptive", "disabled"):
        raise Invalid("field_invalid", f"Thinking can't be {kind!r}.", "Send enabled, adaptive or disabled.")
    return 0 if kind == "disabled" else None


def _sampling(body: Json) -> Json:
    found = {name: typed(body, name, int, float) for name in ("temperature", "top_p")}
    typed(body, "top_k", int)
    found["stop"] = words(body, "stop_sequences") or None
    return {name: value for name, value in found.items() if value is not None}


def _check_rest(body: Json) -> None:
    marker(body)
    if (metadata := typed(body, "metadata", dict)) is not None:
        only(metadata, frozenset(["user_id"]))
        typed(metadata, "user_id", str)
    if typed(body, "service_tier", str) not in (None, "auto", "standard_only"):
        raise unsupported("A `service_tier` other than auto or standard_only")
    managed = typed(body, "context_management", dict) or {}
    only(managed, frozenset(["edits"]))
    for edit in objects(managed, "edits"):
        _check_edit(edit)


def _check_edit(edit: Json) -> None:
    """Clearing is done to what was sent; compaction would be a second call that nobody counted."""
    kind = _DATED.sub("", required(edit, "type", str))
    if kind not in EDITS:
        raise unsupported(f"The context edit {kind!r}")
    only(edit, frozenset(["type", *EDITS[kind]]))
    for name in ("trigger", "keep", "clear_at_least"):
        if isinstance(edit.get(name), dict):
            only(edit[name], frozenset(["type", "value"]))
        else:
            typed(edit, name, str)
    words(edit, "exclude_tools")
    if not isinstance(edit.get("clear_tool_inputs"), bool):
        words(edit, "clear_tool_inputs")


def _betas(header: str) -> tuple[tuple[str, ...], set[str]]:
    """The values that are passed on, and what of the others can be told."""
    sent = [value.strip() for value in header.split(",") if value.strip()]
    others = {f"anthropic-beta:{value}" for value in sent if value not in BETAS and _BETA.fullmatch(value)}
    return tuple(value for value in dict.fromkeys(sent) if value in BETAS), others


def error(fault: Fault) -> Json:
    """Anthropic's error object; our sentence is its message, our code is told with it."""
    return {"type": "error", "error": {"type": _kind(fault), "message": f"{fault.code}: {said(fault)}"}}


def _kind(fault: Fault) -> str:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 404: "not_found_error"}
    kinds |= {429: "rate_limit_error", 503: "overloaded_error"}
    return kinds.get(_status(fault), "api_error")


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer."""
    return _status(fault), compact(error(fault)).encode()


def _status(fault: Fault) -> int:
    if fault.code == "budget_exceeded":
        return 402
    kinds: dict[type[Fault], int] = {Invalid: 400, Missing: 404, Refused: 400}
    return kinds.get(type(fault), fault.status)
