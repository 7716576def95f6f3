"""How a Chat Completions provider is asked: a checked body passed on, or a neutral request written out.

Pure. What the dialect has no room for is named, not lost: cache markers and other providers' thoughts are drops, more
than one choice is an error.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from gateway.wires.chat import KEPT_HERE
from gateway.wires.chat_thoughts import own
from gateway.wires.documents import PDF, Document
from gateway.wires.fields import unsupported
from gateway.wires.neutral import Call, Image, Json, Message, Part, Request, Result, Said, Thought, Tool
from gateway.wires.seals import maker, unseal

_TOTAL = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-(?:[5-9]|[1-9]\d))", re.ASCII)
"""OpenAI's models that think: they take `max_completion_tokens` only. Many other servers take `max_tokens` only."""
_SEALED = (Call, Thought)
_OURS = frozenset({"stream_options", "max_tokens", "max_completion_tokens", *KEPT_HERE})


def passed(request: Request, model: str, max_output: int) -> Json:
    """The body that the client sent, for a provider of the same dialect."""
    body = {name: value for name, value in request.body.items() if name not in _OURS and value is not None}
    body |= {"model": model, _bound(request.body, model): max_output}
    if "store" in body:
        body["store"] = False
    if request.stream:
        options = request.body.get("stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}
    if any(isinstance(part, _SEALED) and maker(part.seal) for part in request.parts):
        body["messages"] = [_unsealed(message) for message in body["messages"]]
    return body


def asked(request: Request, model: str, max_output: int) -> tuple[Json, tuple[str, ...]]:
    """A request of another wire for a provider of this dialect, and what it can't carry."""
    translatable(request)
    body: Json = {
        "model": model,
        "messages": list(_messages(request.messages)),
        _bound({}, model): max_output,
        "reasoning_effort": request.effort,
        "response_format": request.format,
        **request.sampling,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _choice(request.tool_choice)
        body["parallel_tool_calls"] = request.parallel_calls
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return {name: value for name, value in body.items() if value is not None}, tuple(sorted(lost(request, "chat")))


def translatable(request: Request) -> None:
    """Refuse what no translation carries: several choices, and tools that run at a provider of the client's dialect."""
    if request.hosted:
        raise unsupported(f"The provider's own tool {request.hosted[0]!r} at a model of another wire")
    if request.choices > 1:
        raise unsupported("More than one choice (`n`) from a provider of another wire")


def lost(request: Request, dialect: str) -> set[str]:
    """What neither of OpenAI's dialects has a place for."""
    found = set(request.dropped)
    if request.thinking is not None and request.effort is None:
        found.add("thinking")
    if any(tool.cached for tool in request.tools):
        found.add("cache_control")
    for part in request.parts:
        if isinstance(part, Thought) and unseal(dialect, part.seal) is None:
            found.add("reasoning")
        elif isinstance(part, Call) and part.seal and unseal(dialect, part.seal) is None:
            found.add("signature")
        elif isinstance(part, Said | Image | Document | Result) and _marked(part):
            found.add("cache_control")
        if isinstance(part, Document):
            found.update(part.beside)
    return found


def _marked(part: Said | Image | Document | Result) -> bool:
    return bool(part.cached) or (isinstance(part, Result) and any(inner.cached for inner in part.parts))


def _bound(sent: Json, model: str) -> str:
    """The field that bounds the answer: the one that the model is known to take, or the client's."""
    if _TOTAL.match(model) or sent.get("max_completion_tokens") is not None:
        return "max_completion_tokens"
    return "max_tokens"


def _unsealed(message: Json) -> Json:
    """A message whose thoughts and calls carry their own provider's signatures, and no other's."""
    message = own(message)
    calls = message.get("tool_calls")
    if not calls:
        return message
    return message | {"tool_calls": [_own(call) for call in calls]}


def _own(call: Json) -> Json:
    google = (call.get("extra_content") or {}).get("google") or {}
    sealed = google.get("thought_signature")
    if maker(sealed) is None:
        return call
    bare = {name: value for name, value in call.items() if name != "extra_content"}
    return bare | _signature(sealed)


def _signature(sealed: str | None) -> Json:
    signature = unseal("chat", sealed)
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _messages(messages: Iterable[Message]) -> Iterator[Json]:
    """Results that show pictures are followed by a user's message with them: a tool's message has no room for any."""
    for role, group in groupby(messages, key=lambda message: message.role):
        shown: list[Json] = []
        for message in group:
            if role == "tool":
                yield _result(message, shown)
            elif role == "assistant":
                yield _assistant(message)
            else:
                yield {"role": role, "content": _content(message.parts)}
        if shown:
            yield {"role": "user", "content": shown}


def _result(message: Message, shown: list[Json]) -> Json:
    parts = [part for result in message.parts if isinstance(result, Result) for part in result.parts]
    pictures = [_image(part) for part in parts if isinstance(part, Image)]
    if pictures:
        shown += [{"type": "text", "text": f"Shown by the tool call {message.call_id}:"}, *pictures]
    said = "".join(told(part) for part in message.parts if isinstance(part, Result))
    return {"role": "tool", "tool_call_id": message.call_id, "content": said}


def told(result: Result) -> str:
    """A result in words alone: that it failed is said where it does not say so itself."""
    text = result.text
    if not result.failed or text.lower().startswith("error"):
        return text
    return f"Error: {text}" if text else "Error"


def _assistant(message: Message) -> Json:
    text = message.text
    sent: Json = {"role": "assistant", "content": text or None}
    thoughts = [part.text for part in message.parts if isinstance(part, Thought) and _ours(part)]
    if thoughts:
        sent["reasoning_content"] = "".join(thoughts)
    if message.calls:
        sent["tool_calls"] = [_call(call) for call in message.calls]
    elif not text:
        sent["content"] = ""
    return sent


def _ours(thought: Thought) -> bool:
    return unseal("chat", thought.seal) is not None


def _call(call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, **_signature(call.seal)}


def _content(parts: tuple[Part, ...]) -> str | list[Json]:
    """Text as one string where that is all there is: the form that every server reads."""
    if all(isinstance(part, Said) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Said))
    return [made for part in parts if (made := _shown(part))]


def _shown(part: Part) -> Json | None:
    match part:
        case Said(text=text):
            return {"type": "text", "text": text}
        case Image():
            return _image(part)
        case Document():
            return {"type": "file", "file": file(part)}
    return None


def _image(image: Image) -> Json:
    shown: Json = {"url": address(image)}
    if image.detail:
        shown["detail"] = image.detail
    return {"type": "image_url", "image_url": shown}


def file(document: Document) -> Json:
    """A PDF as OpenAI's dialects write it; there it must have a name."""
    name = document.name or "document.pdf"
    return {"filename": name, "file_data": f"data:{PDF};base64,{document.data}"}


def address(image: Image) -> str:
    """A picture as OpenAI's dialects write it: an address that only the provider follows, or the data itself."""
    return image.url or f"data:{image.media_type};base64,{image.data}"


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: str | None) -> str | Json | None:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}
