"""LiteLLM. The one file that imports it, and only when a model needs it.

Two things are asked of it: to turn a request into Anthropic's or Gemini's words (`transformed`: no network, no address
followed), and to call a provider that speaks no dialect of ours (`LiteLLM`: retries nothing, logs nothing, attempts are
ours to count). Neighbours: `dialects/params` is what it is fed, `dialects/mended` what is made of its bodies.
"""

import functools
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from gateway.dialects import mended, schemas
from gateway.dialects.counts import tokens
from gateway.dialects.failures import retry_after_s, told
from gateway.dialects.params import GEMINI, Conversation, options, stubbed, via
from gateway.dialects.reasons import reason
from gateway.dialects.told import word
from gateway.keys import Keys
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.fields import unsupported
from gateway.wires.messages_blocks import REDACTED
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
)
from gateway.wires.seals import seal
from kit.clock import Clock
from kit.errors import Invalid
from kit.ids import new_id
from kit.observe import log

CONNECT_S = 600.0
CLOSE_S = 2.0
ABILITIES = ("native_streaming", "system_messages", "response_schema")
HINT = "Look for calls without results, results without calls, and odd names of tools."
_STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class LiteLLM:
    """Speaks to whatever LiteLLM can."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def told(self, target: Target, request: Request) -> tuple[tuple[str, ...], int]:
        """What of a request this provider is not told, and how many bytes it is at most; Invalid where what is missing
        would change what was asked."""
        litellm = await _loaded()
        if request.hosted:
            raise unsupported(f"The provider's own tool {request.hosted[0]!r} through LiteLLM")
        conversation = Conversation(request, via(target.provider))
        taken = litellm.get_supported_openai_params(target.model, target.provider) or ()
        asked = options(request, 1)
        unknown = {name for name in asked if name not in (*taken, "max_tokens")}
        size = len(msgspec.json.encode([conversation.messages, asked]))
        size += schemas.growth([*(dict(tool.parameters) for tool in request.tools), schemas.of_answer(request)])
        return tuple(sorted({*request.dropped, *conversation.dropped, *unknown})), size

    async def stream(self, target: Target, request: Request) -> AsyncGenerator[Delta, None]:
        litellm = await _loaded()
        _register(target.provider, target.model)
        key = self._keys.of(target.settings)
        try:
            chunks = await litellm.acompletion(**_arguments(target, request, key))
        except Exception as error:  # LiteLLM's errors are of the provider's making and share no useful parent
            raise _failed(error, target, key) from error
        try:
            async for delta in _deltas(chunks, via(target.provider)):
                yield delta
        except Exception as error:
            raise _cut(error, target, key) from error
        finally:
            await _close(chunks)


async def transformed(dialect: str, request: Request, model: str, max_output: int) -> tuple[Json, tuple[str, ...]]:
    """A request of another wire in the words of `messages` or `gemini`, and the names of what they can't carry.

    Invalid: what can't be left out without changing what was asked. Only the first import takes time, in a thread.
    """
    litellm = await _loaded()
    if request.choices > 1:
        raise unsupported("More than one answer from a model of another wire")
    if request.hosted:
        raise unsupported(f"The provider's own tool {request.hosted[0]!r} at a model of another wire")
    conversation = Conversation(request, dialect)
    asked = stubbed(request, max_output)
    try:
        make = _gemini if dialect == GEMINI else _anthropic
        body = make(litellm, conversation.messages, dict(asked), model)
    except Exception as error:  # LiteLLM's errors share no useful parent, and their words may quote the conversation
        log.warning("request not translated", dialect=dialect, kind=type(error).__name__)
        raise Invalid("not_translatable", f"This request can't be put to a {dialect} model.", HINT) from error
    mend = mended.gemini if dialect == GEMINI else mended.anthropic
    body, dropped = mend(body, request, asked, max_output)
    return body, tuple(sorted({*request.dropped, *conversation.dropped, *dropped}))


def _anthropic(litellm: ModuleType, messages: list[Json], asked: Json, model: str) -> Json:
    config = litellm.AnthropicConfig()
    asked.pop("response_format", None)
    if asked.get("reasoning_effort") == "xhigh" and not config._supports_effort_level(model, "xhigh", "anthropic"):
        asked["reasoning_effort"] = "high"
    mapped = config.map_openai_params(asked, {}, model, drop_params=True)
    renamed: Json = {}
    body: Json = config.transform_request(model, messages, mapped, renamed, {})
    if renamed:
        raise ValueError("a tool's name has characters that Anthropic does not take")
    return body


def _gemini(litellm: ModuleType, messages: list[Json], asked: Json, model: str) -> Json:
    from litellm.llms.vertex_ai.gemini.transformation import transform_request_body

    _register("gemini", model)
    mapped = litellm.GoogleAIStudioGeminiConfig().map_openai_params(asked, {}, model, drop_params=True)
    body: Json = dict(transform_request_body(messages, model, mapped, "gemini", {}, None))
    return body


async def _loaded() -> ModuleType:
    """LiteLLM; a thread is only worth it for the first time."""
    return _litellm() if _litellm.cache_info().currsize else await anyio.to_thread.run_sync(_litellm)


@functools.cache
def _litellm() -> ModuleType:
    """Import it, once: seconds and 166 MB. It looks at two variables while it is imported."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}  # no price download, no .env file
    os.environ.update(quiet)  # noqa: TID251 - written, never read: LiteLLM has no other switch at import
    import litellm

    logging.getLogger("LiteLLM").setLevel(logging.ERROR)  # its advice is for whoever wrote the request
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
    """Tell LiteLLM that an unknown model streams, or it waits for the whole answer and only pretends to.

    And that it knows system messages and schemas, or it writes both among the user's words.
    """
    litellm = _litellm()
    name = f"{provider}/{model}"
    if model not in litellm.model_cost and name not in litellm.model_cost:
        known = {"litellm_provider": provider, "mode": "chat"} | {f"supports_{ability}": True for ability in ABILITIES}
        litellm.register_model({name: known, model: known})


