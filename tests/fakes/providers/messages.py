"""Anthropic's Messages, as api.anthropic.com speaks them."""

import json
from collections.abc import Iterator, Mapping

from tests.fakes.providers.manner import ARGUMENTS, CACHED, INPUT, SAID, THOUGHT, Asked, Json, Manner

START = {
    "input_tokens": INPUT,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": CACHED,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 1,
    "service_tier": "standard",
}
USAGE = START | {"output_tokens": SAID + THOUGHT, "output_tokens_details": {"thinking_tokens": THOUGHT}}
COUNTED = 4242
KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 500: "api_error"}


def asked(body: Json, path: str) -> Asked:
    turns = [(message["role"], _blocks(message["content"])) for message in body["messages"]]
    said = [_text(blocks) for role, blocks in turns if role == "user" and _text(blocks)]
    results = [block for block in turns[-1][1] if block["type"] == "tool_result"]
    return Asked(
        model=body["model"],
        text=said[-1] if said else "",
        tools=tuple(tool["name"] for tool in body.get("tools", ())),
        result=_text(_blocks(results[-1].get("content", ""))) if results else None,
        stream=body.get("stream", False),
    )


def _blocks(content: object) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)  # type: ignore[call-overload]


def _text(blocks: list[Json]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def whole(said: Asked) -> Json:
    return _message(said, USAGE) | {"content": [_content(said)], "stop_reason": _stop(said)}


def pieces(said: Asked) -> Iterator[bytes]:
    yield _event({"type": "message_start", "message": _message(said, START)})
    nothing: Json = {"input": {}} if said.calls else {"text": ""}
    empty = _content(said) | nothing
    yield _event({"type": "content_block_start", "index": 0, "content_block": empty})
    yield _event({"type": "ping"})
    for delta in _deltas(said):
        yield _event({"type": "content_block_delta", "index": 0, "delta": delta})
    yield _event({"type": "content_block_stop", "index": 0})
    ended = {"stop_reason": _stop(said), "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": ended, "usage": USAGE})
    yield _event({"type": "message_stop"})


def _deltas(said: Asked) -> list[Json]:
    if said.calls:
        parts = ("", '{"recipient": ', '"alice", "amo', 'unt": 3}')
        return [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return [{"type": "text_delta", "text": word} for word in said.words]


def refusal(status: int, sentence: str) -> Json:
    return {"type": "error", "error": {"type": KINDS[status], "message": sentence}, "request_id": "req_up"}


def _key(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key", "")


def _content(said: Asked) -> Json:
    if said.calls:
        return {"type": "tool_use", "id": "toolu_up1", "name": said.calls, "input": ARGUMENTS}
    return {"type": "text", "text": "".join(said.words)}


def _stop(said: Asked) -> str:
    return "tool_use" if said.calls else "end_turn"


def _message(said: Asked, usage: Json) -> Json:
    head = {"id": f"msg_{said.number}", "type": "message", "role": "assistant", "model": said.model, "content": []}
    return head | {"stop_reason": None, "stop_sequence": None, "usage": usage}


def _event(payload: Json) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()


MESSAGES = Manner(name="messages", asked=asked, whole=whole, pieces=pieces, refusal=refusal, key=_key)
