"""A neutral request as LiteLLM's parameters: Chat Completions' with what its transforms read beside them.

Pure. `maker` is whose seals may be opened: a dialect, or `via<provider>` for what LiteLLM calls by itself. What does
not fit is named in `dropped`, or refused where it would change what was asked. Neighbour: `provider` feeds LiteLLM.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.dialects import schemas
from gateway.dialects.chat_asked import file, told
from gateway.wires import seals
from gateway.wires.documents import Document
from gateway.wires.messages_blocks import DIALECT, PICTURES, native
from gateway.wires.neutral import (
    Call,
    Image,
    Json,
    Message,
    Part,
    Request,
    Result,
    Said,
    Thought,
    Tool,
    compact,
)
from gateway.wires.openai import UNNAMED
from kit.errors import Invalid

MESSAGES, GEMINI = DIALECT, "gemini"
AGAIN = "preloop again"
MOST_CALLS = 256
"""Of one turn: LiteLLM looks through all of them for each result."""
MORE_PICTURES = ("image/heic", "image/heif")


def via(provider: str) -> str:
    """Who makes the seals of a provider that LiteLLM calls by itself."""
    return "via" + "".join(letter for letter in provider.lower() if "a" <= letter <= "z")


class Conversation:
    """The messages of a request for one maker, and the names of what was left out."""

    def __init__(self, request: Request, maker: str) -> None:
        self._maker = maker
        self._names = {call.id: call.name for message in request.messages for call in message.calls}
        self.dropped: set[str] = set()
        self._said: set[tuple[str, str]] = set()
        self._called = 0
        self.messages = [made for message in request.messages for made in self._message(message)]

    def _message(self, message: Message) -> list[Json]:
        if message.role != "assistant":
            self._said, self._called = set(), 0
        if message.role == "tool":
            return [self._result(part) for part in message.parts if isinstance(part, Result)]
        if message.role == "assistant":
            turns = [self._turn(parts) for parts in self._segments(message.parts)]
            return [turn for turn in turns if len(turn) > 1]
        content = self._content(message.parts)
        return [{"role": message.role, "content": content}] if content else []

    def _content(self, parts: Iterable[Part]) -> str | list[Json]:
        """Text, or parts where there is more to it than text."""
        spoken = [
            part for part in parts if isinstance(part, Image | Document) or (isinstance(part, Said) and part.text)
        ]
        if len(spoken) == 1 and isinstance(spoken[0], Said) and not spoken[0].cached:
            return spoken[0].text
        return [self._part(part) for part in spoken]

    def _part(self, part: Said | Image | Document) -> Json:
        if isinstance(part, Document):
            self.dropped.update(part.beside)
            return {"type": "file", "file": file(part)} | self._marker(part.cached)
        if isinstance(part, Said):
            return {"type": "text", "text": part.text} | self._marker(part.cached)
        picture: Json = {"url": self._address(part)}
        if part.detail and self._maker == GEMINI:
            picture["detail"] = part.detail
        elif part.detail not in (None, "auto"):
            self.dropped.add("detail")
        return {"type": "image_url", "image_url": picture} | self._marker(part.cached)

    def _address(self, image: Image) -> str:
        """A data URL. An address is only for those who follow it themselves: LiteLLM would fetch it here."""
        if image.url is not None:
            if self._maker == MESSAGES and image.url.startswith("https://"):
                return image.url
            raise Invalid(
                "image_not_carried",
                "This model takes no picture by its address.",
                "Send the picture itself, as base64.",
            )
        known = (*PICTURES, *MORE_PICTURES) if self._maker == GEMINI else PICTURES
        if image.media_type not in known or not image.data:
            raise Invalid("image_not_carried", f"This model takes no picture of type {image.media_type!r}.")
        return f"data:{image.media_type};base64,{image.data}"

    def _marker(self, cached: object) -> Json:
        if cached is None:
            return {}
        if self._maker == GEMINI:
            self.dropped.add("cache_control")
            return {}
        return {"cache_control": cached}

    def _result(self, result: Result) -> Json:
        content: str | list[Json] = self._content(result.parts)
        if result.failed and self._maker != MESSAGES:
            said = compact({"error": result.text}) if self._maker == GEMINI else told(result)
            pictures = [part for part in result.parts if isinstance(part, Image)]
            content = self._content([Said(text=said), *pictures])
        made: Json = {"role": "tool", "tool_call_id": result.call_id, "content": content or ""}
        if name := self._names.get(result.call_id):
            made["name"] = name
        return made | self._marker(result.cached)

    def _segments(self, parts: tuple[Part, ...]) -> list[list[Part]]:
        """Runs of thoughts, texts and calls in this order: each is a message of its own, and they are joined again."""
        found: list[list[Part]] = [[]]
        last = 0
        for part in parts:
            place = 0 if isinstance(part, Thought) else 2 if isinstance(part, Call) else 1
            if place < last:
                found.append([])
            found[-1].append(part)
            last = place
        return found

    def _turn(self, parts: list[Part]) -> Json:
        made: Json = {"role": "assistant"}
        thoughts = [thought for part in parts if isinstance(part, Thought) and (thought := self._thought(part))]
        said = [part for part in parts if isinstance(part, Said)]
        if content := self._content(said):
            made["content"] = content
        if thoughts and self._maker == GEMINI and made.get("content"):  # there a signature hangs on one text
            made["content"] = "".join(part.text for part in said)
            made["provider_specific_fields"] = {"thought_signatures": thoughts}
        elif thoughts and self._maker == GEMINI:
            self.dropped.add("reasoning")
        elif thoughts:
            made["thinking_blocks"] = thoughts
        if calls := [part for part in parts if isinstance(part, Call)]:
            made |= {"content": made.get("content"), "tool_calls": self._calls(calls)}
        return made

    def _calls(self, calls: list[Call]) -> list[Json]:
        """Gemini's transform takes two calls that are alike for one: the second is marked (`mended` unmarks it). It
        joins assistant messages that follow each other, so the calls of all of them count as one turn."""
        begun, self._called = self._called, self._called + len(calls)
        if (self._called if self._maker == GEMINI else len(calls)) > MOST_CALLS:
            raise Invalid("too_many_calls", f"More than {MOST_CALLS} calls in one turn can't be put to this model.")
        made = [self._call(call) for call in calls]
        for place, call in enumerate(made, begun):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            if self._maker == GEMINI and f'"{AGAIN}"' in arguments:
                raise Invalid("argument_reserved", f"An argument called {AGAIN!r} can't be put to this model.")
            if self._maker == GEMINI and (name, arguments) in self._said:
                again = compact(json.loads(arguments) | {AGAIN: place})
                call["function"] = {"name": name, "arguments": again}
            self._said.add((name, arguments))
        return made

    def _thought(self, thought: Thought) -> Any:  # noqa: ANN401 - Anthropic's block or Gemini's signature
        """What its maker can read of it; nobody else is told what a model thought."""
        gemini = self._maker == GEMINI
        own = seals.unseal(GEMINI, thought.seal) if gemini else native(thought.text, thought.seal, self._maker)
        if not own:
            self.dropped.add("reasoning")
        return own

    def _call(self, call: Call) -> Json:
        arguments = call.arguments.strip() or "{}"
        if not _object(arguments):
            self.dropped.add("malformed arguments")
            arguments = compact({"arguments": call.arguments})
        made: Json = {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        own = seals.unseal(self._maker, call.seal)
        if own and self._maker == GEMINI:
            made["provider_specific_fields"] = {"thought_signature": own}
        elif call.seal:
            self.dropped.add("signature")
        return made


def options(request: Request, max_output: int) -> Json:
    """Everything else: bounds, tools, sampling, thinking; only what was asked for."""
    asked: Json = {
        "max_tokens": max_output,
        "tools": [_tool(tool, tool.parameters) for tool in request.tools] or None,
        "tool_choice": _choice(request) if request.tools else None,
        "parallel_tool_calls": request.parallel_calls if request.tools else None,
        "response_format": request.format,
        **request.sampling,
    }
    if request.thinking:
        asked["thinking"] = {"type": "enabled", "budget_tokens": request.thinking}
    else:
        asked["reasoning_effort"] = "none" if request.thinking == 0 else request.effort
    return {name: value for name, value in asked.items() if value is not None}


def stubbed(request: Request, max_output: int) -> Json:
    """The same with a stub for each schema: `mended` puts them back."""
    asked = options(request, max_output)
    if request.tools:
        asked["tools"] = [_tool(tool, {}) for tool in request.tools]
    if schemas.of_answer(request):
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": UNNAMED, "schema": _stub()}}
    return asked


def _stub() -> Json:
    """One of its own for each place: the transforms write into what they are given."""
    return copy.deepcopy(schemas.STUB)


def _tool(tool: Tool, parameters: Mapping[str, Any]) -> Json:
    function: Json = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(parameters) or _stub(),
    }
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(request: Request) -> str | Json | None:
    if request.tool_choice in (None, "auto", "none", "required"):
        return request.tool_choice
    return {"type": "function", "function": {"name": request.tool_choice}}


def _object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
