"""Wires with a search that runs at the provider: how it is asked for, what a provider answers after two searches."""

from dataclasses import dataclass
from typing import Any

USES_NANO = 10_000_000
WINDOW = 1_000
TOKENS_NANO = 100 * 2_500 + 10 * 10_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """One wire, how it asks for a search, and what its provider answers after two of them."""

    wire: str
    path: str
    tool: str
    asked: dict[str, Any]
    answer: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    uses: int = 2

    @property
    def stream_path(self) -> str:
        return self.path.replace(":generateContent", ":streamGenerateContent?alt=sse")


def responded(**more: Any) -> dict[str, Any]:
    searches = [{"type": "web_search_call", "action": {"type": kind}} for kind in ("search", "open_page", "search")]
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
    return {"id": "resp_1", "status": "completed", "output": [*searches, said], "usage": usage} | more


def _grounded(model: str) -> dict[str, Any]:
    candidate = {
        "content": {"role": "model", "parts": [{"text": "So."}]},
        "finishReason": "STOP",
        "groundingMetadata": {"webSearchQueries": ["a", "b"]},
    }
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


def _completed(**usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}
    tokens = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "c", "choices": [choice], "usage": tokens | usage}


def _chunks(**usage: Any) -> tuple[dict[str, Any], ...]:
    whole = _completed(**usage)
    return ({"choices": [{"index": 0, "delta": {"content": "So."}, "finish_reason": "stop"}]}, whole | {"choices": []})


SEARCHED = {"input_tokens": 100, "output_tokens": 10, "server_tool_use": {"web_search_requests": 2}}
RESPONSES = Case(
    wire="responses",
    path="/openai/v1/responses",
    tool="web_search",
    asked={"model": "m", "input": "What is new?", "tools": [{"type": "web_search"}]},
    answer=responded(),
    events=(
        {"type": "response.output_text.delta", "delta": "So."},
        {"type": "response.completed", "response": responded()},
    ),
)
MESSAGES = Case(
    wire="messages",
    path="/anthropic/v1/messages",
    tool="web_search",
    asked={
        "model": "m",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "What is new?"}],
        "tools": [
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"name": "own", "input_schema": {"type": "object"}},
        ],
    },
    answer={
        "id": "msg_1",
        "type": "message",
        "content": [{"type": "text", "text": "So."}],
        "stop_reason": "end_turn",
        "usage": SEARCHED,
    },
    events=(
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 100, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "So."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": SEARCHED},
        {"type": "message_stop"},
    ),
)
GEMINI = Case(
    wire="gemini",
    path="/gemini/v1beta/models/m:generateContent",
    tool="googleSearch",
    asked={"contents": [{"parts": [{"text": "What is new?"}]}], "tools": [{"googleSearch": {}}]},
    answer=_grounded("gemini-3-pro"),
    events=(_grounded("gemini-3-pro"),),
)
GEMINI_2 = Case(
    wire="gemini",
    path=GEMINI.path,
    tool=GEMINI.tool,
    asked=GEMINI.asked,
    answer=_grounded("gemini-2.5-flash"),
    events=(_grounded("gemini-2.5-flash"),),
    uses=1,
)
SEARCH: dict[str, Any] = {"messages": [{"role": "user", "content": "What is new?"}], "web_search_options": {}}
CHAT = Case(
    wire="chat",
    path="/openai/v1/chat/completions",
    tool="web_search",
    asked=SEARCH | {"model": "m"},
    answer=_completed(),
    events=_chunks(),
    uses=1,
)
CHAT_COUNTED = Case(
    wire="chat",
    path=CHAT.path,
    tool=CHAT.tool,
    asked=CHAT.asked,
    answer=_completed(server_tool_use={"web_search_requests": 2}),
    events=_chunks(server_tool_use={"web_search_requests": 2}),
)
CASES = [RESPONSES, MESSAGES, GEMINI, GEMINI_2, CHAT, CHAT_COUNTED]
