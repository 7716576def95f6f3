"""Requests of Anthropic's wire that between them have every field it lets in, few at a time."""

from typing import Any

from gateway.wires.neutral import Json

SCHEMA: Json = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
MARK = {"type": "ephemeral", "ttl": "1h"}
PNG = "iVBORw0KGgo="
PDF = "JVBERi0x"
LOOK = {"role": "user", "content": "look"}
PAY = {"name": "pay", "description": "Pay it.", "input_schema": SCHEMA}
_CALL = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {"amount": 31}}


def _asked(*messages: Json, **fields: Any) -> Json:
    return {"model": "default", "max_tokens": 7777, "messages": [LOOK, *messages], **fields}


def _shown(*blocks: Json) -> Json:
    return {"model": "default", "messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, *blocks]}]}


def _said(*blocks: Json) -> Json:
    return _asked({"role": "assistant", "content": [*blocks, {"type": "text", "text": "I see."}]}, LOOK)


def _called(call: Json, **result: Any) -> Json:
    told = {"type": "tool_result", "tool_use_id": call["id"], "content": "it is paid", **result}
    return _asked({"role": "assistant", "content": [call]}, {"role": "user", "content": [told]})


_CITED = {"type": "char_location", "cited_text": "c1", "url": "https://c.test", "title": "t1", "encrypted_index": "e1"}
_PICTURE = {"type": "base64", "media_type": "image/png", "data": PNG}
_FILE = {"type": "base64", "media_type": "application/pdf", "data": PDF}
_WHERE = {"type": "approximate", "city": "Bern", "region": "BE", "country": "CH", "timezone": "CET"}
MESSAGES: dict[str, Json] = {
    "system": _asked(system=[{"type": "text", "text": "Be quick.", "cache_control": MARK}]),
    "system cited": _asked(system=[{"type": "text", "text": "Be quick.", "citations": [_CITED]}]),
    "plain system": _asked(system="Be quick."),
    "system in the middle": _asked({"role": "system", "content": "Be quick."}),
    "system blocks in the middle": _asked(
        {
            "role": "system",
            "content": [{"type": "text", "text": "Be quick.", "cache_control": MARK, "citations": [_CITED]}],
        }
    ),
    "metadata": _asked(metadata={"user_id": "u1"}),
    "stream": _asked(stream=True),
    "sampling": _asked(temperature=0.37, stop_sequences=["END"]),
    "top_p": _asked(top_p=0.83),
    "top_k": _asked(top_k=40),
    "thinking": _asked(thinking={"type": "enabled", "budget_tokens": 2048}),
    "thinking shown": _asked(thinking={"type": "enabled", "budget_tokens": 2048, "display": "omitted"}),
    "adaptive": _asked(thinking={"type": "adaptive"}),
    "adaptive shown": _asked(thinking={"type": "adaptive", "display": "omitted"}),
    "thinking without room": _asked(thinking={"type": "enabled", "budget_tokens": 1024}) | {"max_tokens": 1024},
    "not thinking": _asked(thinking={"type": "disabled"}),
    "effort": _asked(output_config={"effort": "low"}),
    "most effort": _asked(output_config={"effort": "max"}),
    "format": _asked(output_config={"format": {"type": "json_schema", "schema": SCHEMA, "name": "bill"}}),
    "edits": _asked(
        context_management={
            "edits": [
                {"type": "clear_thinking_20251015", "keep": "all"},
                {
                    "type": "clear_tool_uses_20250919",
                    "trigger": {"type": "input_tokens", "value": 9000},
                    "keep": {"type": "tool_uses", "value": 3},
                    "clear_at_least": {"type": "input_tokens", "value": 5000},
                    "exclude_tools": ["pay"],
                    "clear_tool_inputs": True,
                },
            ]
        }
    ),
    "service_tier": _asked(service_tier="auto"),
    "cache_control": _asked(cache_control=MARK),
    "tools": _asked(tools=[PAY], tool_choice={"type": "any", "disable_parallel_tool_use": True}),
    "choice": _asked(tools=[PAY], tool_choice={"type": "tool", "name": "pay"}),
    "choice alone": _asked(tools=[PAY], tool_choice={"type": "tool", "name": "pay", "disable_parallel_tool_use": True}),
    "choice auto": _asked(tools=[PAY], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
    "choice none": _asked(tools=[PAY], tool_choice={"type": "none"}),
    "strict tool": _asked(tools=[{**PAY, "strict": True}]),
    "cached tool": _asked(tools=[{**PAY, "cache_control": MARK}]),
    "eager tool": _asked(tools=[{**PAY, "eager_input_streaming": True}]),
    "deferred tool": _asked(tools=[{**PAY, "defer_loading": True}]),
    "examples": _asked(tools=[{**PAY, "input_examples": [{"amount": 3}]}]),
    "callers": _asked(tools=[{**PAY, "allowed_callers": ["direct"]}]),
    "custom tool": _asked(
        tools=[
            {
                **PAY,
                "type": "custom",
                "strict": True,
                "cache_control": MARK,
            }
        ]
    ),
    "custom tool in other ways": _asked(tools=[{**PAY, "type": "custom", "eager_input_streaming": True}]),
    "custom tool deferred": _asked(tools=[{**PAY, "type": "custom", "defer_loading": True}]),
    "custom tool with examples": _asked(tools=[{**PAY, "type": "custom", "input_examples": [{"amount": 3}]}]),
    "custom tool's callers": _asked(tools=[{**PAY, "type": "custom", "allowed_callers": ["direct"]}]),
    "hosted": _asked(
        tools=[
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 3,
                "allowed_domains": ["a.test"],
                "blocked_domains": ["b.test"],
                "user_location": _WHERE,
                "cache_control": MARK,
            }
        ]
    ),
    "cached text": _shown({"type": "text", "text": "more", "cache_control": MARK}),
    "cited text": _shown({"type": "text", "text": "more", "citations": [_CITED]}),
    "cited answer": _asked(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "more", "citations": [_CITED]}],
        },
        LOOK,
    ),
    "cached answer": _asked(
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "more", "cache_control": MARK}],
        },
        LOOK,
    ),
    "picture": _shown({"type": "image", "source": _PICTURE}),
    "cached picture": _shown({"type": "image", "source": _PICTURE, "cache_control": MARK}),
    "picture by its address": _shown(
        {"type": "image", "source": {"type": "url", "url": "https://pictures.test/a.png"}}
    ),
    "file": _shown({"type": "document", "source": _FILE, "title": "bill.pdf"}),
    "file with more": _shown(
        {
            "type": "document",
            "source": _FILE,
            "context": "of May",
            "citations": {"enabled": True},
            "cache_control": MARK,
        }
    ),
    "thought": _said({"type": "thinking", "thinking": "hm", "signature": "SIG"})
    | {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    "redacted thought": _said({"type": "redacted_thinking", "data": "SECRET"}),
    "call": _called(_CALL),
    "call by itself": _called({**_CALL, "caller": {"type": "direct"}}),
    "cached call": _called({**_CALL, "cache_control": MARK}),
    "failed": _called(_CALL, is_error=True),
    "failed without a word": _asked(
        {"role": "assistant", "content": [_CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}]},
    ),
    "cached result": _called(_CALL, cache_control=MARK),
    "result in blocks": _called(_CALL, content=[{"type": "text", "text": "half", "cache_control": MARK}]),
    "cited result": _called(_CALL, content=[{"type": "text", "text": "half", "citations": [_CITED]}]),
    "failed in blocks": _called(_CALL, is_error=True, content=[{"type": "text", "text": "half"}]),
    "picture of a result": _called(_CALL, content=[{"type": "image", "source": _PICTURE}]),
    "failed with a picture": _called(_CALL, is_error=True, content=[{"type": "image", "source": _PICTURE}]),
    "cached picture of a result": _called(
        _CALL, content=[{"type": "image", "source": _PICTURE, "cache_control": MARK}]
    ),
    "searched": _said(
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "a"},
            "caller": {"type": "direct"},
            "cache_control": MARK,
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "caller": {"type": "direct"},
            "cache_control": MARK,
            "content": [
                {
                    "type": "web_search_result",
                    "url": "https://d.test",
                    "title": "t2",
                    "encrypted_content": "e2",
                    "page_age": "1 day",
                }
            ],
        },
    ),
    "search failed": _said(
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
        }
    ),
}
