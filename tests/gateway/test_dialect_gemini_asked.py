"""Google's side: what it is sent, what its answers cost in tokens, and how they are counted beforehand."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.counting import GEMINI as COUNTING
from gateway.dialects.failures import told
from gateway.dialects.gemini import GEMINI, UNSIGNED, usage_of
from gateway.wires.gemini_face import GEMINI as WIRE
from gateway.wires.gemini_parts import signature_of
from gateway.wires.neutral import Address, Json, Request
from gateway.wires.seals import seal
from kit.errors import Invalid
from ledger.prices import Usage
from tests.gateway.test_dialect_gemini import ASKED, USAGE, USED


@pytest.mark.parametrize(
    ("told", "classes"),
    [
        (  # a first answer, no thinking
            {"promptTokenCount": 8, "candidatesTokenCount": 36, "totalTokenCount": 44},
            Usage(input=8, output=36),
        ),
        (  # 2.5: thoughts beside the answer
            {"promptTokenCount": 11, "candidatesTokenCount": 9, "totalTokenCount": 86, "thoughtsTokenCount": 66},
            Usage(input=11, output=9, reasoning=66),
        ),
        (USED, USAGE),
        (  # cached sound: the prompt includes it
            {
                "promptTokenCount": 696219,
                "candidatesTokenCount": 214,
                "totalTokenCount": 696433,
                "cachedContentTokenCount": 696190,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 29},
                    {"modality": "AUDIO", "tokenCount": 696190},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 696190}],
            },
            Usage(input=29, cache_read_audio=696190, output=214),
        ),
        (  # sound and a picture, some of the sound cached; a picture comes back
            {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 300,
                "candidatesTokenCount": 1300,
                "totalTokenCount": 2310,
                "thoughtsTokenCount": 10,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 342},
                    {"modality": "AUDIO", "tokenCount": 400},
                    {"modality": "IMAGE", "tokenCount": 258},
                ],
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 200},
                    {"modality": "AUDIO", "tokenCount": 100},
                ],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
            Usage(
                input=142,
                cache_read=200,
                cache_read_audio=100,
                audio_input=300,
                image_input=258,
                output=10,
                reasoning=10,
                image_output=1290,
            ),
        ),
        (  # what a search found is read too
            {
                "promptTokenCount": 12,
                "candidatesTokenCount": 40,
                "totalTokenCount": 10361,
                "toolUsePromptTokenCount": 10309,
            },
            Usage(input=10321, output=40),
        ),
        (  # a server that counts thoughts into the answer
            {"promptTokenCount": 10, "candidatesTokenCount": 30, "totalTokenCount": 40, "thoughtsTokenCount": 25},
            Usage(input=10, output=5, reasoning=25),
        ),
        ({"promptTokenCount": 9}, Usage(input=9)),
        ({"promptTokenCount": 5, "totalTokenCount": 12}, Usage(input=5, output=7)),
        ({"promptTokenCount": "9", "candidatesTokenCount": True, "thoughtsTokenCount": -1}, Usage()),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 9}, Usage(cache_read=3)),
    ],
)
def test_tokens_fall_into_one_class_each(told: Json, classes: Usage) -> None:
    assert usage_of(told) == classes
    if "totalTokenCount" in told:
        assert classes.total_input + classes.total_output == told["totalTokenCount"]


@given(*[st.integers(0, 10**6)] * 5)
def test_classes_add_up_to_the_total(prompt: int, cached: int, answer: int, thoughts: int, tools: int) -> None:
    told = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tools,
        "totalTokenCount": prompt + tools + answer + thoughts,
    }
    found = usage_of(told)
    assert (found.total_input, found.output, found.reasoning) == (prompt + tools, answer, thoughts)
    assert found.cache_read == min(cached, prompt)


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-2.5-pro", True, "/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-pro", False, "/models/gemini-2.5-pro:generateContent"),
        ("tunedModels/a", False, "/tunedModels/a:generateContent"),
        ("a?b=c#d e", False, "/models/a%3Fb%3Dc%23d%20e:generateContent"),
    ],
)
def test_where_it_is_asked(model: str, stream: bool, path: str) -> None:
    assert GEMINI.path(model, stream) == path


def test_the_key_is_googles_header_and_nothing_of_the_client_is_in_it() -> None:
    assert GEMINI.headers("k", ASKED) == {"content-type": "application/json", "x-goog-api-key": "k"}
    assert "x-goog-api-key" not in GEMINI.headers(None, ASKED)


def test_its_sentence_is_told_without_a_key() -> None:
    body = [{"error": {"code": 400, "message": "API key AIzaSyA1234567890abcdefghijklmnopqrstuv not valid."}}]
    assert told(GEMINI.refused(json.dumps(body).encode()), None) == "API key … not valid."


BODY: Json = {
    "contents": [{"role": "user", "parts": [{"text": "look"}]}],
    "generation_config": {"temperature": 0.5, "max_output_tokens": 5_000, "candidateCount": 2},
    "safetySettings": [{"category": "a", "threshold": "b"}],
    "labels": {"team": "a"},
    "model": "models/default",
    "store": True,
}


def parsed(body: Json) -> Request:
    return WIRE.parse(copy.deepcopy(body), Address(alias="default"))


def test_what_passes_on_is_what_was_sent_but_for_the_bound() -> None:
    assert GEMINI.passed(parsed(BODY), "gemini-2.5-pro", 900) == {
        "contents": BODY["contents"],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 900, "candidateCount": 2},
        "safetySettings": BODY["safetySettings"],
        "store": False,
    }
    assert GEMINI.passed(parsed({"contents": BODY["contents"]}), "m", 9)["generationConfig"] == {"maxOutputTokens": 9}


def test_what_another_model_thought_does_not_pass_on() -> None:
    """The alias led elsewhere before: Google gets its own signatures back and its own word for a missing one."""
    foreign = signature_of(seal("messages", "FOREIGN"))
    wrapped = signature_of(seal("chat", "FOREIGN"))
    model: list[Json] = [
        {"text": "secret", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": foreign},
        {"text": "I look.", "thoughtSignature": foreign},
        {"functionCall": {"name": "look"}, "thoughtSignature": wrapped},
        {"functionCall": {"name": "look"}, "thoughtSignature": "OWN"},
    ]
    only = {"role": "model", "parts": [{"text": "secret", "thought": True, "thoughtSignature": foreign}]}
    contents = [*BODY["contents"], only, {"role": "model", "parts": model}]
    assert GEMINI.passed(parsed({"contents": contents}), "m", 9)["contents"] == [
        *BODY["contents"],
        {
            "role": "model",
            "parts": [
                {"text": "I look."},
                {"functionCall": {"name": "look"}, "thoughtSignature": UNSIGNED},
                {"functionCall": {"name": "look"}, "thoughtSignature": "OWN"},
            ],
        },
    ]


def test_tokens_are_counted_of_a_conversation_or_a_whole_request() -> None:
    at = Address(alias="default")
    plain = COUNTING.parse({"contents": copy.deepcopy(BODY["contents"])}, at)
    assert COUNTING.passed(plain, "gemini-2.5-pro") == {
        "generateContentRequest": {"model": "models/gemini-2.5-pro", "contents": BODY["contents"]}
    }
    system = {"parts": [{"text": "Be quick."}]}
    inside = {"model": "models/default", "contents": BODY["contents"], "systemInstruction": system}
    full = COUNTING.parse({"generate_content_request": copy.deepcopy(inside)}, at)
    assert COUNTING.passed(full, "m")["generateContentRequest"] == inside | {"model": "models/m"}
    assert COUNTING.path("gemini-2.5-pro") == "/models/gemini-2.5-pro:countTokens"
    assert json.loads(COUNTING.answer(7)) == {"totalTokens": 7}
    both: Json = {"contents": [], "generateContentRequest": inside}
    more: Json = {"contents": [], "tools": []}
    for wrong in (both, more):
        with pytest.raises(Invalid):
            COUNTING.parse(copy.deepcopy(wrong), at)
