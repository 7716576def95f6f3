"""How a Responses provider is asked: a checked body passed on, or a neutral request written out.

Pure. Nothing is stored and nothing stored is referred to: items lose the ids under which a server would look them up.
"""

from collections.abc import Iterator

from gateway.dialects import hosted
from gateway.dialects.chat_asked import address, file, lost, told, translatable
from gateway.wires.documents import Document
from gateway.wires.neutral import Call, Image, Json, Message, Part, Request, Result, Said, Thought, Tool
from gateway.wires.responses import ENCRYPTED, KEPT_HERE
from gateway.wires.seals import maker, unseal

_SAMPLED = frozenset({"temperature", "top_p"})


def passed(request: Request, model: str, max_output: int) -> Json:
    """The body that the client sent, for a provider of the same dialect."""
    body = {name: value for name, value in request.body.items() if name not in KEPT_HERE and value is not None}
    body |= {"model": model, "max_output_tokens": max_output, "store": False}
    if request.hosted:
        body["max_tool_calls"] = hosted.most(request)
    if isinstance(body.get("input"), list):
        body["input"] = [sent for item in body["input"] if (sent := _item(item))]
    return body


def asked(request: Request, model: str, max_output: int) -> tuple[Json, tuple[str, ...]]:
    """A request of another wire for a provider of this dialect, and what it can't carry."""
    translatable(request)
    thinks = request.effort is not None or any(map(_ours, request.parts))
    body: Json = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": max_output,
        "store": False,
        "stream": request.stream or None,
        "reasoning": {"effort": request.effort} if request.effort else None,
        "include": [ENCRYPTED] if thinks else None,
        "text": _format(request),
        **{name: value for name, value in request.sampling.items() if name in _SAMPLED},
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _choice(request.tool_choice)
        body["parallel_tool_calls"] = request.parallel_calls
    dropped = lost(request, "responses") | (request.sampling.keys() - _SAMPLED)
    return {name: value for name, value in body.items() if value is not None}, tuple(sorted(dropped))


def _item(item: Json) -> Json | None:
    """An item as the client sent it, less what points to a server's memory or comes from another provider."""
    if item.get("type") == "reasoning":
        return _reasoning(item)
    return {name: value for name, value in item.items() if name != "id"} if "id" in item else item


def _reasoning(item: Json) -> Json | None:
    """A thought with its own provider's ciphertext. Without it there is nothing that a provider could read."""
    sealed = item.get("encrypted_content")
    content = unseal("responses", sealed) if maker(sealed) else sealed
    if not content:
        return None
    bare = {name: value for name, value in item.items() if name not in ("id", "status")}
    return bare | {"encrypted_content": content}


def _items(message: Message) -> Iterator[Json]:
    """One message as items: what an assistant says, thinks and calls are items of their own here."""
    for part in message.parts:
        if isinstance(part, Result):
            yield {"type": "function_call_output", "call_id": part.call_id, "output": _output(part)}
        elif isinstance(part, Call):
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
        elif isinstance(part, Thought) and _ours(part):
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            content = unseal("responses", part.seal)
            yield {"type": "reasoning", "summary": summary, "encrypted_content": content}
        elif message.role == "assistant" and isinstance(part, Said):
            yield {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": part.text}]}
    if message.role in ("user", "system"):
        yield {"type": "message", "role": message.role, "content": [_content(part) for part in message.parts]}


def _output(result: Result) -> str | list[Json]:
    if any(isinstance(part, Image) for part in result.parts):
        failed: list[Part] = [Said(text="Error:")] if result.failed and told(result) != result.text else []
        return [_content(part) for part in [*failed, *result.parts]]
    return told(result)


def _content(part: Part) -> Json:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": address(part), "detail": part.detail or "auto"}
    if isinstance(part, Document):
        return {"type": "input_file", **file(part)}
    return {"type": "input_text", "text": part.text if isinstance(part, Said) else ""}


def _ours(part: Part) -> bool:
    return isinstance(part, Thought) and bool(unseal("responses", part.seal))


def _tool(tool: Tool) -> Json:
    """`strict` is said in any case: this dialect takes a missing one for true."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": bool(tool.strict),
    }


def _choice(choice: str | None) -> str | Json | None:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "name": choice}


def _format(request: Request) -> Json | None:
    """Chat's `response_format` as `text.format`."""
    if request.format is None:
        return None
    return {"format": {"type": request.format.get("type"), **(request.format.get("json_schema") or {})}}
