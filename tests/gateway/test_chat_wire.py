"""What the Chat wire takes, what it refuses, and what nobody smuggles through it."""

from typing import Any

import pytest

from gateway.dialects.chat import CHAT as DIALECT
from gateway.dialects.responses import RESPONSES
from gateway.wires.chat import CHAT
from gateway.wires.neutral import HERE, Call, Image, Json, Message, Request, Result, Said, Thought, Tool
from gateway.wires.seals import seal
from kit.errors import Invalid
from tests.gateway.smuggling import reaching

PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"api_key": {"type": "string"}}}
USER = {"role": "user", "content": "Hello."}
SHORT = {"type": "ephemeral"}
MARKED = {"type": "ephemeral", "ttl": "1h"}
FULL: Json = {
    "model": "default",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": MARKED}]},
        {"role": "developer", "content": "And kind.", "name": "dev"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "refusal": None,
            "reasoning_content": "Look it up.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at":1}'},
                    "extra_content": {"google": {"thought_signature": "SIG"}},
                },
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "tool", "tool_call_id": "c2", "content": "done"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True},
            "cache_control": SHORT,
        },
        {
            "type": "custom",
            "custom": {
                "name": "patch",
                "description": "Patch.",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}},
            },
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]},
    },
    "parallel_tool_calls": False,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "max_completion_tokens": 200,
    "temperature": 0.5,
    "stop": ["END"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    "reasoning_effort": "low",
    "store": True,
    "metadata": {"team": "a"},
    "user": "someone",
    "safety_identifier": "someone",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"50256": -100},
    "prediction": {"type": "content", "content": [{"type": "text", "text": "A cat."}]},
    "modalities": ["text"],
    "web_search_options": {
        "search_context_size": "low",
        "user_location": {"type": "approximate", "approximate": {"city": "Bern"}},
    },
}


def asked(**fields: Any) -> Request:
    return CHAT.parse({"model": "default", "messages": [USER]} | fields, HERE)


def test_a_full_request_is_read_to_the_last_part() -> None:
    request = CHAT.parse(FULL, HERE)
    assert [message.role for message in request.messages] == [
        "system", "system", "user", "assistant", "tool", "tool", "assistant",
    ]  # fmt: skip
    assert request.messages[0].parts == (Said(text="Be brief.", cached=MARKED),)
    assert request.messages[2].parts[1:] == (
        Image(media_type="image/png", data=PIXEL, detail="low"),
        Image(url="https://pictures.test/a.png"),
    )
    assert request.messages[3].parts == (
        Thought(text="Look it up."),
        Said(text="I look."),
        Call(id="c1", name="look", arguments='{"at":1}', seal=seal("chat", "SIG")),
        Call(id="c2", name="patch", arguments='{"input":"*** Begin"}'),
    )
    assert request.messages[4] == Message(role="tool", parts=(Result(call_id="c1", parts=(Said(text="A cat."),)),))
    assert request.messages[6].text == "I won't."
    assert (request.media, request.media_bytes) == (2, len(PIXEL))


def test_what_a_full_request_wants_is_known() -> None:
    request = CHAT.parse(FULL, HERE)
    assert request.tools == (
        Tool(name="look", own="look", description="Look.", parameters=SCHEMA, strict=True, cached=SHORT),
    )
    assert (request.tool_choice, request.parallel_calls) == ("required", False)
    assert (request.stream, request.wants_usage, request.max_output, request.effort) == (True, True, 200, "low")
    assert request.format == FULL["response_format"]
    assert request.sampling == {"temperature": 0.5, "stop": ["END"]}
    assert request.hosted == ("web_search",)
    assert request.dropped == (
        "logit_bias", "logprobs", "messages.name", "metadata", "prediction", "prompt_cache_key", "safety_identifier",
        "service_tier", "tools.format", "top_logprobs", "user",
    )  # fmt: skip


def test_what_passes_on_is_what_was_sent_but_for_what_is_ours() -> None:
    passed = DIALECT.passed(CHAT.parse(FULL, HERE), "gpt-5.5", 100)
    sent = {name: value for name, value in FULL.items() if name not in ("metadata", "user", "safety_identifier")}
    assert passed == sent | {
        "model": "gpt-5.5",
        "max_completion_tokens": 100,
        "store": False,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    }


@pytest.mark.parametrize(
    ("sent", "model", "bound"),
    [
        ({}, "mistral-large", {"max_tokens": 7}),
        ({}, "gpt-5.5", {"max_completion_tokens": 7}),
        ({}, "openai/o3", {"max_completion_tokens": 7}),
        ({}, "gpt-4o", {"max_tokens": 7}),
        ({"max_tokens": 9}, "gpt-5.5", {"max_completion_tokens": 7}),
        ({"max_completion_tokens": 9}, "mistral-large", {"max_completion_tokens": 7}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, "mistral-large", {"max_completion_tokens": 7}),
    ],
)
def test_the_answer_is_bounded_once_in_the_field_that_the_model_takes(sent: Json, model: str, bound: Json) -> None:
    passed = DIALECT.passed(asked(**sent), model, 7)
    assert {name: value for name, value in passed.items() if name.startswith("max_")} == bound


