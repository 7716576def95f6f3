"""What OpenAI's dialects say was used and charged: every token in one class, every digit of a charge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import counts
from gateway.dialects.chat import CHAT
from gateway.wires.neutral import Json
from ledger.prices import Usage
from tests.gateway.openai_answers import ASKED, USAGE, USED


@pytest.mark.parametrize(
    ("usage", "classes"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}, Usage(input=5, output=3)),
        (USED, USAGE),
        (  # xAI: reasoning beside the completion
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 6},
            },
            Usage(input=10, output=4, reasoning=6),
        ),
        (  # DeepSeek
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            Usage(input=2, cache_read=8, output=4),
        ),
        (  # OpenRouter, cache written
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}},
            Usage(input=3, cache_write=7, output=1),
        ),
        ({"prompt_tokens": None, "completion_tokens": "4", "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": -4, "completion_tokens": True}, Usage()),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(cache_read=3, output=2),
        ),
    ],
)
def test_tokens_fall_into_one_class_each(usage: Json, classes: Usage) -> None:
    assert counts.tokens(usage) == classes


@given(*[st.integers(0, 10**6)] * 5)
def test_classes_add_up_to_the_totals(total_in: int, total_out: int, read: int, write: int, thought: int) -> None:
    usage = {
        "input_tokens": total_in,
        "output_tokens": total_out,
        "total_tokens": total_in + total_out,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "output_tokens_details": {"reasoning_tokens": thought},
    }
    found = counts.tokens(usage)
    assert (found.total_input, found.total_output) == (total_in, total_out)
    assert min(found.input, found.cache_read, found.cache_write, found.output, found.reasoning) >= 0


@pytest.mark.parametrize(
    ("digits", "nano"),
    [
        ("0.00014", 140_000),
        ("1.4e-05", 14_000),
        ("0", 0),
        ("12", 12 * 10**9),
        ("0.0000000001", 1),
        ("0.1", 10**8),
        ("0.30000000000000004", 300_000_001),
        ("-1", None),
        ('"0.1"', None),
    ],
)
def test_a_charge_is_read_digit_by_digit(digits: str, nano: int | None) -> None:
    assert counts.nano(digits) == nano
    body = f'{{"id":"g","choices":[{{"message":{{"content":"x"}}}}],"usage":{{"prompt_tokens":1,"cost":{digits}}}}}'
    meter = CHAT.meter(ASKED)
    meter.whole(body.encode())
    assert meter.counted
    assert meter.counted.cost_nano == nano


def test_a_charge_beyond_belief_is_none() -> None:
    assert [counts.nano(digits) for digits in ("1e999999999", "1000000.01", "NaN", "Infinity", "x", "")] == [None] * 6
