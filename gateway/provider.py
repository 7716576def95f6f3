"""Every real provider, through LiteLLM's translation. The one file that imports it, and only when a model needs it.

LiteLLM is kept off the network but for the call itself, retries nothing and logs nothing: attempts are ours to count.
Neighbours: `upstream` is the seam, `wires/neutral` the words.
"""

import functools
import os
from collections.abc import AsyncGenerator, AsyncIterator
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread

from gateway.upstream import Target, UpstreamFailed
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Message,
    Reasoning,
    Request,
    Stop,
    StopReason,
    Text,
    Tool,
)
from kit.ids import new_id
from kit.observe import log
from ledger.prices import Usage, of_totals

CONNECT_S = 600.0
CLOSE_S = 2.0
_STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class LiteLLM:
    """Speaks to whatever LiteLLM can."""

    async def stream(self, target: Target, request: Request) -> AsyncGenerator[Delta, None]:
        litellm = await anyio.to_thread.run_sync(_litellm)
        _register(target.provider, target.model)
        try:
            chunks = await litellm.acompletion(**_arguments(target, request))
        except Exception as error:  # LiteLLM's errors are of the provider's making and share no useful parent
            raise _failed(error, target) from error
        try:
            async for delta in _deltas(chunks):
                yield delta
        except Exception as error:
            raise _cut(error, target) from error
        finally:
            await _close(chunks)


@functools.cache
def _litellm() -> ModuleType:
    """Import it, once: seconds and 166 MB. It looks at two variables while it is imported."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}  # no price download, no .env file
    os.environ.update(quiet)  # noqa: TID251 - written, never read: LiteLLM has no other switch at import
    import litellm

    litellm.telemetry = False
    litellm.drop_params = True
    litellm.num_retries = 0
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.disable_streaming_logging = True
    module: ModuleType = litellm
    return module


@functools.cache
def _register(provider: str, model: str) -> None:
    """Tell LiteLLM that an unknown model streams, or it waits for the whole answer and only pretends to."""
    litellm = _litellm()
    name = f"{provider}/{model}"
    if model not in litellm.model_cost and name not in litellm.model_cost:
        known = {"litellm_provider": provider, "mode": "chat", "supports_native_streaming": True}
        litellm.register_model({name: known, model: known})


def _arguments(target: Target, request: Request) -> Json:
    """What `acompletion` is called with: nothing of the client's body but what the neutral request names."""
    settings = target.settings
    sent: Json = {
        "model": f"{target.provider}/{target.model}",
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": target.max_output(request),
        "num_retries": 0,
        "max_retries": 0,
        "timeout": CONNECT_S,
        "api_base": settings.base_url,
        "api_key": settings.api_key.get_secret_value() if settings.api_key else None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request) if request.tools else None,
        "parallel_tool_calls": request.parallel_calls if request.tools else None,
        "reasoning_effort": request.effort,
        "response_format": request.format,
        **request.sampling,
    }
    return {name: value for name, value in sent.items() if value is not None}


def _message(message: Message) -> Json:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    sent: Json = {"role": message.role, "content": message.text}
    if message.calls:
        sent["content"] = message.text or None
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    return sent


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(request: Request) -> str | Json | None:
    if request.tool_choice in (None, "auto", "none", "required"):
        return request.tool_choice
    return {"type": "function", "function": {"name": request.tool_choice}}


async def _deltas(chunks: AsyncIterator[Any]) -> AsyncGenerator[Delta, None]:
    """LiteLLM's chunks, which are OpenAI's whatever the provider, as neutral deltas; the stop comes last."""
    calls: dict[int, str] = {}
    stop: StopReason | None = None
    async for chunk in chunks:
        if usage := getattr(chunk, "usage", None):
            yield Counted(usage=_usage(usage), upstream_id=getattr(chunk, "id", None))
        for choice in chunk.choices:
            if thought := getattr(choice.delta, "reasoning_content", None):
                yield Reasoning(text=thought)
            if choice.delta.content:
                yield Text(text=choice.delta.content)
            for call in choice.delta.tool_calls or ():
                for delta in _called(call, calls):
                    yield delta
            if choice.finish_reason:
                stop = _STOPS.get(choice.finish_reason, "stop")
    if stop is not None:
        yield Stop(reason=stop)


def _called(call: Any, calls: dict[int, str]) -> list[Delta]:  # noqa: ANN401 - LiteLLM's object
    """Deltas of one piece of a tool call; `calls` maps its place to our id of it."""
    found: list[Delta] = []
    another = call.id and call.function.name and call.id != calls.get(call.index)  # some count every call as the first
    if call.index not in calls or another:
        calls[call.index] = call.id or new_id("call")
        found.append(CallBegun(id=calls[call.index], name=call.function.name or ""))
    if call.function.arguments:
        found.append(CallArguments(id=calls[call.index], text=call.function.arguments))
    return found


def _usage(usage: Any) -> Usage:  # noqa: ANN401 - LiteLLM's object
    """LiteLLM counts cached tokens into the prompt and reasoning into the completion, for every provider."""
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    return of_totals(
        total_input=usage.prompt_tokens or 0,
        total_output=usage.completion_tokens or 0,
        cache_read=getattr(prompt, "cached_tokens", None) or 0,
        cache_write=getattr(prompt, "cache_creation_tokens", None) or 0,
        reasoning=getattr(completion, "reasoning_tokens", None) or 0,
    )


def _failed(error: Exception, target: Target) -> UpstreamFailed:
    """What the client may know: that it failed and how, never the provider's address or words about our key."""
    answered = getattr(error, "status_code", None)
    reached = type(error).__name__ not in ("APIConnectionError", "Timeout")
    log.warning(
        "upstream failed", alias=target.alias, provider=target.provider, kind=type(error).__name__, status=answered
    )
    if answered == 400:
        return UpstreamFailed(f"The provider refused the request: {_words(error)}", answered=400)
    if answered == 429:
        return UpstreamFailed("The provider is asked too often.", answered=429, retry_after_s=_retry_after(error))
    status = answered if reached and isinstance(answered, int) else None
    code = "upstream_stalled" if type(error).__name__ == "Timeout" else "upstream_failed"
    return UpstreamFailed(
        f"The model behind {target.alias!r} failed ({type(error).__name__}).", code=code, answered=status
    )


def _cut(error: Exception, target: Target) -> UpstreamFailed:
    """An error in the middle. LiteLLM wraps it; a refusal that only comes with the first chunk is still a refusal."""
    cause = getattr(error, "original_exception", None) or error
    answered = getattr(cause, "status_code", None)
    if isinstance(answered, int) and 400 <= answered < 500:
        return _failed(cause, target)
    log.warning("upstream cut", alias=target.alias, provider=target.provider, kind=type(cause).__name__)
    return UpstreamFailed(f"The answer of {target.alias!r} was cut off ({type(cause).__name__}).", code="upstream_cut")


def _words(error: Exception) -> str:
    text = str(getattr(error, "message", error))
    return text.removeprefix("litellm.BadRequestError: ")[:500]


def _retry_after(error: Exception) -> int | None:
    headers = getattr(error, "litellm_response_headers", None)
    value = headers.get("retry-after") if headers else None
    return int(value) if value and value.isdigit() else None


async def _close(chunks: Any) -> None:  # noqa: ANN401 - LiteLLM's object
    if close := getattr(chunks, "aclose", None):
        with anyio.move_on_after(CLOSE_S, shield=True):
            await close()
