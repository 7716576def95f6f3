"""LiteLLM's own client in a process of its own: asks as its users do and prints what it understood, as JSON lines.

Arguments: the gateway's origin, the token, and models as LiteLLM names them (`openai/chat-echo`, …).
"""

import json
import sys
from typing import Any

import litellm  # noqa: TID253 - a program of its own

BASES = {"openai": "/openai/v1", "anthropic": "/anthropic"}
TOOL: Any = {
    "type": "function",
    "function": {"name": "pay", "description": "Pay.", "parameters": {"type": "object", "properties": {}}},
}


def ask(origin: str, token: str, model: str, messages: list[Any], **more: object) -> Any:
    """The answer; a stream is put together as LiteLLM does."""
    base = origin + BASES[model.split("/")[0]]
    answer: Any = litellm.completion(
        model=model, messages=messages, api_base=base, api_key=token, num_retries=0, max_retries=0, **more
    )
    return litellm.stream_chunk_builder(list(answer), messages=messages) if more.get("stream") else answer


def tell(origin: str, token: str, model: str, *, stream: bool) -> dict[str, Any]:
    """Two turns with a tool where one is called, else one."""
    messages: list[Any] = [{"role": "user", "content": "say these four words"}]
    more: dict[str, Any] = {"stream": stream} | ({"stream_options": {"include_usage": True}} if stream else {})
    if model.endswith("-tools"):
        said = ask(origin, token, model, messages, tools=[TOOL], **more).choices[0].message
        result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "paid as tx-42"}
        messages += [said, result]
        more["tools"] = [TOOL]
    answer = ask(origin, token, model, messages, **more)
    counts = [answer.usage.prompt_tokens, answer.usage.completion_tokens]
    return {"text": answer.choices[0].message.content, "counts": counts}


def main(origin: str, token: str, *models: str) -> None:
    litellm.suppress_debug_info = True
    for model in models:
        for stream in (False, True):
            try:
                told = tell(origin, token, model, stream=stream)
            except Exception as error:
                told = {"error": type(error).__name__, "status": getattr(error, "status_code", 0), "text": str(error)}
            print(json.dumps({"model": model, "stream": stream} | told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
