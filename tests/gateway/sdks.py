"""The official SDKs as their users hold them, unpatched: one conversation each, with or without streaming."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anthropic
import openai
from google import genai
from google.genai import errors, types

PARAMETERS: Any = {
    "type": "object",
    "properties": {"recipient": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["recipient", "amount"],
    "additionalProperties": False,
}
ROOM = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the SDK made of an answer. `counts` are the tokens it was told of, (all read, all written)."""

    text: str
    calls: tuple[tuple[str, Any], ...] = ()
    counts: tuple[int | None, int | None]


class Failed(Exception):
    """The Responses SDK raises nothing when a stream breaks: its last event is a response that says so, and why."""


class Talk(Protocol):
    """A conversation."""

    async def ask(self, text: str) -> Reply: ...

    async def give(self, result: str) -> Reply:
        """What the tool brought that was called last."""


class ChatTalk:
    """`openai`, Chat Completions."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, *, stream: bool, tool: bool) -> None:
        self._client = client
        function = {"name": "pay", "description": "Pay.", "parameters": PARAMETERS, "strict": True}
        self._more: Any = {"model": model} | ({"tools": [{"type": "function", "function": function}]} if tool else {})
        self._stream = stream
        self._messages: list[Any] = []

    async def ask(self, text: str) -> Reply:
        return await self._turn({"role": "user", "content": text})

    async def give(self, result: str) -> Reply:
        call = self._messages[-1]["tool_calls"][0]["id"]
        return await self._turn({"role": "tool", "tool_call_id": call, "content": result})

    async def _turn(self, message: Any) -> Reply:
        self._messages.append(message)
        completion: Any = await self._completion()
        said = completion.choices[0].message
        self._messages.append(said.to_dict())
        calls = tuple((call.function.name, json.loads(call.function.arguments)) for call in said.tool_calls or ())
        assert completion.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        counts = (completion.usage.prompt_tokens, completion.usage.completion_tokens)
        return Reply(text=said.content or "", calls=calls, counts=counts)

    async def _completion(self) -> Any:
        completions = self._client.chat.completions
        if not self._stream:
            return await completions.create(messages=self._messages, **self._more)
        usage: Any = {"include_usage": True}
        async with completions.stream(messages=self._messages, stream_options=usage, **self._more) as stream:
            return await stream.get_final_completion()


class ResponsesTalk:
    """`openai`, Responses."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, *, stream: bool, tool: bool) -> None:
        self._client = client
        function = {"type": "function", "name": "pay", "description": "Pay.", "parameters": PARAMETERS, "strict": True}
        self._more: Any = {"model": model} | ({"tools": [function]} if tool else {})
        self._stream = stream
        self._items: list[Any] = []

    async def ask(self, text: str) -> Reply:
        return await self._turn({"role": "user", "content": text})

    async def give(self, result: str) -> Reply:
        call = self._items[-1]["call_id"]
        return await self._turn({"type": "function_call_output", "call_id": call, "output": result})

    async def _turn(self, item: Any) -> Reply:
        self._items.append(item)
        response: Any = await self._response()
        assert response.status == "completed"
        self._items += [_bare(item.to_dict()) for item in response.output]
        calls = tuple(
            (item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"
        )
        counts = (response.usage.input_tokens, response.usage.output_tokens)
        return Reply(text=response.output_text, calls=calls, counts=counts)

    async def _response(self) -> Any:
        if not self._stream:
            return await self._client.responses.create(input=self._items, **self._more)
        async with self._client.responses.stream(input=self._items, **self._more) as stream:
            async for event in stream:
                if event.type == "response.failed" and event.response.error:
                    raise Failed(event.response.error.message)
            return await stream.get_final_response()


def _bare(value: Any) -> Any:
    """Without what the streaming helpers add for their users: OpenAI's own server does not know it either."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _bare(item) for name, item in value.items() if name not in ("parsed", "parsed_arguments")}


class MessagesTalk:
    """`anthropic`, Messages."""

    def __init__(self, client: anthropic.AsyncAnthropic, model: str, *, stream: bool, tool: bool) -> None:
        self._client = client
        offered = [{"name": "pay", "description": "Pay.", "input_schema": PARAMETERS}]
        self._more: Any = {"model": model, "max_tokens": ROOM} | ({"tools": offered} if tool else {})
        self._stream = stream
        self._messages: list[Any] = []

    async def ask(self, text: str) -> Reply:
        return await self._turn(text)

    async def give(self, result: str) -> Reply:
        call = self._messages[-1]["content"][-1].id
        return await self._turn([{"type": "tool_result", "tool_use_id": call, "content": result}])

    async def _turn(self, content: Any) -> Reply:
        self._messages.append({"role": "user", "content": content})
        message: Any = await self._message()
        self._messages.append({"role": "assistant", "content": message.content})
        calls = tuple((block.name, block.input) for block in message.content if block.type == "tool_use")
        assert message.stop_reason == ("tool_use" if calls else "end_turn")
        text = "".join(block.text for block in message.content if block.type == "text")
        read = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        return Reply(text=text, calls=calls, counts=(read, message.usage.output_tokens))

    async def _message(self) -> Any:
        if not self._stream:
            return await self._client.messages.create(messages=self._messages, **self._more)
        async with self._client.messages.stream(messages=self._messages, **self._more) as stream:
            return await stream.get_final_message()


class GeminiTalk:
    """`google-genai`, with its own keeping of the conversation."""

    def __init__(self, client: genai.Client, model: str, *, stream: bool, tool: bool) -> None:
        declared = types.FunctionDeclaration(name="pay", description="Pay.", parameters_json_schema=PARAMETERS)
        tools: Any = [types.Tool(function_declarations=[declared])] if tool else None
        self._chat = client.aio.chats.create(model=model, config=types.GenerateContentConfig(tools=tools))
        self._stream = stream

    async def ask(self, text: str) -> Reply:
        return await self._turn(text)

    async def give(self, result: str) -> Reply:
        return await self._turn(types.Part.from_function_response(name="pay", response={"result": result}))

    async def _turn(self, said: Any) -> Reply:
        if self._stream:
            chunks = [chunk async for chunk in await self._chat.send_message_stream(said)]
        else:
            chunks = [await self._chat.send_message(said)]
        candidates = [candidate for chunk in chunks for candidate in chunk.candidates or ()]
        parts: list[Any] = [part for one in candidates if one.content for part in one.content.parts or ()]
        assert candidates[-1].finish_reason == types.FinishReason.STOP
        used: Any = chunks[-1].usage_metadata
        written = (used.candidates_token_count or 0) + (used.thoughts_token_count or 0)
        return Reply(
            text="".join(part.text or "" for part in parts),
            calls=tuple((part.function_call.name, part.function_call.args) for part in parts if part.function_call),
            counts=(used.prompt_token_count, written),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """One official SDK. `error` is what it raises; `talk` takes the client, a model, `stream` and `tool`."""

    name: str
    error: tuple[type[Exception], ...]
    client: Callable[[str, str, int], Any]  # origin, token, retries
    talk: Callable[..., Talk]

    @asynccontextmanager
    async def open(self, origin: str, token: str, *, retries: int = 0) -> AsyncIterator[Any]:
        """A client as its users make it; with `retries` it would try again."""
        client = self.client(origin, token, retries)
        try:
            yield client
        finally:
            await (client.aio.aclose() if isinstance(client, genai.Client) else client.close())


def _openai(origin: str, token: str, retries: int) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{origin}/openai/v1", api_key=token, max_retries=retries)


def _anthropic(origin: str, token: str, retries: int) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=f"{origin}/anthropic", api_key=token, max_retries=retries)


def _google(origin: str, token: str, retries: int) -> genai.Client:
    again = types.HttpRetryOptions(attempts=retries + 1)
    options = types.HttpOptions(base_url=f"{origin}/gemini", retry_options=again)
    return genai.Client(api_key=token, vertexai=False, http_options=options)


OPENAI_CHAT = Sdk(name="openai-chat", error=(openai.APIError,), client=_openai, talk=ChatTalk)
OPENAI_RESPONSES = Sdk(name="openai-responses", error=(openai.APIError, Failed), client=_openai, talk=ResponsesTalk)
ANTHROPIC = Sdk(name="anthropic", error=(anthropic.APIError,), client=_anthropic, talk=MessagesTalk)
GOOGLE = Sdk(name="google-genai", error=(errors.APIError,), client=_google, talk=GeminiTalk)
SDKS = (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, GOOGLE)
