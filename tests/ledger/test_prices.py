"""Token classes are disjoint, add up to what the provider said, and cost what they should to the nano-dollar."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from kit.errors import Invalid
from ledger import prices
from ledger.prices import CLASSES, Dated, Price, Tier, Usage
from tests.ledger.books import AT

PRICE = prices.price_of(
    input_usd="2.50", output_usd="10.00", cache_read_usd="0.25", cache_write_usd="3.125", version="test"
)
LONG = Price(
    rates=PRICE.rates,
    version="test",
    source="list",
    tiers=(Tier(above=200_000, rates=prices.rates_of({"input": 5 * 10**9, "output": 15 * 10**9})),),
)
counts = st.integers(min_value=0, max_value=10_000_000)
usages = st.builds(Usage, **dict.fromkeys(CLASSES, counts))


def test_a_call_costs_the_sum_of_its_classes() -> None:
    used = Usage(input=1000, cache_read=200, cache_write=40, output=300, reasoning=100)
    assert prices.cost(used, PRICE) == 1000 * 2500 + 200 * 250 + 40 * 3125 + 400 * 10_000


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_price_of_its_own(name: str) -> None:
    usd = {"input_usd": "1", "output_usd": "1"} | {f"{name}_usd": "7"}
    price = prices.price_of(version="test", **usd)
    assert prices.cost(Usage(**{name: 1000}), price) == 7_000_000


def test_a_class_without_a_price_costs_what_its_kin_does() -> None:
    used = Usage(cache_write_1h=1, cache_read_audio=1, image_input=1, audio_output=1)
    assert prices.cost(used, PRICE) == 3125 + 250 + 2500 + 10_000


def test_a_price_below_a_nano_per_token_is_not_lost() -> None:
    cheap = prices.price_of(input_usd="0.0000005", output_usd="0", version="test")
    assert prices.cost(Usage(input=1_000_000), cheap) == 500
    assert prices.cost(Usage(input=1), cheap) == 1


def test_a_model_without_a_price_has_no_cost_rather_than_none_to_pay() -> None:
    assert prices.cost(Usage(input=5), None) is None


def test_a_long_input_is_dearer_from_its_first_token_and_what_was_cached_counts() -> None:
    at_the_edge = Usage(input=150_000, cache_read=50_000, output=10)
    assert prices.cost(at_the_edge, LONG) == 150_000 * 2500 + 50_000 * 250 + 10 * 10_000
    above = Usage(input=150_000, cache_read=50_001, output=10)
    assert prices.cost(above, LONG) == 200_001 * 5000 + 10 * 15_000


@given(usages)
def test_no_call_costs_more_than_its_ceiling(used: Usage) -> None:
    for price in (PRICE, LONG):
        cost = prices.cost(used, price)
        assert cost is not None
        assert cost <= prices.ceiling(used.total_input, used.total_output, price)


@given(usages, counts, counts)
def test_a_call_that_turns_out_smaller_stays_below_the_ceiling_too(used: Usage, more_in: int, more_out: int) -> None:
    cost = prices.cost(used, LONG)
    assert cost is not None
    assert cost <= prices.ceiling(used.total_input + more_in, used.total_output + more_out, LONG)


@given(st.lists(usages, max_size=20))
def test_many_calls_cost_the_same_as_one_big_one_within_a_nano_each(used: list[Usage]) -> None:
    apart = sum(prices.cost(one, PRICE) or 0 for one in used)
    together = prices.cost(Usage(**{name: sum(getattr(one, name) for one in used) for name in CLASSES}), PRICE) or 0
    assert 0 <= apart - together <= len(used)


@given(usages)
def test_totals_that_include_their_parts_come_apart_and_add_up(used: Usage) -> None:
    parts = {name: getattr(used, name) for name in CLASSES if name not in ("input", "output")}
    assert prices.of_totals(total_input=used.total_input, total_output=used.total_output, **parts) == used


@given(usages, counts, counts)
def test_parts_that_say_more_than_their_total_are_cut_to_it(told: Usage, total_input: int, total_output: int) -> None:
    parts = {name: getattr(told, name) for name in CLASSES if name not in ("input", "output")}
    used = prices.of_totals(total_input=total_input, total_output=total_output, **parts)
    assert (used.total_input, used.total_output) == (total_input, total_output)
    assert min(asdict(used).values()) >= 0


@given(usages)
def test_a_bill_says_where_its_figure_comes_from(used: Usage) -> None:
    listed = LONG
    assert prices.bill(used, PRICE) == prices.Bill(
        cost_nano=prices.cost(used, PRICE), source="override", version="test"
    )
    assert prices.bill(used, listed).source == "list"
    assert prices.bill(used, listed, charged_nano=7) == prices.Bill(cost_nano=7, source="provider", version=None)
    assert prices.bill(used, None, charged_nano=7).source == "provider"
    assert prices.bill(used, PRICE, charged_nano=7).source == "override"
    assert prices.bill(used, listed, exact=False, charged_nano=7).source == "estimated"
    assert prices.bill(used, None) == prices.Bill(cost_nano=None, source="unpriced", version=None)


def test_a_price_counts_from_its_day_on() -> None:
    later = AT + timedelta(days=10)
    dated = [Dated(since=None, price=PRICE), Dated(since=later, price=LONG)]
    assert prices.in_force(dated, later - timedelta(microseconds=1)) is PRICE
    assert prices.in_force(dated, later) is LONG
    assert prices.in_force(dated[1:], AT) is None


def test_a_price_survives_being_written_down() -> None:
    for price in (PRICE, LONG):
        assert prices.from_record(msgspec.json.decode(msgspec.json.encode(price))) == price


@pytest.mark.parametrize("text", ["2,50", "1e-6", "-1", ""])
def test_a_price_is_plain_digits(text: str) -> None:
    with pytest.raises(Invalid):
        prices.price_of(input_usd=text, output_usd="1", version="test")
