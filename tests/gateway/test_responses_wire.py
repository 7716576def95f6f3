"""What the Responses wire takes, what it refuses, and what nobody smuggles through it."""

from typing import Any

import pytest

from gateway.dialects.chat import CHAT
from gateway.dialects.hosted import MOST_USES
from gateway.dialects.responses import RESPONSES as DIALECT
from gateway.wires.neutral import HERE, Call, Image, Json, Message, Request, Result, Said, Thought, Tool
from gateway.wires.responses_face import RESPONSES
from gateway.wires.responses_tools import flat
from gateway.wires.seals import seal
from kit.errors import Invalid
from tests.gateway.smuggling import reaching

PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"api_key": {"type": "string"}}}
PAY: Json = {"type": "function", "name": "pay", "description": "Pay.", "strict": False, "parameters": SCHEMA}
CALL: Json = {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": "{}"}
LATER = {"type": "namespace", "name": "found", "description": "F", "tools": [PAY | {"defer_loading": True}]}
SEARCH: Json = {"call_id": "c3", "execution": "client"}
SEARCHED: Json = {
    "type": "web_search_call",
    "id": "ws_1",
    "action": {
        "type": "search",
        "query": "cats",
        "queries": ["cats"],
        "sources": [{"type": "url", "url": "https://cats.test"}],
    },
}
FULL: Json = {
    "model": "default",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "And kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "high"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Look it up."}],
            "content": None,
            "encrypted_content": "CIPHER",
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c1",
            "name": "pay",
            "namespace": "mcp__p",
            "arguments": "{}",
        },
        {"type": "custom_tool_call", "id": "ct_1", "call_id": "c2", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "paid"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "name": "patch",
            "output": [{"type": "input_image", "image_url": "https://pictures.test/a.png"}],
        },
        {
            "type": "tool_search_call",
            "call_id": "c3",
            "execution": "client",
            "arguments": {"query": "look", "limit": 3},
        },
        {
            "type": "tool_search_output",
            "call_id": "c3",
            "execution": "client",
            "tools": [
                {"type": "namespace", "name": "found", "description": "F", "tools": [PAY | {"defer_loading": True}]}
            ],
        },
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "exec"}]},
        SEARCHED,
    ],
    "tools": [
        {"type": "namespace", "name": "mcp__p", "description": "Preloop", "tools": [PAY]},
        {
            "type": "custom",
            "name": "patch",
            "description": "Patch.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
        },
        {"type": "tool_search", "execution": "client", "description": "Search.", "parameters": SCHEMA},
        {
            "type": "web_search",
            "external_web_access": True,
            "search_content_types": ["text", "image"],
            "filters": {"allowed_domains": ["example.com"]},
            "user_location": {"type": "approximate", "city": "Bern"},
        },
        {"type": "mcp", "server_label": "x", "server_url": "https://example.com/mcp", "require_approval": "never"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ],
    "tool_choice": {"type": "function", "name": "pay"},
    "parallel_tool_calls": True,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "max_output_tokens": 200,
    "temperature": 0.5,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "store": True,
    "include": ["reasoning.encrypted_content"],
    "metadata": {"team": "a"},
    "client_metadata": {"thread_id": "t"},
    "user": "someone",
    "prompt_cache_key": "k",
    "safety_identifier": "someone",
    "truncation": "auto",
    "service_tier": "default",
    "background": False,
}


def asked(**fields: Any) -> Request:
    return RESPONSES.parse({"model": "default", "input": "Hello."} | fields, HERE)


def test_a_full_conversation_is_read_to_the_last_part() -> None:
    request = RESPONSES.parse(FULL, HERE)
    assert request.messages == (
        Message(role="system", parts=(Said(text="Be brief."),)),
        Message(role="system", parts=(Said(text="And kind."),)),
        Message(
            role="user",
            parts=(Said(text="What is this?"), Image(media_type="image/png", data=PIXEL, detail="high")),
        ),
        Message(
            role="assistant",
            parts=(
                Thought(text="Look it up.", seal=seal("responses", "CIPHER")),
                Said(text="I look."),
                Call(id="c1", name="mcp__p__pay", arguments="{}"),
                Call(id="c2", name="patch", arguments='{"input":"*** Begin"}'),
            ),
        ),
        Message(role="tool", parts=(Result(call_id="c1", parts=(Said(text="paid"),)),)),
        Message(role="tool", parts=(Result(call_id="c2", parts=(Image(url="https://pictures.test/a.png"),)),)),
    )
    assert (request.media, request.media_bytes) == (2, len(PIXEL))


def test_what_a_full_request_wants_is_known() -> None:
    request = RESPONSES.parse(FULL, HERE)
    assert [(tool.name, tool.own, tool.namespace, tool.custom) for tool in request.tools] == [
        ("mcp__p__pay", "pay", "mcp__p", False),
        ("patch", "patch", None, True),
        ("found__pay", "pay", "found", False),
        ("exec", "exec", None, True),
    ]
    assert request.hosted == ("web_search", "mcp:example.com", "code_interpreter")
    assert (request.tool_choice, request.max_output, request.effort) == ("mcp__p__pay", 200, "medium")
    assert request.format == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    assert request.dropped == (
        "client_metadata", "input.phase", "input.tool_search", "input.web_search_call", "metadata", "prompt_cache_key",
        "reasoning.summary", "safety_identifier", "service_tier", "text.verbosity", "tools.defer_loading",
        "tools.format", "tools.namespace.description", "tools.tool_search", "truncation", "user",
    )  # fmt: skip


