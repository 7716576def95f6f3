"""The Gemini wire and a hostile client: every object of a body has a list of the fields it may have."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chat import CHAT
from gateway.dialects.gemini import GEMINI as DIALECT
from gateway.dialects.responses import RESPONSES
from gateway.wires.gemini_face import GEMINI
from gateway.wires.neutral import Json
from kit.errors import Invalid
from tests.gateway.smuggling import reaching
from tests.gateway.test_gemini_wire import CLI, PNG, asked, read, turn

CONFIGS: Mapping[str, Json] = {
    "sound": {"responseModalities": ["TEXT", "AUDIO"]},
    "a voice": {"speechConfig": {"languageCode": "de"}},
    "pictures": {"imageConfig": {"imageSize": "4K"}},
    "another model": {"routingConfig": {"autoMode": {}}},
    "a chosen model": {"modelSelectionConfig": {"featureSelectionPreference": "PRIORITIZE_COST"}},
    "an enum": {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}},
    "a schema of plain text": {"responseSchema": {"type": "OBJECT"}},
    "two schemas": {"responseMimeType": "application/json", "responseSchema": {}, "responseJsonSchema": {}},
    "no output": {"maxOutputTokens": 0},
    "too many answers": {"candidateCount": 9},
    "a heat that is none": {"temperature": "hot"},
    "stops that are none": {"stopSequences": [1]},
    "a field of thinking": {"thinkingConfig": {"url": "x"}},
    "an odd level": {"thinkingConfig": {"thinkingLevel": "BOUNDLESS"}},
    "an odd budget": {"thinkingConfig": {"thinkingBudget": -2}},
    "a boolean budget": {"thinkingConfig": {"thinkingBudget": True}},
}
BODIES: Mapping[str, Json] = {
    "stored content": {"cachedContent": "cachedContents/1"},
    "stored content, spelled otherwise": {"cached_content": "cachedContents/1"},
    "a dearer tier": {"serviceTier": "priority"},
    "a dearer tier, spelled otherwise": {"service_tier": "SERVICE_TIER_FLEX"},
    "another model": {"model": "models/gemini-ultra"},
    "to be continued": {"continuationToken": "a"},
    "an endpoint": {"api_base": "http://evil.test"},
    "headers": {"httpOptions": {"headers": {"a": "b"}}},
    "a field of safety": {"safetySettings": [{"category": "a", "method": "PROBABILITY"}]},
    "a label that is none": {"labels": {"a": {"b": "c"}}},
    "a field of the choice": {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}},
    "calls of the server": {"toolConfig": {"includeServerSideToolInvocations": True}},
    "an odd mode": {"toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
    "an odd place": {"toolConfig": {"retrievalConfig": {"latLng": {"latitude": "x"}}}},
    "a system that shows pictures": {
        "systemInstruction": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}
    },
    "a system that is text": {"systemInstruction": "Be quick."},
}
TOOLBOX: Mapping[str, Json] = {
    "stored files": {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/1"]}},
    "a header of a remote server": {
        "mcpServers": [{"name": "a", "streamableHttpTransport": {"url": "https://a", "headers": {"a": "b"}}}]
    },
    "a credential of maps": {"googleMaps": {"authConfig": {"apiKey": "a"}}},
    "a corpus": {"retrieval": {"vertexRagStore": {}}},
    "a search elsewhere": {"parallelAiSearch": {"apiKey": "a"}},
    "an enterprise search": {"enterpriseWebSearch": {}},
    "a field of code": {"codeExecution": {"container": "a"}},
    "a function that does not block": {"functionDeclarations": [{"name": "a", "behavior": "NON_BLOCKING"}]},
    "a field of a function": {"functionDeclarations": [{"name": "a", "url": "https://evil.test"}]},
    "a function with two schemas": {
        "functionDeclarations": [{"name": "a", "parameters": {}, "parametersJsonSchema": {}}]
    },
    "two functions of one name": {"functionDeclarations": [{"name": "a"}, {"name": "a"}]},
    "a function without a name": {"functionDeclarations": [{"description": "a"}]},
}
PARTS: Mapping[str, Json] = {
    "a file": {"fileData": {"mimeType": "image/png", "fileUri": "https://evil.test/a.png"}},
    "a file, spelled otherwise": {"file_data": {"file_uri": "gs://a"}},
    "sound": {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}},
    "a page": {"inlineData": {"mimeType": "application/xml", "data": "AA=="}},
    "data that is none": {"inlineData": {"mimeType": "image/png", "data": "<svg>"}},
    "a video": {"inlineData": {"mimeType": "image/png", "data": PNG}, "videoMetadata": {"fps": 1}},
    "a call of the user": {"functionCall": {"name": "a"}},
    "a thought of the user": {"text": "a", "thought": True},
    "a signature of the user": {"text": "a", "thoughtSignature": "a"},
    "code of the user": {"executableCode": {"code": "a"}},
    "two at once": {"text": "a", "inlineData": {"mimeType": "image/png", "data": PNG}},
    "a file in a result": {"functionResponse": {"name": "a", "parts": [{"fileData": {"fileUri": "gs://a"}}]}},
    "a result that goes on": {"functionResponse": {"name": "a", "response": {}, "willContinue": True}},
    "a result that is text": {"functionResponse": {"name": "a", "response": "b"}},
    "a call of the server": {"toolCall": {"toolType": "a"}},
    "metadata": {"text": "a", "partMetadata": {"a": "b"}},
}
TURNS: Mapping[str, Json] = {
    "a picture of the model": {"inlineData": {"mimeType": "image/png", "data": PNG}},
    "a result of the model": {"functionResponse": {"name": "a", "response": {}}},
    "a call in pieces": {"functionCall": {"name": "a", "partialArgs": []}},
    "arguments that are none": {"functionCall": {"name": "a", "args": "{}"}},
    "a call without a name": {"functionCall": {"args": {}}},
    "a field of code": {"executableCode": {"code": "a", "url": "b"}},
    "an answer of the server": {"toolResponse": {"response": {}}},
}


@pytest.mark.parametrize(
    "body",
    [
        *(asked(generationConfig=config) for config in CONFIGS.values()),
        *(asked(**fields) for fields in BODIES.values()),
        *(asked(tools=[tool]) for tool in TOOLBOX.values()),
        *(turn("user", part) for part in PARTS.values()),
        *(turn("model", part) for part in TURNS.values()),
        turn("king", {"text": "a"}),
        {"contents": [{"role": "user", "parts": "a"}]},
        {"contents": "look"},
        {"contents": [{"role": "user", "parts": [{"text": "a"}], "cacheControl": {}}]},
    ],
    ids=[*CONFIGS, *BODIES, *TOOLBOX, *PARTS, *TURNS, "a king", "parts that are text", "a talk that is text", "more"],
)
def test_nothing_is_smuggled(body: Json) -> None:
    with pytest.raises(Invalid):
        read(body)


def test_no_field_of_a_hostile_client_reaches_a_provider() -> None:
    body = {name: value for name, value in CLI.items() if name != "labels"}
    body["generationConfig"] = body["generationConfig"] | {"candidateCount": 1}
    reached, tried = reaching(GEMINI, (DIALECT, CHAT, RESPONSES), body)
    assert reached == []
    assert tried > 5_000
    hosted = [{"googleMaps": {"enableWidget": True}}, {"mcpServers": [{"name": "a"}]}]
    reached, tried = reaching(GEMINI, (DIALECT,), asked(tools=hosted))
    assert reached == []
    assert tried > 500


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["text", "user", "model", "AUTO"])
NAMES = st.sampled_from(
    [*CLI, "parts", "text", "role", "inlineData", "functionCall", "functionResponse", "name", "args"]
)


@given(
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=12),
    st.sampled_from([*CLI]),
)
def test_any_json_is_read_or_refused_and_never_breaks(value: Any, name: str) -> None:
    with suppress(Invalid):  # anything else is our mistake
        request = read({**CLI, name: value})
        assert isinstance(DIALECT.passed(request, "m", 9), dict)
