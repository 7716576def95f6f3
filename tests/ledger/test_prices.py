"""Token classes are disjoint, add up to what the provider said, and cost what they should to the nano-dollar."""

from hypothesis import given
from hypothesis import strategies as st

from ledger import prices
from ledger.prices import Usage

PRICE = prices.price_of(
    input_usd="2.50", output_usd="10.00", cache_read_usd="0.25", cache_write_usd="3.125", version="test"
)
counts = st.integers(min_value=0, max_value=10_000_000)
usages = st.builds(Usage, input=counts, cache_read=counts, cache_write=counts, output=counts, reasoning=counts)


def test_a_call_costs_the_sum_of_its_classes() -> None:
    used = Usage(input=1000, cache_read=200, cache_write=40, output=300, reasoning=100)
    assert prices.cost(used, PRICE) == 1000 * 2500 + 200 * 250 + 40 * 3125 + 400 * 10_000


def test_a_price_below_a_nano_per_token_is_not_lost() -> None:
    cheap = prices.price_of(input_usd="0.0000005", output_usd="0", version="test")
    assert prices.cost(Usage(input=1_000_000), cheap) == 500
    assert prices.cost(Usage(input=1), cheap) == 1


def test_a_model_without_a_price_has_no_cost_rather_than_none_to_pay() -> None:
    assert prices.cost(Usage(input=5), None) is None


@given(usages)
def test_no_call_costs_more_than_its_ceiling(used: Usage) -> None:
    cost = prices.cost(used, PRICE)
    assert cost is not None
    assert cost <= prices.ceiling(used.total_input, used.total_output, PRICE)


@given(st.lists(usages, max_size=20))
def test_many_calls_cost_the_same_as_one_big_one_within_a_nano_each(used: list[Usage]) -> None:
    apart = sum(prices.cost(one, PRICE) or 0 for one in used)
    names = ("input", "cache_read", "cache_write", "output", "reasoning")
    together = prices.cost(Usage(**{name: sum(getattr(one, name) for one in used) for name in names}), PRICE) or 0
    assert 0 <= apart - together <= len(used)


@given(counts, counts, counts, counts, counts)
def test_totals_that_include_their_parts_come_apart_and_add_up(
    plain: int, read: int, written: int, spoken: int, thought: int
) -> None:
    used = prices.of_totals(
        total_input=plain + read + written,
        total_output=spoken + thought,
        cache_read=read,
        cache_write=written,
        reasoning=thought,
    )
    assert used == Usage(input=plain, cache_read=read, cache_write=written, output=spoken, reasoning=thought)
