"""The Anthropic Messages wire: what it reads of a request, and what it refuses. Its answers: `test_messages_face`."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wires.messages_face import MESSAGES
from gateway.wires.neutral import (
    Address,
    Call,
    CallArguments,
    CallBegun,
    Image,
    Json,
    Request,
    Result,
    Said,
    Thought,
    Tool,
)
from gateway.wires.seals import seal, unseal
from kit.errors import Invalid

PNG = "iVBORw0KGgo="
MARK = {"type": "ephemeral", "ttl": "1h"}
CODE: Json = {
    "model": "default",
    "max_tokens": 32000,
    "stream": True,
    "system": [{"type": "text", "text": "x-anthropic-billing-header: a"}, {"type": "text", "text": "Be quick."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "look", "cache_control": MARK}]},
        {"role": "system", "content": "The time is now."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "SIG"},
                {"type": "redacted_thinking", "data": "DATA"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": "here"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "gone", "is_error": True},
                {"type": "text", "text": "go on"},
            ],
        },
    ],
    "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}, "cache_control": MARK}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": "user_1"},
    "stop_sequences": ["END"],
    "temperature": 1,
    "top_k": 5,
}  # fmt: skip
"""What Claude Code sends, all of it at once."""


def test_what_claude_code_sends_is_read_to_the_bottom() -> None:
    request = MESSAGES.parse(CODE, Address())
    assert [message.role for message in request.messages] == [
        "system", "user", "system", "assistant", "tool", "tool", "user",
    ]  # fmt: skip
    assert request.messages[0].parts == (Said(text="x-anthropic-billing-header: a"), Said(text="Be quick."))
    assert request.messages[1].parts == (Said(text="look", cached=MARK),)
    assert request.messages[3].parts == (
        Thought(text="hm", seal=seal("messages", "SIG")),
        Thought(seal=seal("messages", "redacted:DATA"), redacted=True),
        Said(text="I look."),
        Call(id="toolu_1", name="look", arguments='{"a":1}'),
        Call(id="toolu_2", name="look", arguments="{}"),
    )
    assert request.messages[4].parts == (
        Result(call_id="toolu_1", parts=(Said(text="here"), Image(media_type="image/png", data=PNG))),
    )
    assert request.messages[5].parts == (Result(call_id="toolu_2", parts=(Said(text="gone"),), failed=True),)
    assert request.tools == (
        Tool(name="look", own="look", description="Look.", parameters={"type": "object"}, cached=MARK),
    )
    assert (request.tool_choice, request.parallel_calls, request.effort) == ("required", False, "xhigh")
    assert request.sampling == {"temperature": 1, "stop": ["END"]}
    assert request.format and request.format["json_schema"]["schema"] == {"type": "object"}
    assert (request.max_output, request.stream, request.media, request.media_bytes) == (32000, True, 1, len(PNG))
    assert request.dropped == ("context_management", "metadata", "top_k")
    assert request.body is CODE


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [({"type": "enabled", "budget_tokens": 2048}, 2048), ({"type": "adaptive"}, None), ({"type": "disabled"}, 0)],
)
def test_thinking_is_so_many_tokens_or_none_or_as_the_model_likes(thinking: Json, tokens: int | None) -> None:
    assert MESSAGES.parse(_asked(thinking=thinking), Address()).thinking == tokens


def test_beta_values_pass_by_name_and_others_are_told() -> None:
    headers = {"anthropic-beta": "interleaved-thinking-2025-05-14, mcp-client-2025-11-20,fast-mode-2026-02-01,x\ty"}
    request = MESSAGES.parse(_asked(), Address(headers=headers))
    assert request.betas == ("interleaved-thinking-2025-05-14",)
    assert request.dropped == ("anthropic-beta:fast-mode-2026-02-01", "anthropic-beta:mcp-client-2025-11-20")


def test_tools_of_the_provider_are_told_by_their_kind() -> None:
    tools = [
        {"type": "web_search_20260209", "name": "web_search", "max_uses": 3, "user_location": {"type": "approximate"}},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "custom", "name": "mine", "input_schema": {}},
    ]
    request = MESSAGES.parse(_asked(tools=tools), Address())
    assert request.hosted == ("web_search", "code_execution")
    assert [tool.name for tool in request.tools] == ["mine"]


def test_the_seal_of_another_providers_call_comes_back_to_the_call() -> None:
    """Gemini signs calls; on this wire the signature stands in a block of its own before it."""
    sealed = seal("gemini", "GSIG")
    face = MESSAGES.face(MESSAGES.parse(_asked(), Address()), "att_1", 1)
    for delta in (CallBegun(id="c1", name="look", seal=sealed), CallArguments(id="c1", text='{"a":1}')):
        face.render(delta)
    content = json.loads(face.body())["content"]
    talk = [*_asked()["messages"], {"role": "assistant", "content": content}]
    (call,) = MESSAGES.parse(_asked(messages=talk), Address()).messages[-1].parts
    assert isinstance(call, Call)
    assert unseal("gemini", call.seal) == "GSIG"


SMUGGLED: Mapping[str, Json] = {
    "an endpoint": {"api_base": "http://evil.example"},
    "a base url": {"base_url": "http://evil.example"},
    "a credential": {"api_key": "sk-evil"},
    "headers": {"extra_headers": {"authorization": "Bearer evil"}},
    "a body": {"extra_body": {"store": True}},
    "a mock": {"mock_response": "free"},
    "routing": {"fallbacks": ["expensive"]},
    "a provider": {"custom_llm_provider": "bedrock"},
    "remote tools": {"mcp_servers": [{"type": "url", "url": "https://evil.example", "name": "x"}]},
    "a container": {"container": "container_1"},
    "a place": {"inference_geo": "us"},
    "a dearer speed": {"speed": "fast"},
    "betas in the body": {"betas": ["files-api-2025-04-14"]},
    "a dearer tier": {"service_tier": "priority"},
    "compaction": {"context_management": {"edits": [{"type": "compact_20260112"}]}},
    "a field of an edit": {"context_management": {"edits": [{"type": "clear_thinking_20251015", "url": "x"}]}},
    "more metadata": {"metadata": {"user_id": "a", "tags": ["b"]}},
    "a field of thinking": {"thinking": {"type": "adaptive", "api_base": "x"}},
    "a field of the output": {"output_config": {"effort": "low", "task_budget": {"type": "tokens", "total": 9}}},
    "a field of a choice": {"tool_choice": {"type": "auto", "url": "x"}},
    "a longer cache": {"cache_control": {"type": "ephemeral", "ttl": "24h"}},
    "a scope of the cache": {"cache_control": {"type": "ephemeral", "scope": "global"}},
    "a field of a tool": {"tools": [{"name": "a", "input_schema": {}, "url": "https://evil.example"}]},
    "callers of a tool": {"tools": [{"name": "a", "input_schema": {}, "allowed_callers": ["code_execution_20250825"]}]},
    "a toolset": {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
    "a field of the place": {
        "tools": [{"type": "web_search_20250305", "name": "w", "user_location": {"type": "a", "url": "x"}}]
    },
}  # fmt: skip
BLOCKS: Mapping[str, Json] = {
    "a document": {"type": "document", "source": {"type": "url", "url": "https://evil.example/x.pdf"}},
    "a file": {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    "a plain address": {"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/"}},
    "a local file": {"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}},
    "a picture that is none": {"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": "a"}},
    "two sources": {
        "type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG, "url": "https://a"},
    },
    "an upload": {"type": "container_upload", "file_id": "file_1"},
    "a search result": {"type": "search_result", "source": "https://a", "title": "a", "content": []},
    "a field of a text": {"type": "text", "text": "a", "url": "x"},
    "a document in a result": {
        "type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {"type": "text"}}],
    },
    "a thought of the user": {"type": "thinking", "thinking": "a", "signature": "b"},
    "no type": {"text": "a"},
}  # fmt: skip
TURNS: Mapping[str, Json] = {
    "a remote call": {"type": "mcp_tool_use", "id": "a", "name": "b", "server_name": "c", "input": {}},
    "a caller": {
        "type": "tool_use", "id": "a", "name": "b", "input": {}, "caller": {"type": "code_execution_20250825"},
    },
    "a picture": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    "arguments that are no object": {"type": "tool_use", "id": "a", "name": "b", "input": "{}"},
    "a citation": {"type": "text", "text": "a", "citations": [{"type": "page_location", "file_id": "file_1"}]},
}  # fmt: skip


@pytest.mark.parametrize("fields", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_no_field_is_smuggled(fields: Json) -> None:
    with pytest.raises(Invalid):
        MESSAGES.parse(_asked(**fields), Address())


@pytest.mark.parametrize(
    ("role", "block"),
    [*(("user", block) for block in BLOCKS.values()), *(("assistant", block) for block in TURNS.values())],
    ids=[*BLOCKS, *TURNS],
)
def test_no_block_is_smuggled(role: str, block: Json) -> None:
    with pytest.raises(Invalid):
        MESSAGES.parse(_asked(messages=[{"role": role, "content": [block]}]), Address())


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "a"},
        {"role": "user"},
        {"role": "user", "content": "a", "name": "b"},
        {"content": ""},
    ],
)
def test_a_message_is_a_role_and_its_content(message: Json) -> None:
    with pytest.raises(Invalid):
        MESSAGES.parse(_asked(messages=[message]), Address())


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["text", "image", "tool_use", "user"])
NAMES = st.sampled_from([*CODE, "type", "text", "source", "role", "content", "input", "name", "cache_control"])


@given(
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=12),
    st.sampled_from([*CODE]),
)
def test_any_json_is_read_or_refused_and_never_breaks(value: Any, name: str) -> None:
    with suppress(Invalid):  # anything else is our mistake
        assert isinstance(MESSAGES.parse({**CODE, name: value}, Address()), Request)


def _asked(**fields: object) -> Json:
    return {"model": "default", "max_tokens": 100, "messages": [{"role": "user", "content": "look"}], **fields}
