"""A hostile client's corpus: fields that steer a proxy or an SDK, put into every object of a body."""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gateway.dialects.dialect import Dialect
from gateway.wires.neutral import HERE, Json, Request, Wire
from kit.errors import Invalid

MARK = "smuggled.test"
NAMES = (
    "api_base", "api_key", "base_url", "api_version", "azure_endpoint", "organization", "extra_headers",
    "extra_body", "extra_query", "headers", "authorization", "mock_response", "mock_tool_calls", "mock_timeout",
    "custom_llm_provider", "provider", "fallbacks", "context_window_fallbacks", "model_list", "models", "route",
    "router", "deployment_id", "model_info", "litellm_params", "litellm_metadata", "litellm_credential_name",
    "proxy_server_request", "callbacks", "success_callback", "langfuse_host", "guardrails", "tags", "cache",
    "caching", "num_retries", "timeout", "client", "aws_access_key_id", "aws_bedrock_runtime_endpoint",
    "vertex_credentials", "vertex_project", "vertex_location", "region_name", "ssl_verify", "hf_model_name",
    "input_cost_per_token", "output_cost_per_token", "base_model", "drop_params", "allowed_openai_params",
    "metadata", "plugins", "transforms", "web_search_options", "server_url", "connector_id", "container_id",
    "file_id", "file_ids", "vector_store_ids", "previous_response_id", "conversation", "prompt_id", "store", "user",
    "$ref", "__proto__", "model", "user_config", "specific_deployment", "use_in_pass_through",
)  # fmt: skip
THING = {"type": MARK, "name": MARK, "url": f"https://{MARK}"}
VALUES: tuple[Any, ...] = (f"https://{MARK}", THING)
DATA = (
    "parameters", "schema", "logit_bias", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "response",
    "args", "labels",
)  # fmt: skip
"""Objects whose keys are data, not fields: a JSON Schema describes whatever a tool takes."""


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a body that is neither object nor list."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        yield path
    for name, inner in inside or ():
        if name not in DATA:
            yield from leaves(inner, (*path, name))


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every object in a body."""
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            if name not in DATA:
                yield from places(inner, (*path, name))
    if isinstance(value, list):
        for place, inner in enumerate(value):
            yield from places(inner, (*path, place))


def attempts(body: Json) -> Iterator[tuple[str, Json]]:
    """The body again and again, each time with one field more in one of its objects."""
    for path, name, value in itertools.product(places(body), NAMES, VALUES):
        smuggled = copy.deepcopy(body)
        inner: Any = smuggled
        for step in path:
            inner = inner[step]
        if name not in inner:
            inner[name] = value
            yield f"{'.'.join(map(str, path)) or 'body'}: {name}", smuggled
    for path, value in itertools.product(leaves(body), (THING, [THING], [[THING]])):
        smuggled = copy.deepcopy(body)
        inner = smuggled
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        yield f"{'.'.join(map(str, path))} replaced", smuggled


def reaching(wire: Wire, dialects: tuple[Dialect, ...], body: Json) -> tuple[list[str], int]:
    """Which attempts brought something into a body that leaves, not refused or left out; and how many were made."""
    tried, reached = 0, []
    for said, smuggled in attempts(body):
        tried += 1
        try:
            request = wire.parse(smuggled, HERE)
        except Invalid:
            continue
        sent = [leaving for dialect in dialects for leaving in _sent(dialect, wire, request)]
        if any(MARK in json.dumps(leaving) for leaving in sent):
            reached.append(said)
    return reached, tried


def _sent(dialect: Dialect, wire: Wire, request: Request) -> Iterator[Json]:
    """What leaves for a provider of this dialect, in passing and translated."""
    if dialect.name == wire.name:
        yield dialect.passed(request, "m", 9)
    if dialect.asked is not None and request.messages:
        yield dialect.asked(replace(request, hosted=()), "m", 9)[0]