def _arguments(target: Target, request: Request, key: str | None) -> Json:
    """What `acompletion` is called with: nothing of the client's body but what the neutral request names."""
    settings = target.settings
    conversation = Conversation(request, via(target.provider))
    sent: Json = {
        "model": f"{target.provider}/{target.model}",
        "messages": conversation.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        "timeout": CONNECT_S,
        "api_base": settings.base_url,
        "api_key": key,
        **options(request, target.max_output(request)),
    }
    return {name: value for name, value in sent.items() if value is not None}


async def _deltas(chunks: AsyncIterator[Any], maker: str) -> AsyncGenerator[Delta, None]:
    """LiteLLM's chunks, which are OpenAI's whatever the provider, as neutral deltas; the stop comes last."""
    calls: dict[int, str] = {}
    stop: StopReason | None = None
    async for chunk in chunks:
        if usage := getattr(chunk, "usage", None):
            id_, model = getattr(chunk, "id", None), word(getattr(chunk, "model", None))
            yield Counted(usage=tokens(usage.model_dump()), upstream_id=id_, model=model)
        for choice in chunk.choices:
            for thought in _thoughts(choice.delta, maker):
                yield thought
            if choice.delta.content:
                yield Text(text=choice.delta.content)
            for call in choice.delta.tool_calls or ():
                for delta in _called(call, calls):
                    yield delta
            if choice.finish_reason:
                stop = _STOPS.get(choice.finish_reason, "stop")
    if stop is not None:
        yield Stop(reason=stop)


def _thoughts(delta: Any, maker: str) -> list[Delta]:  # noqa: ANN401 - LiteLLM's object
    """What it thinks aloud, and the signatures that close its thoughts."""
    found: list[Delta] = []
    if text := getattr(delta, "reasoning_content", None):
        found.append(Reasoning(text=text))
    for block in getattr(delta, "thinking_blocks", None) or ():
        if block.get("type") == "redacted_thinking" and block.get("data"):
            found.append(Reasoning(seal=seal(maker, REDACTED + block["data"]), redacted=True))
        elif block.get("signature"):
            found.append(Reasoning(seal=seal(maker, block["signature"])))
    return found


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


def _failed(error: Exception, target: Target, key: str | None) -> UpstreamFailed:
    """What the client may know: that it failed and how, never the provider's address or words about our key."""
    answered = getattr(error, "status_code", None)
    reached = type(error).__name__ not in ("APIConnectionError", "Timeout")
    log.warning(
        "upstream failed", alias=target.alias, provider=target.provider, kind=type(error).__name__, status=answered
    )
    why = reason(answered, str(error)) if reached and isinstance(answered, int) and answered >= 400 else None
    if answered == 400:
        return UpstreamFailed(f"The provider refused the request: {told(_words(error), key)}", answered=400, reason=why)
    if answered == 429:
        wait_s = _retry_after(error)
        return UpstreamFailed("The provider is asked too often.", answered=429, retry_after_s=wait_s, reason=why)
    status = answered if reached and isinstance(answered, int) else None
    code = "upstream_stalled" if type(error).__name__ == "Timeout" else "upstream_failed"
    return UpstreamFailed(
        f"The model behind {target.alias!r} failed ({type(error).__name__}).", code=code, answered=status, reason=why
    )


def _cut(error: Exception, target: Target, key: str | None) -> UpstreamFailed:
    """An error in the middle. LiteLLM wraps it; a refusal that only comes with the first chunk is still a refusal."""
    cause = getattr(error, "original_exception", None) or error
    answered = getattr(cause, "status_code", None)
    if isinstance(answered, int) and 400 <= answered < 500:
        return _failed(cause, target, key)
    log.warning("upstream cut", alias=target.alias, provider=target.provider, kind=type(cause).__name__)
    return UpstreamFailed(f"The answer of {target.alias!r} was cut off ({type(cause).__name__}).", code="upstream_cut")


def _words(error: Exception) -> str:
    return str(getattr(error, "message", error)).removeprefix("litellm.BadRequestError: ")


def _retry_after(error: Exception) -> int | None:
    headers = getattr(error, "litellm_response_headers", None)
    return retry_after_s(headers, Clock().now()) if headers else None


async def _close(chunks: Any) -> None:  # noqa: ANN401 - LiteLLM's object
    if close := getattr(chunks, "aclose", None):
        with anyio.move_on_after(CLOSE_S, shield=True):
            await close()
