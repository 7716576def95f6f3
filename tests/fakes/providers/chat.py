"""OpenAI's Chat Completions and Embeddings, as api.openai.com speaks them."""

import base64
import json
import struct
from collections.abc import Iterator, Mapping

from tests.fakes.providers.manner import ARGUMENTS, CACHED, INPUT, SAID, THOUGHT, Asked, Json, Manner

VECTOR = (0.25, -0.5, 1.0)
USAGE = {
    "prompt_tokens": INPUT + CACHED,
    "completion_tokens": SAID + THOUGHT,
    "total_tokens": INPUT + CACHED + SAID + THOUGHT,
    "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": THOUGHT,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def asked(body: Json, path: str) -> Asked:
    last = body["messages"][-1]
    said = [_text(message["content"]) for message in body["messages"] if message["role"] == "user"]
    return Asked(
        model=body["model"],
        text=said[-1] if said else "",
        tools=tuple(tool["function"]["name"] for tool in body.get("tools", ())),
        result=_text(last["content"]) if last["role"] == "tool" else None,
        stream=body.get("stream", False),
    )


def _text(content: object) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)  # type: ignore[attr-defined]


def whole(said: Asked) -> Json:
    message: Json = {"role": "assistant", "content": "".join(said.words), "refusal": None, "annotations": []}
    if said.calls:
        message |= {"content": None, "tool_calls": [_call(said.calls, json.dumps(ARGUMENTS))]}
    finish = "tool_calls" if said.calls else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _head(said) | {"object": "chat.completion", "choices": [choice], "usage": USAGE}


def pieces(said: Asked) -> Iterator[bytes]:
    yield _chunk(said, {"role": "assistant", "content": "" if not said.calls else None, "refusal": None})
    if said.calls:
        yield _chunk(said, {"tool_calls": [{"index": 0} | _call(said.calls, "")]})
        for part in ('{"recipient":', '"alice","amo', 'unt":3}'):
            yield _chunk(said, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        for word in said.words:
            yield _chunk(said, {"content": word})
    yield _chunk(said, {}, "tool_calls" if said.calls else "stop")
    yield _sse(_head(said) | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


def embeddings(body: Json) -> Json:
    """Vectors for the texts, packed when that was asked for, as the SDK does."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    packed = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    vector = packed if body.get("encoding_format") == "base64" else list(VECTOR)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, _ in enumerate(texts)]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def refusal(status: int, sentence: str) -> Json:
    kind = "rate_limit_exceeded" if status == 429 else "invalid_request_error"
    return {"error": {"message": sentence, "type": kind, "param": None, "code": kind if status == 429 else None}}


def bearer(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def _call(name: str, arguments: str) -> Json:
    return {"id": "call_up1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _head(said: Asked) -> Json:
    return {
        "id": f"chatcmpl-{said.number}",
        "created": 1_760_000_000,
        "model": said.model,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def _chunk(said: Asked, delta: Json, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    payload = {"object": "chat.completion.chunk", "choices": [choice], "usage": None, "obfuscation": "kD"}
    return _sse(_head(said) | payload)


def _sse(payload: Json) -> bytes:
    return f"data: {json.dumps(payload)}\n\n".encode()


CHAT = Manner(name="chat", asked=asked, whole=whole, pieces=pieces, refusal=refusal, key=bearer)
