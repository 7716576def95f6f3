"""What the benches' upstream answers and what it is asked: small, large, whole, streamed, in two dialects."""

import json
from collections.abc import Mapping
from typing import Any

EVENTS = 53
"""Of a streamed answer: a role, fifty tokens, a stop, the usage."""
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 50,
    "total_tokens": 170,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
TEXT = "A few words that a model might say, more than once. " * 8


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: object) -> bytes:
    """One event of a streamed chat answer."""
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "gpt-bench"}
    choices = [] if "usage" in more else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + _json({**head, "choices": choices, **more}) + b"\n\n"


ENDING = chunk({}, "stop") + chunk({}, usage=USAGE) + b"data: [DONE]\n\n"


def _whole() -> bytes:
    message = {"role": "assistant", "content": TEXT}
    head = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "gpt-bench"}
    return _json({**head, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE})


def _streamed() -> bytes:
    tokens = b"".join(chunk({"content": f"token{number} "}) for number in range(50))
    return chunk({"role": "assistant", "content": ""}) + tokens + ENDING


def _message() -> bytes:
    head = {"id": "msg_up", "type": "message", "role": "assistant", "model": "claude-bench", "stop_sequence": None}
    usage = {"input_tokens": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0, "output_tokens": 50}
    return _json({**head, "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "usage": usage})


ALL = {
    "v1/chat/completions": _whole(),
    "streamed/chat/completions": _streamed(),
    "v1/messages": _message(),
}
"""By their paths."""


def ask(model: str, **more: object) -> dict[str, Any]:
    """A small question."""
    return {"model": model, "messages": [{"role": "user", "content": "Hello there."}], "max_tokens": 100, **more}


def _tool(number: int) -> dict[str, Any]:
    field = {"type": "string", "description": "d" * 60, "enum": ["a", "b"]}
    properties = {f"p{one}": field for one in range(12)}
    parameters = {"type": "object", "properties": properties, "required": ["p1"], "additionalProperties": False}
    function = {"name": f"tool_{number}", "description": "What it is good for. " * 40, "parameters": parameters}
    return {"type": "function", "function": function}


def ask_much(model: str) -> dict[str, Any]:
    """An agent's hundredth turn with 25 tools: 127 KB."""
    turns = [{"role": ("user", "assistant")[turn % 2], "content": "hello " * 107} for turn in range(99)]
    return {"model": model, "messages": turns, "tools": [_tool(number) for number in range(25)]}


QUESTIONS = {
    "small": _json(ask("whole")),
    "streamed": _json(ask("streamed", stream=True)),
    "large": _json(ask_much("whole")),
    "translated": _json(ask("translated")),
}
"""Bodies by their scene."""
PROOFS = {"small": TEXT.strip(), "streamed": "token49", "large": TEXT.strip(), "translated": TEXT.strip()}
"""What stands in a good answer."""
