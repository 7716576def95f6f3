"""Google's side: what it is sent, how its answers are read at every cut and metered, what they cost in tokens."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.counting import GEMINI as COUNTING
from gateway.dialects.dialect import Broken
from gateway.dialects.gemini import GEMINI, UNSIGNED, usage_of
from gateway.upstream import UpstreamFailed
from gateway.wires.gemini_face import GEMINI as WIRE
from gateway.wires.gemini_parts import signature_of
from gateway.wires.neutral import (
    Address,
    CallArguments,
    CallBegun,
    Counted,
    Delta,
    Json,
    Message,
    Reasoning,
    Request,
    Stop,
    Text,
)
from gateway.wires.seals import seal
from kit.errors import Invalid
from ledger.prices import Usage

ASKED = Request(alias="default", messages=(Message(role="user"),), stream=True)
TRICKY = 'say {"error":{"code":500}} "finishReason":"STOP" \n\n data: x — é'
USED = {
    "promptTokenCount": 120,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 10,
    "totalTokenCount": 150,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 120}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    "serviceTier": "standard",
}
USAGE = Usage(input=100, cache_read=20, output=20, reasoning=10)
EARLY = {"promptTokenCount": 120, "totalTokenCount": 125, "thoughtsTokenCount": 5}


def chunk(*parts: Json, usage: Json | None = None, **candidate: Any) -> Json:
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    told = {"candidates": [{**content, "index": 0, **candidate}], "usageMetadata": usage or EARLY}
    return told | {"modelVersion": "gemini-3-pro", "responseId": "r-1"}


CHUNKS: list[Json] = [
    chunk({"text": "Let me ", "thought": True}),
    chunk({"text": "see.", "thought": True}),
    chunk({"text": TRICKY}),
    chunk(
        {"functionCall": {"name": "look", "args": {"a": [1, "ü"]}}, "thoughtSignature": "CSIG"},
        {"functionCall": {"id": "own", "name": "list", "args": {}}},
    ),
    chunk({"text": "", "thoughtSignature": "TSIG"}, finishReason="STOP", usage=USED),
]
ANSWER = chunk(
    {"text": "Let me see.", "thought": True},
    {"text": TRICKY, "thoughtSignature": "TSIG"},
    {"functionCall": {"name": "look", "args": {"a": 1}}},
    finishReason="STOP",
    usage=USED,
)


def streamed(chunks: list[Json], end: str = "\n") -> bytes:
    return "".join(f"data: {json.dumps(told, ensure_ascii=False)}{end}{end}" for told in chunks).encode()


STREAM = streamed(CHUNKS, "\r\n")
DELTAS: list[Delta] = [
    Reasoning(text="Let me "),
    Reasoning(text="see."),
    Text(text=TRICKY),
    CallBegun(id="call_r-1_0", name="look", seal=seal("gemini", "CSIG")),
    CallArguments(id="call_r-1_0", text='{"a":[1,"ü"]}'),
    CallBegun(id="own", name="list"),
    CallArguments(id="own", text="{}"),
    Reasoning(seal=seal("gemini", "TSIG"), redacted=True),
    Stop(reason="tool_calls"),
]


def fed(*pieces: bytes) -> list[Delta]:
    """What was said; how often it was counted depends on nothing but the chunks."""
    reader = GEMINI.reader(ASKED)
    return [delta for data in (*pieces, b"") for delta in reader.feed(data)]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Counted)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_reads_the_same_wherever_it_is_cut(end: str) -> None:
    stream = streamed(CHUNKS, end)
    whole = fed(stream)
    assert said(whole) == DELTAS
    assert [delta for delta in whole if isinstance(delta, Counted)][-1] == Counted(usage=USAGE, upstream_id="r-1")
    for place in range(1, len(stream)):
        assert fed(stream[:place], stream[place:]) == whole
    assert fed(*(stream[i : i + 1] for i in range(len(stream)))) == whole


@given(at=st.lists(st.integers(0, 2500), max_size=40))
def test_a_stream_passes_untouched_and_is_counted_however_it_is_cut(at: list[int]) -> None:
    assert fed(*cut(STREAM, at)) == fed(STREAM)
    meter = GEMINI.meter(ASKED)
    passed = [meter.feed(data) for data in [*cut(STREAM, at), b""]]
    assert b"".join(passed) == STREAM
    assert all(data == b"" or data.endswith(b"\n\r\n") for data in passed)
    assert (meter.stopped, meter.counted) == (True, Counted(usage=USAGE, upstream_id="r-1"))
    calls = ['{"name":"look","args":{"a":[1,"ü"]}}', '{"id":"own","name":"list","args":{}}']
    assert meter.heard == len("".join(["Let me see.", TRICKY, *calls]).encode())


def test_a_whole_answer() -> None:
    body = json.dumps(ANSWER).encode()
    meter = GEMINI.meter(ASKED)
    assert meter.whole(body) == body
    assert (meter.stopped, meter.counted) == (True, Counted(usage=USAGE, upstream_id="r-1"))
    assert meter.heard > len(TRICKY)
    assert GEMINI.reader(ASKED).whole(body) == [
        Reasoning(text="Let me see."),
        Reasoning(seal=seal("gemini", "TSIG")),
        Text(text=TRICKY),
        CallBegun(id="call_r-1_0", name="look"),
        CallArguments(id="call_r-1_0", text='{"a":1}'),
        Counted(usage=USAGE, upstream_id="r-1"),
        Stop(reason="tool_calls"),
    ]


def test_a_cut_stream_has_not_stopped_and_what_was_used_so_far_is_known() -> None:
    half = streamed(CHUNKS[:3]) + b'data: {"candidates":[{"finishReason":"STOP"'
    meter = GEMINI.meter(ASKED)
    assert meter.feed(half) + meter.feed(b"") == streamed(CHUNKS[:3])
    assert not meter.stopped
    assert meter.counted and meter.counted.usage == Usage(input=120, reasoning=5)
    assert not any(isinstance(delta, Stop) for delta in fed(half))


def test_several_candidates_end_with_the_last_of_them() -> None:
    meter = GEMINI.meter(Request(alias="a", messages=(), choices=2))
    meter.feed(streamed([chunk({"text": "a"}, finishReason="STOP")]))
    assert not meter.stopped
    meter.feed(streamed([chunk({"text": "b"}, index=1, finishReason="MAX_TOKENS")]))
    assert meter.stopped


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")],
)
def test_why_it_stopped(reason: str, stop: str) -> None:
    last = fed(streamed([chunk({"text": "so far"}, finishReason=reason)]))[-1]
    assert isinstance(last, Stop)
    assert last.reason == stop


def test_a_blocked_prompt_is_filtered() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    assert said(fed(streamed([blocked]))) == [Stop(reason="content_filter")]
    assert GEMINI.reader(ASKED).whole(json.dumps(blocked).encode())[-1] == Stop(reason="content_filter")
    meter = GEMINI.meter(ASKED)
    meter.feed(streamed([blocked]))
    assert meter.stopped


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_a_call_that_google_could_not_make_is_no_answer(reason: str) -> None:
    with pytest.raises(Broken, match=reason) as caught:
        fed(streamed([chunk({"text": "Half"}), chunk(finishReason=reason, usage=USED)]))
    assert [delta for delta in caught.value.deltas if not isinstance(delta, Counted)] == [Text(text="Half")]
    assert caught.value.deltas[-1] == Counted(usage=USAGE, upstream_id="r-1")


def test_a_picture_that_no_other_wire_carries_is_told() -> None:
    with pytest.raises(Broken, match="picture"):
        fed(streamed([chunk({"inlineData": {"mimeType": "image/png", "data": "AA=="}})]))


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
PRETTY = json.dumps(ERROR, indent=2).encode()


@pytest.mark.parametrize("error", [streamed([ERROR]), PRETTY, b"\r\n" + PRETTY + b"\n", PRETTY + b"\r\n\r\n"])
def test_an_error_in_the_middle_is_broken_with_or_without_data_before_it(error: bytes) -> None:
    before = streamed(CHUNKS[2:3])
    for place in range(len(before), len(before + error)):
        pieces = [(before + error)[:place], (before + error)[place:], b""]
        meter, passed = GEMINI.meter(ASKED), list[bytes]()
        with pytest.raises(Broken, match="overloaded") as caught:
            passed.extend(map(meter.feed, pieces))
        assert b"".join([*passed, caught.value.passed]).strip() == before.strip()
        assert (caught.value.status, meter.stopped) == (503, False)
        reader, deltas = GEMINI.reader(ASKED), list[list[Delta]]()
        with pytest.raises(Broken, match="overloaded") as caught:
            deltas.extend(map(reader.feed, pieces))
        before_it = [delta for found in deltas for delta in found]
        assert said([*before_it, *caught.value.deltas]) == [Text(text=TRICKY)]


def test_an_error_with_a_good_status_is_broken() -> None:
    for look in (GEMINI.meter(ASKED).whole, GEMINI.reader(ASKED).whole):
        with pytest.raises(Broken, match="overloaded") as caught:
            look(PRETTY)
        assert caught.value.status == 503


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}'])
def test_another_dialect_is_told_as_such(body: bytes) -> None:
    with pytest.raises(ValueError):
        GEMINI.reader(ASKED).whole(body)


def test_a_stream_that_breaks_ends_with_a_bare_error() -> None:
    told = json.loads(GEMINI.meter(ASKED).fail(UpstreamFailed("Cut.", code="upstream_cut")))
    assert (told["error"]["code"], told["error"]["status"]) == (502, "UNAVAILABLE")


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
            Usage(input=29, cache_read=696190, output=214),
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
    assert GEMINI.refused(json.dumps(body).encode()) == "API key … not valid."


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
    for wrong in (both, {"contents": [], "tools": []}):
        with pytest.raises(Invalid):
            COUNTING.parse(copy.deepcopy(wrong), at)
