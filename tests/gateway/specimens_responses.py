"""Requests of OpenAI's Responses wire that between them have every field it lets in, few at a time."""

from typing import Any

from gateway.wires.neutral import Json
from tests.gateway.specimens_chat import FORMAT, GRAMMAR, INSIDE, PDF, PNG, SCHEMA


def _asked(*items: Json, **fields: Any) -> Json:
    return {"model": "default", "input": [{"role": "user", "content": "look"}, *items], **fields}


TOOL = {"type": "function", "name": "pay", "description": "Pay it.", "parameters": SCHEMA}
CUSTOM = {"type": "custom", "name": "patch", "description": "Patch."}
_WHERE = {"type": "approximate", "city": "Bern", "country": "CH", "region": "BE", "timezone": "CET"}
_SEARCH = {
    "search_context_size": "low",
    "user_location": _WHERE,
    "external_web_access": False,
    "filters": {"allowed_domains": ["a.test"], "blocked_domains": ["b.test"]},
    "search_content_types": ["text"],
}
_RESPONSES_CALL = {"type": "function_call", "call_id": "call_1", "name": "pay", "arguments": '{"amount":31}'}
_CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "a+b"}


def _part(role: str, **part: Any) -> Json:
    return _asked({"type": "message", "role": role, "content": [part]})


