"""Requests of Chat Completions that between them have every field it lets in, few at a time."""

from typing import Any

from gateway.wires.neutral import Json

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0x"
SCHEMA: Json = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
MARK = {"type": "ephemeral", "ttl": "1h"}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
INSIDE = {"syntax": "regex", "definition": "a+"}
PAY: Json = {"type": "function", "function": {"name": "pay", "description": "Pay it.", "parameters": SCHEMA}}
USER = {"role": "user", "content": "look"}


def _chat(**fields: Any) -> Json:
    return {"model": "default", "messages": [USER], **fields}


def _said(*messages: Json) -> Json:
    return _chat(messages=[USER, *messages])


def _called(call: Json, **more: Any) -> Json:
    result = {"role": "tool", "tool_call_id": call["id"], "content": "it is paid", **more}
    return _said({"role": "assistant", "tool_calls": [call]}, result)


def _shown(*parts: Json) -> Json:
    return _chat(messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}])


CALL = {"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": '{"amount":31}'}}
_PLACE = {"type": "approximate", "approximate": {"city": "Bern", "country": "CH", "region": "BE", "timezone": "CET"}}
FORMAT = {"name": "bill", "description": "A bill.", "schema": SCHEMA}
CHAT: dict[str, Json] = {
    "sampling": _chat(temperature=0.37, stop=["END"], seed=4711),
    "top_p": _chat(top_p=0.83),
    "penalties": _chat(presence_penalty=0.13, frequency_penalty=0.17),
    "stream": _chat(stream=True, stream_options={"include_usage": True, "include_obfuscation": True}),
    "max_tokens": _chat(max_tokens=77),
    "max_completion_tokens": _chat(max_completion_tokens=78),
    "reasoning_effort": _chat(reasoning_effort="low"),
    "effort none": _chat(reasoning_effort="none"),
    "effort minimal": _chat(reasoning_effort="minimal"),
    "format": _chat(response_format={"type": "json_schema", "json_schema": FORMAT}),
    "strict format": _chat(response_format={"type": "json_schema", "json_schema": {**FORMAT, "strict": True}}),
    "json": _chat(response_format={"type": "json_object"}),
    "choices": _chat(n=2),
    "store": _chat(store=True),
    "names of the operator": _chat(metadata={"a": "b"}, user="u1", safety_identifier="s1"),
    "cache": _chat(prompt_cache_key="k1", prompt_cache_retention="24h"),
    "verbosity": _chat(verbosity="low"),
    "service_tier": _chat(service_tier="default"),
    "logprobs": _chat(logprobs=True, top_logprobs=3),
    "logit_bias": _chat(logit_bias={"50256": -100}),
    "prediction": _chat(prediction={"type": "content", "content": "guess"}),
    "modalities": _chat(modalities=["text"]),
    "search": _chat(web_search_options={"search_context_size": "low", "user_location": _PLACE}),
    "tools": _chat(tools=[PAY], tool_choice="required", parallel_tool_calls=False),
    "strict tool": _chat(tools=[{"type": "function", "function": {**PAY["function"], "strict": True}}]),
    "cached tool": _chat(tools=[{**PAY, "cache_control": MARK}]),
    "custom tool": _chat(
        tools=[{"type": "custom", "custom": {"name": "patch", "description": "Patch.", "format": GRAMMAR}}],
    ),
    "nested grammar": _chat(
        tools=[{"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": INSIDE}}}],
    ),
    "cached custom tool": _chat(tools=[{"type": "custom", "custom": {"name": "patch"}, "cache_control": MARK}]),
    "choice": _chat(tools=[PAY], tool_choice={"type": "function", "function": {"name": "pay"}}),
    "custom choice": _chat(
        tools=[{"type": "custom", "custom": {"name": "patch"}}],
        tool_choice={"type": "custom", "custom": {"name": "patch"}},
    ),
    "allowed tools": _chat(
        tools=[PAY, {"type": "custom", "custom": {"name": "patch"}}, {"type": "function", "function": {"name": "b"}}],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [
                    {"type": "function", "function": {"name": "pay"}},
                    {"type": "custom", "custom": {"name": "patch"}},
                ],
            },
        },
    ),
    "named user": _said({"role": "user", "name": "anna", "content": "hello"}),
    "named system": _said({"role": "system", "name": "house", "content": "Be quick."}),
    "named developer": _said({"role": "developer", "name": "house", "content": "Be quick."}),
    "named assistant": _said({"role": "assistant", "name": "bot", "content": "hello"}),
    "cached user": _said({"role": "user", "content": "hello", "cache_control": MARK}),
    "cached system": _said({"role": "system", "content": "Be quick.", "cache_control": MARK}),
    "cached developer": _said({"role": "developer", "content": "Be quick.", "cache_control": MARK}),
    "cached assistant": _said({"role": "assistant", "content": "hello", "cache_control": MARK}),
    "cached parts": _shown({"type": "text", "text": "more", "cache_control": MARK}),
    "parts of the system": _said(
        {"role": "system", "content": [{"type": "text", "text": "Be quick.", "cache_control": MARK}]}
    ),
    "refusal": _said({"role": "assistant", "refusal": "I will not."}),
    "refused part": _said({"role": "assistant", "content": [{"type": "refusal", "refusal": "No, never."}]}),
    "picture": _shown({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}),
    "picture in its own size": _shown({"type": "image_url", "image_url": {"url": PNG, "detail": "original"}}),
    "cached picture": _shown({"type": "image_url", "image_url": {"url": PNG}, "cache_control": MARK}),
    "picture by its address": _shown({"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}),
    "file": _shown({"type": "file", "file": {"filename": "bill.pdf", "file_data": PDF}}),
    "cached file": _shown({"type": "file", "file": {"file_data": PDF}, "cache_control": MARK}),
    "call": _called(CALL, name="pay"),
    "cached result": _called(CALL, cache_control=MARK),
    "result in parts": _called(CALL, content=[{"type": "text", "text": "half", "cache_control": MARK}]),
    "picture of a result": _called(CALL, content=[{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]),
    "custom call": _called({"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": "a+b"}}),
    "signed call": _called({**CALL, "index": 0, "extra_content": {"google": {"thought_signature": "GSIG"}}}),
    "signed custom call": _called(
        {
            "id": "call_2",
            "index": 0,
            "type": "custom",
            "custom": {"name": "patch", "input": "a+b"},
            "extra_content": {"google": {"thought_signature": "GSIG"}},
        }
    ),
    "thought": _said({"role": "assistant", "content": "hello", "reasoning_content": "hm"}),
    "other thought": _said({"role": "assistant", "content": "hello", "reasoning": "hm"}),
    "blocks": _said(
        {
            "role": "assistant",
            "content": "hello",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "hm", "signature": "SIG", "cache_control": MARK, "index": 0}
            ],
        }
    ),
    "redacted blocks": _said(
        {
            "role": "assistant",
            "content": "hello",
            "thinking_blocks": [{"type": "redacted_thinking", "data": "SECRET", "cache_control": MARK, "index": 0}],
        }
    ),
    **{
        f"details {told}": _said(
            {
                "role": "assistant",
                "content": "hello",
                "reasoning_details": [{"type": f"reasoning.{told}", "id": "r1", "format": "f1", "index": 0, **more}],
            }
        )
        for told, more in (
            ("text", {"text": "hm", "signature": "SIG"}),
            ("summary", {"summary": "hm"}),
            ("encrypted", {"data": "X"}),
        )
    },
    **{
        f"echoed by the {role}": _said({"role": role, "content": "hello", "annotations": [{"type": "url_citation"}]})
        for role in ("user", "system", "developer", "assistant")
    },
    "echoed by a tool": _called(CALL, annotations=[{"type": "url_citation"}]),
    "cached picture of a result": _called(
        CALL, content=[{"type": "image_url", "image_url": {"url": PNG}, "cache_control": MARK}]
    ),
    "echoed": _said(
        {
            "role": "assistant",
            "content": "hello",
            "annotations": [{"type": "url_citation"}],
            "parsed": {"a": 1},
            "provider_specific_fields": {"a": 1},
        }
    ),
}
