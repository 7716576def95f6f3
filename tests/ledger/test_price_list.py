"""List prices: the table is what the script makes of the installed map, to the digit, and a model is found or not."""

import json
import tracemalloc
from datetime import date

import pytest

from ledger import price_list, prices
from ledger.prices import CLASSES, Usage
from scripts import price_table


def test_the_committed_table_is_what_the_script_makes_of_the_installed_map() -> None:
    content, source = price_table.installed()
    committed = price_table.TABLE.read_text()
    effective = date.fromisoformat(json.loads(committed)["effective"])
    assert price_table.text(effective, price_table.models(content), source) == committed


def test_every_figure_is_whole_and_every_model_has_both_prices() -> None:
    listed = price_list.read()
    assert len(listed.models) > 2000
    for name in listed.models:
        price = listed.price(*name.split("/", 1))
        assert price
        for rates in (price.rates, *(tier.rates for tier in price.tiers)):
            assert all(type(getattr(rates, one)) is int and getattr(rates, one) >= 0 for one in CLASSES), name
            assert rates.input or rates.output, name
        assert [tier.above for tier in price.tiers] == sorted({tier.above for tier in price.tiers}), name


@pytest.mark.parametrize(
    ("provider", "model", "used", "nano"),
    [
        ("openai", "gpt-4o", Usage(input=1000, cache_read=1000, output=100), 1000 * 2500 + 1000 * 1250 + 100 * 10_000),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(input=10, cache_read=100, cache_write=100, cache_write_1h=100, output=10),
            10 * 3000 + 100 * 300 + 100 * 3750 + 100 * 6000 + 10 * 15_000,
        ),
        ("gemini", "gemini-2.5-pro", Usage(input=200_000, reasoning=1), 200_000 * 1250 + 10_000),
        ("gemini", "gemini-2.5-pro", Usage(input=200_001, reasoning=1), 200_001 * 2500 + 15_000),
        ("gemini", "gemini-2.5-flash", Usage(audio_input=10, cache_read_audio=10), 10 * 1000 + 10 * 100),
        ("openai", "gpt-audio", Usage(audio_input=10, audio_output=10), 10 * 32_000 + 10 * 64_000),
        ("openai", "text-embedding-3-small", Usage(input=50), 50 * 20),
    ],
)
def test_the_list_bills_what_the_provider_lists(provider: str, model: str, used: Usage, nano: int) -> None:
    price = price_list.read().price(provider, model)
    assert price
    assert price.source == "list"
    assert prices.cost(used, price) == nano


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4"[:-1]),
        ("openai", "gpt-4o "),
        ("openai", "GPT-4o"),
        ("azure", "no-such-deployment"),
        ("anthropic", "gpt-4o"),
        ("openai", "gpt-4o-search-preview"),  # each call also pays for a search
        ("perplexity", "sonar"),
        ("ollama", "llama2"),  # listed at nothing
    ],
)
def test_a_model_is_listed_exactly_or_has_no_price(provider: str, model: str) -> None:
    assert price_list.read().price(provider, model) is None


def test_a_search_is_listed_where_all_its_sizes_cost_the_same() -> None:
    entry = {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": "1e-6", "output_cost_per_token": "2e-6"}
    more: dict[str, object] = {"max_input_tokens": 9_000}
    sizes = {"search_context_size_low": 0.01, "search_context_size_high": 0.01}
    text = json.dumps({"p/m": entry | more | {"search_context_cost_per_query": sizes}})
    assert [price_table.models(text)["p/m"][name] for name in ("search", "window")] == [10_000_000, 9_000]
    text = json.dumps({"p/m": entry | {"search_context_cost_per_query": sizes | {"search_context_size_low": 0.005}}})
    assert price_table.models(text)["p/m"].keys() == {"rates"}


def test_searches_and_windows_of_well_known_models_are_listed() -> None:
    listed = price_list.read()
    assert listed.search("anthropic", "claude-sonnet-4-5") == (10_000_000, 200_000)
    assert listed.search("openai", "gpt-5") == (10_000_000, 272_000)
    assert listed.search("openai", "nobody-knows-it") == (None, None)


def test_decimal_text_never_becomes_a_float_on_its_way() -> None:
    figures = '"input_cost_per_token": 1.23456789012e-06, "output_cost_per_token": 3e-7'
    found = price_table.models(f'{{"p/m": {{"litellm_provider": "p", "mode": "chat", {figures}}}}}')
    assert found == {"p/m": {"rates": {"input": 1_234_567_890, "output": 300_000_000}}}


@pytest.mark.parametrize(
    "more",
    [
        {"input_cost_per_request": "0.005"},
        {"input_cost_per_token": "0", "output_cost_per_token": "0"},
        {"mode": "image_generation"},
        {"input_cost_per_video_token": "0.1"},
        {"supported_output_modalities": ["text", "audio"]},
    ],
)
def test_what_tokens_alone_do_not_pay_for_is_left_out(more: dict[str, object]) -> None:
    entry = {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": "1e-6", "output_cost_per_token": "2e-6"}
    assert price_table.models(json.dumps({"p/m": entry}))
    assert not price_table.models(json.dumps({"p/m": entry | more}))


def test_reading_the_list_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        listed = price_list.read()
        assert listed.models
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
