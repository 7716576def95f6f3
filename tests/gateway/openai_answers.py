"""Answers as real servers of OpenAI's dialects send them, and the deltas that they mean."""

import json
from typing import Any

from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Dialect
from gateway.dialects.responses import RESPONSES
from gateway.wires.chat import CHAT as CHAT_WIRE
from gateway.wires.neutral import (
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Reasoning,
    Request,
    Stop,
    Text,
    Wire,
)
from gateway.wires.responses_face import RESPONSES as RESPONSES_WIRE
from gateway.wires.seals import seal
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(), stream=True)
QUIET = Request(alias="default", messages=(), stream=True, wants_usage=False)
SPOKEN: tuple[tuple[Wire, Dialect], ...] = ((CHAT_WIRE, CHAT), (RESPONSES_WIRE, RESPONSES))
USED = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
USAGE = Usage(input=100, cache_read=20, output=20, reasoning=10)


def chunk(delta: Json | None = None, *, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    """As OpenAI sends it when usage was asked for: `usage` is in every chunk, null until the last."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    payload = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": choices, "usage": None} | more
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def piece(index: int, arguments: str, **begun: Any) -> Json:
    name = {"name": begun.pop("name")} if "name" in begun else {}
    return {"tool_calls": [{"index": index, "function": name | {"arguments": arguments}, **begun}]}


DONE = b"data: [DONE]\n\n"
TRICKY = 'say "usage":{"prompt_tokens":1} [DONE] "finish_reason":"stop" "error":{} response.completed \n\n data: x'
LAST_THOUGHT = chunk({"reasoning": "see."})
THINKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning": "see."}),
]
CALLS = [
    chunk(piece(0, "", id="c1", type="function", name="look")),
    chunk(piece(0, '{"at":')),
    chunk(piece(1, "", id="c2", type="function", name="pay", extra_content={"google": {"thought_signature": "S"}})),
    chunk(piece(1, "{}")),
    chunk(piece(0, "1}")),
]
TAIL = [chunk({}, finish="tool_calls"), chunk(None, usage=USED), DONE]
STREAM = b": OPENROUTER PROCESSING\n\n" + b"".join([*THINKS, chunk({"content": TRICKY}), *CALLS, *TAIL])
DELTAS: list[Delta] = [
    Reasoning(text="Let me "),
    Reasoning(text="see."),
    Reasoning(seal=seal("chat", "")),
    Text(text=TRICKY),
    CallBegun(id="c1", name="look"),
    CallArguments(id="c1", text='{"at":'),
    CallBegun(id="c2", name="pay", seal=seal("chat", "S")),
    CallArguments(id="c2", text="{}"),
    CallArguments(id="c1", text="1}"),
    Counted(usage=USAGE, upstream_id="chatcmpl-1"),
    Stop(reason="tool_calls"),
]


def event(type_: str, **fields: Any) -> bytes:
    return f"event: {type_}\ndata: {json.dumps({'type': type_, 'sequence_number': 3, **fields})}\n\n".encode()


RESPONDED = {
    "id": "resp_1",
    "status": "completed",
    "error": None,
    "usage": {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 150,
    },
}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Let me"}, {"type": "summary_text", "text": "see."}],
    "encrypted_content": "CIPHER",
}
MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": TRICKY}]}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "pay",
    "namespace": "ns",
    "arguments": '{"at":1}',
}
EVENTS = b"".join([
    event("response.created", response={"id": "resp_1", "status": "in_progress"}),
    event("response.output_item.added", item={"type": "reasoning", "id": "rs_1", "summary": []}),
    event("response.reasoning_summary_text.delta", item_id="rs_1", summary_index=0, delta="Let me"),
    event("response.reasoning_summary_text.delta", item_id="rs_1", summary_index=1, delta="see."),
    event("response.output_item.done", item=THOUGHT),
    event("response.output_text.delta", item_id="msg_1", delta=TRICKY),
    event("response.output_item.done", item=MESSAGE),
    event("response.output_item.added", item=CALL | {"arguments": ""}),
    event("response.function_call_arguments.delta", item_id="fc_1", delta='{"at":'),
    event("response.function_call_arguments.delta", item_id="fc_1", delta="1}"),
    event("response.output_item.done", item=CALL),
    event("response.completed", response=RESPONDED),
])  # fmt: skip
RESPONSE = json.dumps(RESPONDED | {"output": [THOUGHT, MESSAGE, CALL]}).encode()
SAID: list[Delta] = [
    Reasoning(text="Let me"),
    Reasoning(text="\n\nsee."),
    Reasoning(seal=seal("responses", "CIPHER")),
    Text(text=TRICKY),
    CallBegun(id="c1", name="ns__pay"),
    CallArguments(id="c1", text='{"at":'),
    CallArguments(id="c1", text="1}"),
    Counted(usage=USAGE, upstream_id="resp_1"),
    Stop(reason="tool_calls"),
]
RECORDED = [(CHAT, STREAM, DELTAS), (RESPONSES, EVENTS, SAID)]


def fed(dialect: Dialect, *pieces: bytes) -> list[Delta]:
    reader = dialect.reader(ASKED)
    return [delta for data in (*pieces, b"") for delta in reader.feed(data)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces; none of them is empty."""
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def joined(deltas: list[Delta]) -> list[object]:
    """What was said, however it was cut: neighbours of one kind together, calls by id, no seals or ids of answers."""
    found: list[object] = []
    calls: dict[str, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, Text | Reasoning):
            if not delta.text:
                continue
            last = found[-1] if found else None
            if isinstance(last, list) and last[0] is type(delta):
                last[1] += delta.text
            else:
                found.append([type(delta), delta.text])
        elif isinstance(delta, CallBegun):
            calls[delta.id] = [delta.name, ""]
            found.append(calls[delta.id])
        elif isinstance(delta, CallArguments):
            calls[delta.id][1] += delta.text
        else:
            found.append(delta.usage if isinstance(delta, Counted) else delta)
    return found


def kept(deltas: list[Delta]) -> dict[str, object]:
    """What a whole answer keeps on every wire: all text, all thought, the calls, the usage and the reason to stop."""
    said = joined(deltas)
    lists = [item for item in said if isinstance(item, list)]
    return {
        "text": "".join(item[1] for item in lists if item[0] is Text),
        "calls": [item for item in lists if isinstance(item[0], str)],
        "rest": [item for item in said if not isinstance(item, list)],
    }
