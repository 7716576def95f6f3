"""What a translation makes of a request: it is held for by what the provider is sent, and no schema blows it up."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.bounds import TOOLS_TOKENS
from gateway.dialects.schemas import MOST_WRITTEN_OUT, growth
from gateway.wires.fields import MOST_NAME
from gateway.wires.neutral import Json
from kit.errors import Invalid
from tests.fakes import raw_provider as raw
from tests.gateway.plane import PRICES, open_plane

INPUT_NANO, OUTPUT_NANO = 2_500, 10_000
"""Of a token, as PRICES says."""
GEMINI = b'{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}'
NAMESPACE = "n" * 60
MANY: list[Json] = [{"type": "custom", "name": f"a{number}"} for number in range(200)]


def bomb(levels: int) -> Json:
    """A schema that is twice as large with each level, if its references are written out."""
    defined: Json = {"d0": {"type": "string"}}
    for level in range(1, levels + 1):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        defined[f"d{level}"] = {"type": "object", "properties": {"a": inner, "b": inner}, "required": ["a"]}
    return {"type": "object", "$defs": defined, "properties": {"x": {"$ref": f"#/$defs/d{levels}"}}}


def _function(schema: Json) -> list[Json]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


def _answer(schema: Json) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


CASES: dict[str, tuple[str, Json]] = {
    "namespace": ("responses", {"tools": [{"type": "namespace", "name": NAMESPACE, "tools": MANY}]}),
    "custom tools": ("responses", {"tools": MANY}),
    "references of a tool": ("chat", {"tools": _function(bomb(40))}),
    "references of an answer": ("chat", {"response_format": _answer(bomb(40))}),
}
TARGETS = {
    "chat": ("openai", "some-model", raw.completion()),
    "gemini": ("gemini", "gemini-2.5-flash", GEMINI),
    "messages": ("anthropic", "claude-sonnet-4-5", b'{"type":"message","content":[],"stop_reason":"end_turn"}'),
}


@pytest.mark.parametrize("dialect", TARGETS)
@pytest.mark.parametrize("case", CASES)
async def test_what_a_provider_is_sent_is_held_for(tmp_path: Path, case: str, dialect: str) -> None:
    (wire, more), (name, model, answer) = CASES[case], TARGETS[dialect]
    path = {"chat": "/openai/v1/chat/completions", "responses": "/openai/v1/responses"}[wire]
    said: Json = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    if wire == "responses":
        said = {"input": "x", "max_output_tokens": 1}
    asked = json.dumps({"model": "m", **said, **more})
    async with raw.serve(raw.whole(answer)) as provider:
        alias = {"provider": name, "base_url": provider.url, "model": model, "api_key": "k", "dialects": [dialect]}
        async with (
            open_plane(tmp_path, {"m": alias | PRICES | {"retries": 0}}) as plane,
            httpx.AsyncClient(verify=False, timeout=60) as client,
        ):
            session, token = await plane.session("m", budget_nano=10**12)
            headers = {"x-api-key": token, "content-type": "application/json"}
            await client.post(f"{plane.containers}{path}", content=asked, headers=headers)
            await plane.settled()
            (held,) = [data["held_nano"] for type_, data in await plane.happened(session) if type_ == "model.requested"]
    hidden_nano = TOOLS_TOKENS * INPUT_NANO if "tools" in more else 0
    assert held - hidden_nano - OUTPUT_NANO >= len(provider.bodies[0]) * INPUT_NANO
    assert len(provider.bodies[0]) < 7 * len(asked)


async def test_what_is_sent_as_it_came_is_held_for_by_its_own_size(tmp_path: Path) -> None:
    asked = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "x" * 3000}]}
    async with raw.serve(raw.whole(raw.completion())) as provider:
        alias = {"base_url": provider.url, "model": "m", "api_key": "k", "dialects": ["chat"], **PRICES}
        async with open_plane(tmp_path, {"m": alias}) as plane, httpx.AsyncClient(verify=False, timeout=60) as client:
            session, token = await plane.session("m", budget_nano=10**12)
            address = f"{plane.containers}/openai/v1/chat/completions"
            assert (await client.post(address, json=asked, headers={"x-api-key": token})).status_code == 200
            await plane.settled()
            held = (await plane.happened(session))[0][1]["held_nano"]
    assert held < (3000 + 200) * INPUT_NANO + 50 * OUTPUT_NANO


NAMED: dict[str, tuple[str, Any]] = {
    "/openai/v1/chat/completions": ("messages", [{"role": "user", "content": "x"}]),
    "/openai/v1/responses": ("input", "x"),
    "/anthropic/v1/messages": ("messages", [{"role": "user", "content": "x"}]),
    "/gemini/v1beta/models/m:generateContent": ("contents", [{"role": "user", "parts": [{"text": "x"}]}]),
}


def _tools(path: str, name: str) -> list[Json]:
    if "chat" in path:
        return [{"type": "function", "function": {"name": name}}]
    if "responses" in path:
        return [{"type": "namespace", "name": name, "tools": [{"type": "function", "name": "a"}]}]
    if "anthropic" in path:
        return [{"name": name, "input_schema": {"type": "object"}}]
    return [{"functionDeclarations": [{"name": name}]}]


def _called(path: str, name: str) -> Any:
    """A call of a tool of this name, in the conversation."""
    if "chat" in path:
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]
    if "responses" in path:
        return [{"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"}]
    if "anthropic" in path:
        return [{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": name, "input": {}}]}]
    return [{"role": "model", "parts": [{"functionCall": {"name": name, "args": {}}}]}]


@pytest.mark.parametrize("path", NAMED)
async def test_a_name_that_no_provider_takes_is_refused_in_the_words_of_the_wire(tmp_path: Path, path: str) -> None:
    field, said = NAMED[path]
    async with raw.serve(raw.whole(raw.completion())) as provider:
        alias = {"base_url": provider.url, "model": "m", "api_key": "k", "dialects": ["chat"], **PRICES}
        async with open_plane(tmp_path, {"m": alias}) as plane, httpx.AsyncClient(verify=False, timeout=60) as client:
            _, token = await plane.session("m")
            bare: Json = {} if "gemini" in path else {"model": "m"}
            bare |= {"max_tokens": 9} if "anthropic" in path else {}
            for more, status in (
                ({field: said, "tools": _tools(path, "n" * MOST_NAME)}, 200),
                ({field: said, "tools": _tools(path, "n" * (MOST_NAME + 1))}, 400),
                ({field: _called(path, "n" * MOST_NAME)}, 200),
                ({field: _called(path, "n" * (MOST_NAME + 1))}, 400),
            ):
                answer = await client.post(
                    f"{plane.containers}{path}", json=bare | more, headers={"x-api-key": token, "x-goog-api-key": token}
                )
                assert answer.status_code == status, answer.text
                assert status == 200 or "longer than 128 characters" in answer.json()["error"]["message"]


def test_what_litellm_would_write_out_is_counted_without_writing_it() -> None:
    shared: Json = {"type": "object", "$defs": {"a": {"type": "string"}}, "properties": {}}
    assert growth([shared]) == 0
    shared["properties"] = {"one": {"$ref": "#/$defs/a"}, "two": {"items": [{"$ref": "#/definitions/a"}]}}
    assert growth([shared, {}]) == 2 * len('{"type":"string"}')
    assert 2**5 * len('{"type":"string"}') < growth([bomb(5)]) < MOST_WRITTEN_OUT
    itself: Json = {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}
    assert growth([itself]) > 0


@pytest.mark.parametrize(
    "schema",
    [
        bomb(20),
        bomb(3000),
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"description": "x" * 9000}}, "anyOf": [{"$ref": "#/$defs/a"}] * 30},
    ],
)
def test_what_grows_too_much_is_refused(schema: Json) -> None:
    with pytest.raises(Invalid, match=r"\$ref|refers to itself"):
        growth([schema])
