"""OpenAI's Responses, as api.openai.com speaks them."""

import json
from collections.abc import Iterator

from tests.fakes.providers import chat
from tests.fakes.providers.manner import ARGUMENTS, CACHED, INPUT, SAID, THOUGHT, Asked, Json, Manner

USAGE = {
    "input_tokens": INPUT + CACHED,
    "input_tokens_details": {"cached_tokens": CACHED},
    "output_tokens": SAID + THOUGHT,
    "output_tokens_details": {"reasoning_tokens": THOUGHT},
    "total_tokens": INPUT + CACHED + SAID + THOUGHT,
}


def asked(body: Json, path: str) -> Asked:
    items = [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]
    said = [_text(item["content"]) for item in items if item.get("role") == "user"]
    last = items[-1]
    return Asked(
        model=body["model"],
        text=said[-1] if said else "",
        tools=tuple(tool["name"] for tool in body.get("tools") or ()),
        result=_text(last["output"]) if last.get("type") == "function_call_output" else None,
        stream=body.get("stream", False),
    )


def _text(content: object) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)  # type: ignore[attr-defined]


def whole(said: Asked) -> Json:
    return _response(said, "completed", [_item(said)])


def pieces(said: Asked) -> Iterator[bytes]:
    for number, event in enumerate(_events(said)):
        payload = event | {"sequence_number": number}
        yield f"event: {event['type']}\ndata: {json.dumps(payload)}\n\n".encode()


def _events(said: Asked) -> Iterator[Json]:
    item, empty = _item(said), _item(said, begun=True)
    yield {"type": "response.created", "response": _response(said, "in_progress", [])}
    yield {"type": "response.in_progress", "response": _response(said, "in_progress", [])}
    yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
    yield from _call(said, item["id"]) if said.calls else _text_events(said, item["id"])
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": _response(said, "completed", [item])}


def _call(said: Asked, id_: str) -> Iterator[Json]:
    at = {"item_id": id_, "output_index": 0}
    for part in ('{"recipient":', '"alice","amo', 'unt":3}'):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": part, "obfuscation": "kD"}
    arguments = json.dumps(ARGUMENTS, separators=(",", ":"))
    yield {"type": "response.function_call_arguments.done", **at, "arguments": arguments}


def _text_events(said: Asked, id_: str) -> Iterator[Json]:
    at = {"item_id": id_, "output_index": 0, "content_index": 0}
    yield {"type": "response.content_part.added", **at, "part": _part("")}
    for word in said.words:
        yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": [], "obfuscation": "kD"}
    text = "".join(said.words)
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": _part(text)}


def _item(said: Asked, *, begun: bool = False) -> Json:
    status = "in_progress" if begun else "completed"
    if said.calls:
        arguments = "" if begun else json.dumps(ARGUMENTS, separators=(",", ":"))
        call = {"id": "fc_up", "type": "function_call", "status": status, "call_id": "call_up1"}
        return call | {"name": said.calls, "arguments": arguments}
    content = [] if begun else [_part("".join(said.words))]
    return {"id": "msg_up", "type": "message", "status": status, "role": "assistant", "content": content}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response(said: Asked, status: str, output: list[Json]) -> Json:
    nothing = ("error", "incomplete_details", "instructions", "max_output_tokens", "previous_response_id", "user")
    return {
        **dict.fromkeys(nothing),
        "id": f"resp_{said.number}",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "model": said.model,
        "output": output,
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": USAGE if status == "completed" else None,
        "metadata": {},
    }


RESPONSES = Manner(name="responses", asked=asked, whole=whole, pieces=pieces, refusal=chat.refusal, key=chat.bearer)
