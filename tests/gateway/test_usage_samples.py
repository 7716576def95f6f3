"""Usage as providers send it: every token in one class, and the classes add up to what the provider says in total.

The samples have the shapes of OpenAI's, Anthropic's and Google's documented answers.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from gateway.dialects import counts, gemini, messages
from gateway.wires.chat_face import usage as on_chat
from gateway.wires.gemini_face import usage as on_gemini
from gateway.wires.messages_face import _usage as on_messages
from gateway.wires.neutral import Json
from gateway.wires.responses_face import _usage as on_responses
from ledger.prices import CLASSES, Usage

OPENAI: list[tuple[Json, Usage]] = [
    (  # chat, plain and cached
        {
            "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        Usage(input=86, cache_read=1920, output=300),
    ),
    (  # chat, reasoning
        {
            "prompt_tokens": 75, "completion_tokens": 1186, "total_tokens": 1261,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1024, "audio_tokens": 0},
        },
        Usage(input=75, output=162, reasoning=1024),
    ),
    (  # chat, audio both ways
        {
            "prompt_tokens": 223, "completion_tokens": 137, "total_tokens": 360,
            "prompt_tokens_details": {"audio_tokens": 193, "cached_tokens": 0, "text_tokens": 30, "image_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 110, "reasoning_tokens": 0, "text_tokens": 27},
        },
        Usage(input=30, audio_input=193, output=27, audio_output=110),
    ),
    (  # audio of which a part was cached, and is in both figures
        {
            "input_tokens": 253, "output_tokens": 260, "total_tokens": 513,
            "input_tokens_details": {
                "text_tokens": 119, "audio_tokens": 134, "image_tokens": 0, "cached_tokens": 192,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 128, "image_tokens": 0},
            },
            "output_tokens_details": {"text_tokens": 60, "audio_tokens": 200},
        },
        Usage(input=55, cache_read=64, cache_read_audio=128, audio_input=6, output=60, audio_output=200),
    ),
    (  # responses, cached and reasoning
        {
            "input_tokens": 328, "input_tokens_details": {"cached_tokens": 256}, "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 40}, "total_tokens": 380,
        },
        Usage(input=72, cache_read=256, output=12, reasoning=40),
    ),
    (  # pictures made
        {
            "input_tokens": 50, "output_tokens": 50, "total_tokens": 100,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens_details": {"image_tokens": 45, "text_tokens": 5},
        },
        Usage(input=10, image_input=40, output=5, image_output=45),
    ),
    ({"prompt_tokens": 8, "total_tokens": 8}, Usage(input=8)),  # embeddings
]  # fmt: skip
ANTHROPIC: list[tuple[Json, Usage]] = [
    (  # two times of keeping
        {
            "input_tokens": 2048, "cache_read_input_tokens": 1800, "cache_creation_input_tokens": 248,
            "output_tokens": 503, "service_tier": "standard",
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        Usage(input=2048, cache_read=1800, cache_write=148, cache_write_1h=100, output=503),
    ),
    (  # an older answer, without them
        {"input_tokens": 21, "cache_creation_input_tokens": 188086, "cache_read_input_tokens": 0, "output_tokens": 393},
        Usage(input=21, cache_write=188086, output=393),
    ),
    (  # thinking is part of the output
        {"input_tokens": 44, "output_tokens": 900, "output_tokens_details": {"thinking_tokens": 700}},
        Usage(input=44, output=200, reasoning=700),
    ),
]  # fmt: skip
GEMINI: list[tuple[Json, Usage]] = [
    (  # cached, by kind
        {
            "promptTokenCount": 696219, "candidatesTokenCount": 214, "totalTokenCount": 696433,
            "cachedContentTokenCount": 696190,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 29}, {"modality": "AUDIO", "tokenCount": 696190},
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 696190}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 214}],
        },
        Usage(input=29, cache_read_audio=696190, output=214),
    ),
    (  # thoughts beside the answer, audio and a picture in
        {
            "promptTokenCount": 1300, "candidatesTokenCount": 100, "thoughtsTokenCount": 400, "totalTokenCount": 1800,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 42}, {"modality": "AUDIO", "tokenCount": 1000},
                {"modality": "IMAGE", "tokenCount": 258},
            ],
        },
        Usage(input=42, audio_input=1000, image_input=258, output=100, reasoning=400),
    ),
    (  # a picture made
        {
            "promptTokenCount": 7, "candidatesTokenCount": 1303, "totalTokenCount": 1310,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
        },
        Usage(input=7, output=13, image_output=1290),
    ),
    (  # what a tool at the provider read
        {
            "promptTokenCount": 10, "toolUsePromptTokenCount": 90, "candidatesTokenCount": 5, "thoughtsTokenCount": 15,
            "totalTokenCount": 120,
        },
        Usage(input=100, output=5, reasoning=15),
    ),
]  # fmt: skip
numbers = st.integers(min_value=-1, max_value=10**6)


@pytest.mark.parametrize(("told", "used"), OPENAI)
def test_openai(told: Json, used: Usage) -> None:
    assert counts.tokens(told) == used
    assert used.total_input + used.total_output == told["total_tokens"]


@pytest.mark.parametrize(("told", "used"), ANTHROPIC)
def test_anthropic(told: Json, used: Usage) -> None:
    assert messages.usage_of(told) == used
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert used.total_input == sum(told.get(name, 0) for name in parts)
    assert used.total_output == told["output_tokens"]


@pytest.mark.parametrize(("told", "used"), GEMINI)
def test_gemini(told: Json, used: Usage) -> None:
    assert gemini.usage_of(told) == used
    assert used.total_input + used.total_output == told["totalTokenCount"]


@given(st.lists(numbers, min_size=12, max_size=12))
def test_whatever_openai_s_dialect_says_the_classes_add_up(told: list[int]) -> None:
    into = {"cached_tokens": told[2], "audio_tokens": told[3], "image_tokens": told[4], "cache_write_tokens": told[5]}
    into["cached_tokens_details"] = {"audio_tokens": told[6], "image_tokens": told[7]}  # type: ignore[assignment]
    into["cache_creation_token_details"] = {"ephemeral_1h_input_tokens": told[8]}  # type: ignore[assignment]
    out = {"reasoning_tokens": told[9], "audio_tokens": told[10], "image_tokens": told[11]}
    usage = {"prompt_tokens": told[0], "completion_tokens": told[1]}
    used = counts.tokens(usage | {"prompt_tokens_details": into, "completion_tokens_details": out})
    assert (used.total_input, used.total_output) == (max(0, told[0]), max(0, told[1]))
    assert min(asdict(used).values()) >= 0


@given(st.lists(numbers, min_size=10, max_size=10))
def test_whatever_google_says_the_classes_add_up(told: list[int]) -> None:
    def kinds(audio: int, image: int) -> list[Json]:
        return [{"modality": "AUDIO", "tokenCount": audio}, {"modality": "IMAGE", "tokenCount": image}]

    used = gemini.usage_of(
        {
            "promptTokenCount": told[0],
            "candidatesTokenCount": told[1],
            "thoughtsTokenCount": told[2],
            "cachedContentTokenCount": told[3],
            "promptTokensDetails": kinds(told[4], told[5]),
            "cacheTokensDetails": kinds(told[6], told[7]),
            "candidatesTokensDetails": kinds(told[8], told[9]),
        }
    )
    assert used.total_input == max(0, told[0])
    assert used.total_output == max(0, told[1]) + max(0, told[2])
    assert min(asdict(used).values()) >= 0


@given(st.builds(Usage, **dict.fromkeys(CLASSES, st.integers(min_value=0, max_value=10**6))))
def test_every_wire_tells_its_client_the_same_totals(used: Usage) -> None:
    both = (used.total_input, used.total_output)
    chat, responses, google = on_chat(used), on_responses(used), on_gemini(used)
    assert (chat["prompt_tokens"], chat["completion_tokens"]) == both
    assert (responses["input_tokens"], responses["output_tokens"]) == both
    spoken = google.get("candidatesTokenCount", 0) + google.get("thoughtsTokenCount", 0)
    assert (google["promptTokenCount"], spoken, google["totalTokenCount"]) == (*both, sum(both))
    anthropic = on_messages(used)
    assert sum(value for name, value in anthropic.items() if name != "output_tokens") == both[0]
    assert anthropic["output_tokens"] == both[1]
