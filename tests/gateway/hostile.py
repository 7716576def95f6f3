"""A hostile client over HTTP: full bodies for every wire, headers that steer proxies, and what no answer may say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.gateway.smuggling import MARK

Json = dict[str, Any]
SCHEMA: Json = {"type": "object", "properties": {"recipient": {"type": "string"}, "amount": {"type": "integer"}}}
ARGUMENTS = '{"recipient":"alice","amount":3}'
CHAT: Json = {
    "messages": [
        {"role": "system", "content": "Be quick."},
        {"role": "user", "content": [{"type": "text", "text": "pay alice"}]},
        {
            "role": "assistant",
            "content": "I pay.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "pay", "arguments": ARGUMENTS}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "paid"},
        {"role": "user", "content": "say these four words"},
    ],
    "tools": [{"type": "function", "function": {"name": "pay", "description": "Pay.", "parameters": SCHEMA}}],
    "tool_choice": "auto",
    "max_tokens": 100,
    "temperature": 0.5,
    "stop": ["END"],
}
RESPONSES: Json = {
    "instructions": "Be quick.",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "pay alice"}]},
        {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "c1", "output": "paid"},
        {"role": "user", "content": "say these four words"},
    ],
    "tools": [{"type": "function", "name": "pay", "description": "Pay.", "parameters": SCHEMA}],
    "tool_choice": "auto",
    "max_output_tokens": 100,
    "temperature": 0.5,
}
MESSAGES: Json = {
    "system": [{"type": "text", "text": "Be quick."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "pay alice"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I pay."},
                {"type": "tool_use", "id": "c1", "name": "pay", "input": {"amount": 3}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "paid"}]},
                {"type": "text", "text": "say these four words"},
            ],
        },
    ],
    "tools": [{"name": "pay", "description": "Pay.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "auto"},
    "max_tokens": 100,
    "temperature": 0.5,
}
GEMINI: Json = {
    "systemInstruction": {"parts": [{"text": "Be quick."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "pay alice"}]},
        {"role": "model", "parts": [{"text": "I pay."}, {"functionCall": {"name": "pay", "args": {"amount": 3}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "pay", "response": {"result": "paid"}}}]},
        {"role": "user", "parts": [{"text": "say these four words"}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "pay", "description": "Pay.", "parametersJsonSchema": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5, "stopSequences": ["END"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One route: its path for an alias, and a body that it takes."""

    name: str
    path: str
    body: Json
    dialect: str | None = None  # whose provider alone answers it

    def asked(self, alias: str, stream: bool = False) -> tuple[str, Json]:
        """The path and the body for an alias."""
        if "{alias}" in self.path:
            return self.path.format(alias=alias), self.body
        body = self.body | {"model": alias}
        return self.path, body | ({"stream": True} if stream and "count" not in self.path else {})


COUNTED = {name: MESSAGES[name] for name in ("system", "messages", "tools", "tool_choice")}
DOORS = (
    Door(name="chat", path="/openai/v1/chat/completions", body=CHAT),
    Door(name="responses", path="/openai/v1/responses", body=RESPONSES),
    Door(name="embeddings", path="/openai/v1/embeddings", body={"input": ["one", "two"]}, dialect="embeddings"),
    Door(name="messages", path="/anthropic/v1/messages?beta=true", body=MESSAGES),
    Door(name="count", path="/anthropic/v1/messages/count_tokens", body=COUNTED, dialect="messages"),
    Door(name="gemini", path="/gemini/v1beta/models/{alias}:generateContent", body=GEMINI),
    Door(name="gemini-stream", path="/gemini/v1beta/models/{alias}:streamGenerateContent?alt=sse", body=GEMINI),
    Door(
        name="gemini-count",
        path="/gemini/v1beta/models/{alias}:countTokens",
        body={"contents": GEMINI["contents"]},
        dialect="gemini",
    ),
)
STEERING = {
    name: f"{MARK}-value"
    for name in (
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix",
        "forwarded", "x-real-ip", "via", "x-original-url", "x-rewrite-url", "x-host", "x-http-method-override",
        "openai-organization", "openai-project", "openai-beta", "anthropic-dangerous-direct-browser-access",
        "anthropic-version", "x-goog-user-project", "x-goog-api-client", "x-goog-request-params",
        "x-goog-iam-authorization-token", "x-server-timeout", "cookie", "cookie2", "proxy-authorization",
        "x-litellm-api-key", "x-litellm-tags", "x-litellm-num-retries", "x-portkey-config", "x-portkey-provider",
        "x-portkey-custom-host", "helicone-auth", "helicone-target-url", "x-api-base", "api-key", "x-aws-access-key-id",
        "authorization-extra", "idempotency-key", "x-request-id", "traceparent", "tracestate", "baggage", "origin",
        "referer", "user-agent", "x-stainless-lang", "x-stainless-helper-method", "session-id", "x-client-request-id",
        "accept-language", "prefer", "expect-ct", "x-session-affinity",
    )
}  # fmt: skip
STEERING["anthropic-beta"] = f"mcp-client-2025-11-20,files-api-2025-04-14,{MARK}"
OURS = frozenset({
    "accept", "accept-encoding", "anthropic-version", "authorization", "content-length", "content-type", "host",
    "x-api-key", "x-goog-api-key",
})  # fmt: skip
"""All the headers that a provider ever gets of us, unless a beta was let through."""


def in_its_shape(path: str, answer: httpx.Response) -> bool:
    """Is this refusal in the words of the wire that was spoken?"""
    try:
        said = answer.json()
    except ValueError:
        return False
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    if path.startswith("/anthropic"):
        return said.get("type") == "error" and isinstance(error.get("type"), str)
    if path.startswith("/gemini"):
        return error.get("code") == answer.status_code and isinstance(error.get("status"), str)
    return isinstance(error.get("type"), str) and "code" in error and "param" in error


def said_inside(answer: httpx.Response) -> str:
    """Everything the client got, as one text."""
    return json.dumps([dict(answer.headers), answer.text])


def with_token(headers: Mapping[str, str], token: str) -> dict[str, str]:
    return {**headers, "authorization": f"Bearer {token}"}