def test_a_foreign_seal_stays_here_and_a_native_signature_goes_back() -> None:
    def call(signature: str) -> Json:
        return {
            "id": "c",
            "type": "function",
            "function": {"name": "look", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": signature}},
        }

    calls = [call(seal("gemini", "G")), call(seal("chat", "own")), call("native")]
    request = asked(messages=[USER, {"role": "assistant", "content": None, "tool_calls": calls}])
    sent = DIALECT.passed(request, "m", 1)["messages"][1]["tool_calls"]
    assert ["extra_content" in one for one in sent] == [False, True, True]
    assert [one["extra_content"]["google"]["thought_signature"] for one in sent[1:]] == ["own", "native"]


def test_a_null_that_nobody_knows_was_never_sent() -> None:
    said = {"role": "assistant", "content": "Hi."}
    echoed = said | {"audio": None, "function_call": None, "annotations": [{"type": "url_citation"}]}
    sent = DIALECT.passed(asked(messages=[USER, echoed], api_base=None), "m", 1)
    assert "api_base" not in sent
    assert sent["messages"][1] == said


def test_what_sdks_add_to_an_answer_may_come_back_and_goes_no_further() -> None:
    call: Any = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}
    said: Any = {"role": "assistant", "content": None, "tool_calls": [call]}
    added: Any = {"provider_specific_fields": {"api_base": "x"}, "parsed": None}
    function = call["function"] | {"parsed_arguments": {}, "provider_specific_fields": None}
    echoed = said | added | {"tool_calls": [call | added | {"function": function}]}
    sent = DIALECT.passed(asked(messages=[USER, echoed]), "m", 1)
    assert sent["messages"][1] | {"content": None} == said


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"n": 500}, "field_invalid", "`n`"),
        ({"n": 0}, "field_invalid", "`n`"),
        ({"service_tier": "priority"}, "not_supported_yet", "another price"),
        ({"service_tier": "flex"}, "not_supported_yet", "another price"),
        ({"modalities": ["text", "audio"]}, "not_supported_yet", "Audio"),
        ({"audio": {"voice": "alloy"}}, "field_not_allowed", "`audio`"),
        ({"functions": [{"name": "f"}]}, "field_not_allowed", "`functions`"),
        ({"messages": [{"role": "function", "content": "x"}]}, "field_invalid", "'function'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "not_supported_yet", "'input_audio'"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "field_missing", "`file`"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "field_missing", "`text`"),
        ({"messages": [{"role": "user", "content": 5}]}, "field_invalid", "`content`"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "field_missing", "`tool_call_id`"),
        ({"messages": [USER | {"tool_calls": []}]}, "field_not_allowed", "message of the user"),
        ({"tools": [{"type": "mcp"}]}, "not_supported_yet", "'mcp'"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "field_invalid",
            "parameters",
        ),
        ({"tool_choice": "any"}, "field_invalid", "'any'"),
        ({"tool_choice": {"type": "mcp"}}, "not_supported_yet", "'mcp'"),
        ({"response_format": {"type": "grammar"}}, "not_supported_yet", "'grammar'"),
        ({"response_format": {"type": "json_schema"}}, "field_missing", "`json_schema`"),
        ({"logit_bias": {"a": "b"}}, "field_invalid", "`logit_bias`"),
        ({"stream": "yes"}, "field_invalid", "`stream`"),
        ({"metadata": "x"}, "field_invalid", "`metadata`"),
    ],
)
def test_what_is_not_carried_is_refused_by_its_name(fields: Json, code: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        asked(**fields)
    assert caught.value.code == code
    assert said in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.test/a.png",
        "file:///etc/passwd",
        "gs://bucket/a.png",
        "data:text/html;base64,PGI+",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/png,raw",
        "data:image/png;base64,<svg/>",
        "",
    ],
)
def test_a_picture_is_data_or_at_an_https_address(url: str) -> None:
    with pytest.raises(Invalid):
        asked(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


def test_several_choices_pass_on_and_are_never_translated() -> None:
    request = asked(n=3)
    assert request.choices == DIALECT.passed(request, "m", 1)["n"] == 3
    assert RESPONSES.asked
    with pytest.raises(Invalid, match="More than one choice"):
        RESPONSES.asked(request, "m", 1)


def test_no_smuggled_field_reaches_a_provider() -> None:
    reached, tried = reaching(CHAT, (DIALECT, RESPONSES), FULL)
    assert reached == []
    assert tried > 4000