RESPONSES: dict[str, Json] = {
    "text": {"model": "default", "input": "look", "instructions": "Be quick."},
    "sampling": _asked(temperature=0.37),
    "top_p": _asked(top_p=0.83),
    "stream": _asked(stream=True, stream_options={"include_obfuscation": True}),
    "max_output_tokens": _asked(max_output_tokens=77),
    "effort": _asked(reasoning={"effort": "low"}),
    "summary": _asked(reasoning={"summary": "auto"}),
    "older summary": _asked(reasoning={"generate_summary": "auto"}),
    "format": _asked(text={"format": {"type": "json_schema", **FORMAT}}),
    "strict format": _asked(text={"format": {"type": "json_schema", **FORMAT, "strict": True}}),
    "json": _asked(text={"format": {"type": "json_object"}}),
    "verbosity": _asked(text={"verbosity": "low"}),
    "store": _asked(store=True),
    "include": _asked(include=["message.output_text.logprobs"]),
    "encrypted": _asked(include=["reasoning.encrypted_content"]),
    "names of the operator": _asked(metadata={"a": "b"}, client_metadata={"c": "d"}, user="u1", safety_identifier="s1"),
    "cache": _asked(prompt_cache_key="k1", prompt_cache_retention="24h"),
    "truncation": _asked(truncation="auto"),
    "service_tier": _asked(service_tier="default"),
    "stored": _asked(previous_response_id="resp_1"),
    "stored conversation": _asked(conversation="conv_1"),
    "background": _asked(background=True),
    "prompt": _asked(prompt={"id": "p1"}),
    "logprobs": _asked(top_logprobs=3),
    "uses": _asked(max_tool_calls=3),
    "tools": _asked(tools=[TOOL], tool_choice="required", parallel_tool_calls=False),
    "strict tool": _asked(tools=[{**TOOL, "strict": True}]),
    "deferred tool": _asked(tools=[{**TOOL, "defer_loading": True}]),
    "custom tool": _asked(tools=[{**CUSTOM, "format": GRAMMAR}]),
    "nested grammar": _asked(tools=[{**CUSTOM, "format": {"type": "grammar", "grammar": INSIDE}}]),
    "deferred custom tool": _asked(tools=[{**CUSTOM, "defer_loading": True}]),
    "namespace": _asked(tools=[{"type": "namespace", "name": "bank", "description": "All banks.", "tools": [TOOL]}]),
    "namespace alike": _asked(
        tools=[
            {
                "type": "namespace",
                "name": "bank",
                "tools": [{**TOOL, "strict": True}, {**CUSTOM, "format": GRAMMAR}],
            }
        ]
    ),
    "namespace with a nested grammar": _asked(
        tools=[
            {
                "type": "namespace",
                "name": "bank",
                "tools": [{**CUSTOM, "format": {"type": "grammar", "grammar": INSIDE}}],
            }
        ]
    ),
    "more deferred tools": _asked({"type": "additional_tools", "tools": [{**TOOL, "defer_loading": True}]}),
    "more strict tools": _asked({"type": "additional_tools", "tools": [{**TOOL, "strict": True}]}),
    "deferred tools found": _asked({"type": "tool_search_output", "tools": [{**TOOL, "defer_loading": True}]}),
    "strict tools found": _asked({"type": "tool_search_output", "tools": [{**TOOL, "strict": True}]}),
    "namespace deferred": _asked(
        tools=[{"type": "namespace", "name": "bank", "tools": [{**TOOL, "defer_loading": True}]}]
    ),
    "custom deferred": _asked(
        tools=[{"type": "namespace", "name": "bank", "tools": [{**CUSTOM, "defer_loading": True}]}]
    ),
    "tool search": _asked(
        tools=[{"type": "tool_search", "execution": "client", "description": "Search.", "parameters": {"a": 1}}]
    ),
    "choice": _asked(tools=[TOOL], tool_choice={"type": "function", "name": "pay"}),
    "custom choice": _asked(tools=[CUSTOM], tool_choice={"type": "custom", "name": "patch"}),
    "choice in a namespace": _asked(
        tools=[TOOL, CUSTOM, {"type": "namespace", "name": "bank", "tools": [TOOL, CUSTOM]}],
        tool_choice={"type": "function", "name": "pay", "namespace": "bank"},
    ),
    "custom choice in a namespace": _asked(
        tools=[TOOL, CUSTOM, {"type": "namespace", "name": "bank", "tools": [TOOL, CUSTOM]}],
        tool_choice={"type": "custom", "name": "patch", "namespace": "bank"},
    ),
    "allowed tools": _asked(
        tools=[
            {"type": "function", "name": "pay"},
            {"type": "custom", "name": "patch"},
            {"type": "namespace", "name": "bank", "tools": [TOOL, CUSTOM]},
        ],
        tool_choice={
            "type": "allowed_tools",
            "mode": "required",
            "tools": [
                {"type": "function", "name": "pay", "namespace": "bank"},
                {"type": "custom", "name": "patch", "namespace": "bank"},
            ],
        },
    ),
    "hosted": _asked(tools=[{"type": "web_search", **_SEARCH}], tool_choice={"type": "web_search"}),
    "hosted before": _asked(tools=[{"type": "web_search_preview", **_SEARCH}]),
    "container": _asked(tools=[{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1g"}}]),
    "image": _asked(
        tools=[
            {
                "type": "image_generation",
                "size": "1x1",
                "quality": "low",
                "background": "opaque",
                "output_format": "png",
                "output_compression": 50,
                "moderation": "low",
                "model": "m1",
            }
        ]
    ),
    "remote": _asked(
        tools=[
            {
                "type": "mcp",
                "server_label": "l1",
                "server_url": "https://mcp.test",
                "server_description": "d1",
                "allowed_tools": ["t1"],
                "require_approval": "never",
            }
        ]
    ),
    "computer": _asked(tools=[{"type": "computer"}]),
    "screen": _asked(
        tools=[
            {
                "type": "computer_use_preview",
                "display_width": 7,
                "display_height": 9,
                "environment": "linux",
            }
        ]
    ),
    "turn": _asked({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": "hello"}),
    "turn of the user": _asked(
        {"role": "user", "id": "msg_1", "status": "completed", "phase": "p1", "content": "hello"}
    ),
    "phase": _asked({"type": "message", "role": "assistant", "phase": "commentary", "content": "hello"}),
    "input text": _part("user", type="input_text", text="more"),
    "output text": _part("assistant", type="output_text", text="more", annotations=[{"a": 1}], logprobs=[{"b": 1}]),
    "plain text": _part("user", type="text", text="more"),
    "refusal": _part("assistant", type="refusal", refusal="No, never."),
    "picture": _part("user", type="input_image", image_url=PNG, detail="low"),
    "file": _part("user", type="input_file", filename="bill.pdf", file_data=PDF),
    "thought": _asked(
        {
            "type": "reasoning",
            "id": "rs_1",
            "status": "completed",
            "encrypted_content": "SECRET",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "content": [{"type": "reasoning_text", "text": "hmm"}],
        },
        {"role": "assistant", "content": "hello"},
    ),
    "bare thought": _asked(
        {"type": "reasoning", "summary": [], "content": [{"type": "text", "text": "hmm"}]},
        {"role": "assistant", "content": "hello"},
    ),
    "call": _asked(
        {**_RESPONSES_CALL, "id": "fc_1", "status": "completed", "namespace": "bank"},
        {
            "type": "function_call_output",
            "id": "fo_1",
            "status": "completed",
            "call_id": "call_1",
            "output": "it is paid",
        },
    ),
    "custom call": _asked(
        {**_CUSTOM_CALL, "id": "cc_1", "status": "completed", "namespace": "bank"},
        {
            "type": "custom_tool_call_output",
            "id": "co_1",
            "status": "completed",
            "call_id": "call_2",
            "name": "patch",
            "output": "it is done",
        },
    ),
    "picture of a result": _asked(
        _RESPONSES_CALL,
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [
                {"type": "input_image", "image_url": PNG, "detail": "low"},
                {"type": "input_text", "text": "here"},
            ],
        },
    ),
    "search for tools": _asked(
        {
            "type": "tool_search_call",
            "id": "ts_1",
            "status": "completed",
            "call_id": "call_3",
            "execution": "client",
            "arguments": {"query": "pay", "limit": 3},
        }
    ),
    "tools found": _asked(
        {
            "type": "tool_search_output",
            "id": "to_1",
            "status": "completed",
            "call_id": "call_3",
            "execution": "client",
            "tools": [TOOL],
        }
    ),
    "more tools": _asked(
        {"type": "additional_tools", "id": "at_1", "status": "completed", "role": "system", "tools": [TOOL]}
    ),
    "searched": _asked(
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {
                "type": "search",
                "query": "a",
                "queries": ["b"],
                "url": "https://c.test",
                "pattern": "d",
                "sources": [{"type": "url", "url": "https://e.test"}],
            },
        }
    ),
}
