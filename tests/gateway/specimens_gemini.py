"""Requests of Google's wire that between them have every field it lets in, few at a time."""

from typing import Any

from gateway.wires.neutral import Json
from tests.gateway.specimens_messages import PDF, PNG, SCHEMA


def _google(*contents: Json, **fields: Any) -> Json:
    return {"contents": [{"role": "user", "parts": [{"text": "look"}]}, *contents], **fields}


def _config(**fields: Any) -> Json:
    return _google(generationConfig=fields)


def _tool(**fields: Any) -> Json:
    return _google(tools=[fields])


def _declared(**fields: Any) -> Json:
    return _tool(functionDeclarations=[{"name": "pay", "description": "Pay it.", **fields}])


def _part(**part: Any) -> Json:
    return _google({"role": "user", "parts": [part]})


def _model(*parts: Json) -> Json:
    return _google(
        {"role": "model", "parts": [*parts, {"text": "I see."}]}, {"role": "user", "parts": [{"text": "go"}]}
    )


def _answered(call: Json, **told: Any) -> Json:
    result = {"name": "pay", "response": {"output": "it is paid"}, **told}
    return _google({"role": "model", "parts": [call]}, {"role": "user", "parts": [{"functionResponse": result}]})


_PAY = {"functionCall": {"name": "pay", "args": {"amount": 31}}}
_TYPED = {"type": "OBJECT", "properties": {"amount": {"type": "NUMBER"}}}
GEMINI: dict[str, Json] = {
    "system": _google(systemInstruction={"role": "system", "parts": [{"text": "Be quick."}]}),
    "model": _google(model="models/default"),
    "labels": _google(labels={"team": "t1"}),
    "serviceTier": _google(serviceTier="standard"),
    "store": _google(store=True),
    "stored": _google(cachedContent="cachedContents/1"),
    "safetySettings": _google(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
    "sampling": _config(temperature=0.37, stopSequences=["END"], seed=4711),
    "topP": _config(topP=0.83),
    "topK": _config(topK=40),
    "penalties": _config(presencePenalty=0.13, frequencyPenalty=0.17),
    "maxOutputTokens": _config(maxOutputTokens=77),
    "candidateCount": _config(candidateCount=2),
    "json": _config(responseMimeType="application/json"),
    "schema": _config(responseMimeType="application/json", responseSchema=_TYPED),
    "JSON schema": _config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    "logprobs": _config(responseLogprobs=True, logprobs=3),
    "responseModalities": _config(responseModalities=["TEXT"]),
    "mediaResolution": _config(mediaResolution="MEDIA_RESOLUTION_LOW"),
    "civic": _config(enableEnhancedCivicAnswers=True),
    "budget": _config(thinkingConfig={"thinkingBudget": 2048}),
    "no thoughts": _config(thinkingConfig={"thinkingBudget": 0}),
    "level": _config(thinkingConfig={"thinkingLevel": "LOW"}),
    "thoughts": _config(thinkingConfig={"includeThoughts": True}),
    "tool": _declared(parameters=_TYPED),
    "JSON tool": _declared(parametersJsonSchema=SCHEMA),
    "answering tool": _declared(response=_TYPED),
    "JSON answering tool": _declared(responseJsonSchema=SCHEMA),
    "blocking tool": _declared(behavior="BLOCKING"),
    "search": _tool(googleSearch={"timeRangeFilter": {"startTime": "2026-01-01", "endTime": "2026-02-01"}}),
    "older search": _tool(
        googleSearchRetrieval={"dynamicRetrievalConfig": {"mode": "MODE_DYNAMIC", "dynamicThreshold": 0.3}}
    ),
    "pages": _tool(urlContext={}),
    "code": _tool(codeExecution={}),
    "maps": _tool(googleMaps={"enableWidget": True}),
    "computer": _tool(computerUse={"environment": "BROWSER", "excludedPredefinedFunctions": ["f1"]}),
    "remote": _tool(mcpServers=[{"name": "m1", "streamableHttpTransport": {"url": "https://mcp.test"}}]),
    "files": _tool(fileSearch={"fileSearchStoreNames": ["s1"]}),
    "mode": _declared(parameters=_TYPED) | {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    "held to the schema": _declared(parameters=_TYPED)
    | {"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
    "allowed": _tool(functionDeclarations=[{"name": "pay"}, {"name": "look"}])
    | {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["pay"]}}},
    "where": _google(
        toolConfig={"retrievalConfig": {"latLng": {"latitude": 46.9, "longitude": 7.4}, "languageCode": "de"}}
    ),
    "picture": _part(inlineData={"mimeType": "image/png", "data": PNG}),
    "named picture": _part(inlineData={"mimeType": "image/png", "data": PNG, "displayName": "bill.png"}),
    "file": _part(inlineData={"mimeType": "application/pdf", "data": PDF, "displayName": "bill.pdf"}),
    "file by its address": _part(fileData={"fileUri": "https://files.test/a"}),
    "sharp picture": _part(
        inlineData={"mimeType": "image/png", "data": PNG}, mediaResolution={"level": "MEDIA_RESOLUTION_HIGH"}
    ),
    "sharp system": _google(
        systemInstruction={"parts": [{"text": "Be quick.", "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}]}
    ),
    "thought": _model({"text": "hm", "thought": True, "thoughtSignature": "GSIG"}),
    "ran code": _model(
        {"executableCode": {"id": "x1", "language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"id": "x1", "outcome": "OUTCOME_OK", "output": "2"}},
    ),
    "call": _answered(_PAY),
    "call by id": _google(
        {"role": "model", "parts": [{"functionCall": {"id": id_, **_PAY["functionCall"]}} for id_ in ("f1", "f2")]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "f2", "name": "pay", "response": {"output": "the second"}}},
                {"functionResponse": {"name": "pay", "response": {"output": "the first"}}},
            ],
        },
    ),
    "signed call": _answered({**_PAY, "thoughtSignature": "GSIG"}),
    "failed": _answered(_PAY, response={"error": "it is gone"}),
    "picture of a result": _answered(_PAY, parts=[{"inlineData": {"mimeType": "image/png", "data": PNG}}]),
    "named picture of a result": _answered(
        _PAY, parts=[{"inlineData": {"mimeType": "image/png", "data": PNG, "displayName": "bill.png"}}]
    ),
}