def test_what_passes_on_is_what_was_sent_but_for_what_is_ours() -> None:
    passed = DIALECT.passed(RESPONSES.parse(FULL, HERE), "gpt-5.5", 100)
    kept = ("metadata", "client_metadata", "user", "safety_identifier", "background")
    items = [{name: value for name, value in item.items() if name != "id"} for item in FULL["input"]]
    sent = {name: value for name, value in FULL.items() if name not in kept}
    ours = {"model": "gpt-5.5", "max_output_tokens": 100, "max_tool_calls": MOST_USES, "store": False}
    assert passed == sent | ours | {"input": items}


def test_a_thought_goes_back_to_its_maker_and_to_nobody_else() -> None:
    def thought(sealed: str | None) -> Json:
        return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}

    sealed = [thought("native"), thought(seal("responses", "own")), thought(seal("messages", "theirs")), thought(None)]
    request = asked(input=[*sealed, {"role": "user", "content": "And now?"}])
    sent = DIALECT.passed(request, "m", 1)["input"][:-1]
    assert [item["encrypted_content"] for item in sent] == ["native", "own"]
    assert all("id" not in item for item in sent)
    assert [part.seal for part in request.messages[0].parts if isinstance(part, Thought)] == [
        seal("responses", "native"), seal("responses", "own"), seal("messages", "theirs"),
    ]  # fmt: skip


def test_the_signature_of_a_call_stands_before_it() -> None:
    signature = seal("gemini", "SIG")
    items = [
        {"type": "reasoning", "summary": [], "encrypted_content": signature},
        {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "pay", "arguments": "{}"},
    ]
    (turn,) = asked(input=items).messages
    assert turn.parts == (
        Call(id="c1", name="pay", arguments="{}", seal=signature),
        Call(id="c2", name="pay", arguments="{}"),
    )


def test_a_choice_among_some_tools_leaves_only_those() -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "pay"}]}
    request = asked(tools=[PAY, PAY | {"name": "look"}], tool_choice=allowed)
    assert (request.tool_choice, request.tools) == (
        "auto",
        (Tool(name="pay", own="pay", description="Pay.", parameters=SCHEMA, strict=False),),
    )
    assert asked(tool_choice={"type": "web_search_preview"}).hosted == ("web_search_preview",)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"previous_response_id": "resp_1"}, "not_supported_yet", "`previous_response_id`"),
        ({"conversation": {"id": "conv_1"}}, "not_supported_yet", "`conversation`"),
        ({"prompt": {"id": "pmpt_1"}}, "not_supported_yet", "`prompt`"),
        ({"background": True}, "not_supported_yet", "`background`"),
        ({"service_tier": "priority"}, "not_supported_yet", "another price"),
        ({"n": 2}, "field_not_allowed", "`n`"),
        ({"include": ["output[*].file"]}, "field_not_allowed", "include"),
        ({"include": [{}]}, "field_not_allowed", "include"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "not_supported_yet", "'item_reference'"),
        ({"input": [{"type": "mcp_approval_response"}]}, "not_supported_yet", "'mcp_approval_response'"),
        ({"input": [{"role": "tool", "content": "x"}]}, "field_invalid", "'tool'"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "field_not_allowed",
            "`file_id`",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "field_not_allowed",
            "`file_id`",
        ),
        ({"input": None}, "field_missing", "`input`"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]}, "not_supported_yet", "stored"),
        ({"tools": [{"type": "mcp", "server_label": "x", "headers": {"a": "b"}}]}, "field_not_allowed", "`headers`"),
        ({"tools": [{"type": "mcp", "server_label": "x", "authorization": "t"}]}, "field_not_allowed", "authorization"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "field_invalid", "`container`"),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": []}}]},
            "field_not_allowed",
            "f",
        ),
        ({"tools": [{"type": "local_shell"}]}, "not_supported_yet", "'local_shell'"),
        ({"tools": [PAY, PAY]}, "field_invalid", "same name"),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "field_missing", "`name`"),
        ({"reasoning": {"effort": {"x": 1}}}, "field_invalid", "`effort`"),
    ],
)
def test_what_is_not_carried_is_refused_by_its_name(fields: Json, code: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        asked(**fields)
    assert caught.value.code == code
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("dated", "tool"),
    [
        ("web_search_2025_08_26", "web_search"),
        ("web_search_preview_2025_03_11", "web_search_preview"),
        ("web_search", "web_search"),
    ],
)
def test_a_dated_preview_is_the_tool_itself(dated: str, tool: str) -> None:
    assert asked(tools=[{"type": dated}]).hosted == (tool,)


def test_a_namespace_is_part_of_the_flat_name() -> None:
    assert (flat("mcp__p", "pay"), flat(None, "pay")) == ("mcp__p__pay", "pay")


def test_no_smuggled_field_reaches_a_provider() -> None:
    reached, tried = reaching(RESPONSES, (DIALECT, CHAT), FULL)
    assert reached == []
    assert tried > 4000
