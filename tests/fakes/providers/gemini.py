"""Google's generateContent, as generativelanguage.googleapis.com speaks it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.providers.manner import ARGUMENTS, CACHED, INPUT, SAID, THOUGHT, Asked, Json, Manner

USAGE = {
    "promptTokenCount": INPUT + CACHED,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": SAID,
    "thoughtsTokenCount": THOUGHT,
    "totalTokenCount": INPUT + CACHED + SAID + THOUGHT,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": INPUT + CACHED}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": CACHED}],
}
COUNTED = 4343
SIGNATURE = "c2lnbmVkIGJ5IGdvb2dsZQ=="
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


def asked(body: Json, path: str) -> Asked:
    found = re.search(r"models/([^:]+):(\w+)", path)
    assert found
    contents = body.get("contents", [])
    texts = ["".join(part.get("text", "") for part in content["parts"]) for content in contents]
    said = [text for content, text in zip(contents, texts, strict=True) if content.get("role") != "model" and text]
    last = contents[-1]["parts"][-1] if contents else {}
    declared = [one["name"] for tool in body.get("tools", ()) for one in part(tool, "functionDeclarations") or ()]
    brought = part(last, "functionResponse")
    return Asked(
        model=found[1],
        text=said[-1] if said else "",
        tools=tuple(declared),
        result=json.dumps(brought["response"]) if brought else None,
        stream=found[2] == "streamGenerateContent",
    )


def part(value: Json, name: str) -> Any:
    """A field in either of the two spellings that Google takes."""
    return value.get(name) or value.get(re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name))


def whole(said: Asked) -> Json:
    return _answer(said, [_call(said.calls) if said.calls else {"text": "".join(said.words)}], "STOP")


def pieces(said: Asked) -> Iterator[bytes]:
    for one in [_call(said.calls)] if said.calls else [{"text": word} for word in said.words]:
        yield _sse(_answer(said, [one], None))
    yield _sse(_answer(said, [{"text": ""}], "STOP"))


def refusal(status: int, sentence: str) -> Json:
    return {"error": {"code": status, "message": sentence, "status": STATUSES[status]}}


def _key(headers: Mapping[str, str]) -> str:
    return headers.get("x-goog-api-key", "")


def _call(name: str) -> Json:
    return {"functionCall": {"name": name, "args": ARGUMENTS}, "thoughtSignature": SIGNATURE}


def _answer(said: Asked, parts: list[Json], finish: str | None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": USAGE,
        "modelVersion": said.model,
        "responseId": f"resp-{said.number}",
    }


def _sse(payload: Json) -> bytes:
    return f"data: {json.dumps(payload)}\r\n\r\n".encode()


GEMINI = Manner(name="gemini", asked=asked, whole=whole, pieces=pieces, refusal=refusal, key=_key)
