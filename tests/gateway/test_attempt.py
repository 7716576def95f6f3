"""What an attempt comes to: the provider's figures if it spoke to its end, else an estimate that is marked."""

from typing import Any

import msgspec
import pytest

from gateway.attempt import Attempt
from gateway.intent import Intent
from gateway.upstream import UpstreamFailed
from gateway.wires.neutral import Counted, Stop, Text
from kit.clock import Clock
from ledger import prices
from ledger.book import Entry, Status
from ledger.prices import Price, Usage

OWN = prices.price_of(input_usd="2.00", output_usd="10.00", version="own")
LISTED = Price(rates=OWN.rates, version="list", source="list")
WORDS = Text(text="w" * 300)  # about a hundred tokens


def attempt(price: Price | None, *, reports_cost: bool = True) -> Attempt:
    known: dict[str, Any] = dict.fromkeys(("session_id", "stream", "principal", "alias", "provider", "model"), "x")
    known |= {"id": "att_1", "account_id": "default", "execution_id": None, "flow": None, "wire": "gemini"}
    known |= {"at": "2026-11-22T09:30:00Z", "input_estimate": 40, "input_bound": 90, "max_output": 500}
    return Attempt(Intent(**known, price=price, reports_cost=reports_cost), Clock())


def settled(price: Price | None, *deltas: Any, fault: UpstreamFailed | None = None, **more: bool) -> Entry:
    made = attempt(price, **more)
    for delta in deltas:
        made.saw(delta)
    made.fault = fault
    entry = made.happened().entry
    assert entry
    return entry


@pytest.mark.parametrize(
    ("price", "charged", "source", "cost"),
    [
        (OWN, None, "override", 7 * 2000 + 3 * 10_000),
        (OWN, 123, "override", 7 * 2000 + 3 * 10_000),
        (LISTED, None, "list", 7 * 2000 + 3 * 10_000),
        (LISTED, 123, "provider", 123),
        (None, 123, "provider", 123),
        (None, None, "unpriced", None),
    ],
)
def test_an_answer_is_billed_by_the_first_who_knows(
    price: Price | None, charged: int | None, source: str, cost: int | None
) -> None:
    told = Counted(usage=Usage(input=7, output=3), cost_nano=charged)
    entry = settled(price, WORDS, told, Stop(reason="stop"))
    assert (entry.status, entry.cost_source, entry.cost_nano) == (Status.ANSWERED, source, cost)
    assert entry.price_version == (None if source in ("provider", "unpriced") else price and price.version)


TOLD = Usage(input=7, output=3)
AT_MOST = 90 * 2000 + 500 * 10_000
"""What `attempt` is held at."""


@pytest.mark.parametrize("charged", [0, 123, 900_000 * 10**9])
@pytest.mark.parametrize("price", [LISTED, None])
def test_what_a_provider_says_it_charges_is_not_believed_of_everybody(price: Price | None, charged: int) -> None:
    entry = settled(price, WORDS, Counted(usage=TOLD, cost_nano=charged), Stop(reason="stop"), reports_cost=False)
    assert (entry.cost_source, entry.cost_nano) == (("list", 44_000) if price else ("unpriced", None))


@pytest.mark.parametrize(("charged", "cost", "source"), [(AT_MOST, AT_MOST, "provider"), (AT_MOST + 1, 44_000, "list")])
def test_a_charge_beyond_what_a_call_can_cost_is_marked_and_not_billed(charged: int, cost: int, source: str) -> None:
    made = attempt(LISTED)
    for delta in (WORDS, Counted(usage=TOLD, cost_nano=charged), Stop(reason="stop")):
        made.saw(delta)
    happened = made.happened()
    assert happened.entry
    assert (happened.entry.cost_source, happened.entry.cost_nano) == (source, cost)
    assert happened.data.get("unbelieved_nano") == (None if source == "provider" else charged)


def test_figures_from_the_middle_of_an_answer_are_not_its_bill() -> None:
    so_far = Counted(usage=Usage(input=7, cache_read=5, output=1), cost_nano=1)
    entry = settled(LISTED, so_far, WORDS, fault=UpstreamFailed("cut", code="upstream_cut"))
    assert (entry.status, entry.cost_source) == (Status.CUT, "estimated")
    assert (entry.usage.input, entry.usage.cache_read, entry.usage.output) == (7, 5, 101)
    assert entry.cost_nano == 12 * 2000 + 101 * 10_000


def test_a_cut_that_nobody_counted_is_estimated_whole() -> None:
    entry = settled(LISTED, WORDS, fault=UpstreamFailed("cut", code="upstream_cut"))
    assert (entry.cost_source, entry.usage) == ("estimated", Usage(input=40, output=101))


LONG = Text(text="w" * 90_000)
END = Stop(reason="stop")
CUT_OFF = UpstreamFailed("cut", code="upstream_cut")


@pytest.mark.parametrize(
    ("deltas", "fault"),
    [
        ((LONG,), CUT_OFF),
        ((LONG, Counted(usage=Usage(output=499))), CUT_OFF),
        ((LONG, END), None),
        ((LONG, Counted(usage=Usage()), END), None),
    ],
)
def test_an_estimate_is_never_above_what_was_reserved(deltas: tuple[Any, ...], fault: UpstreamFailed | None) -> None:
    entry = settled(OWN, *deltas, fault=fault)
    assert (entry.cost_source, entry.usage) == ("estimated", Usage(input=40, output=500))
    assert entry.cost_nano == 40 * 2000 + 500 * 10_000


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (Usage(), Usage(input=40, output=101)),
        (Usage(input=7), Usage(input=7, output=101)),
        (Usage(cache_read=22_000), Usage(cache_read=22_000, output=101)),
        (Usage(output=3), Usage(input=40, output=3)),
        (Usage(reasoning=3), Usage(input=40, reasoning=3)),
    ],
)
def test_what_a_finished_answer_does_not_count_is_estimated_and_never_free(told: Usage, used: Usage) -> None:
    entry = settled(LISTED, WORDS, Counted(usage=told), END)
    assert (entry.status, entry.cost_source, entry.usage) == (Status.ANSWERED, "estimated", used)
    assert entry.cost_nano == prices.cost(used, LISTED)


SENT = Usage(input=40)
ALL = Usage(input=40, output=500)


@pytest.mark.parametrize(
    ("fault", "whole", "used"),
    [
        (None, False, ALL),  # we hung up: its client left, its session ended
        (UpstreamFailed("silent", code="upstream_stalled"), False, ALL),
        (CUT_OFF, True, ALL),
        (CUT_OFF, False, SENT),
    ],
)
def test_a_call_of_which_no_word_came_may_have_cost_all_that_was_reserved(
    fault: UpstreamFailed | None, whole: bool, used: Usage
) -> None:
    made = attempt(LISTED)
    made.whole, made.fault = whole, fault
    entry = made.happened().entry
    assert entry
    assert (entry.status, entry.cost_source, entry.usage) == (Status.CUT, "estimated", used)
    assert entry.cost_nano == prices.cost(used, LISTED)


def test_what_a_failure_counts_is_its_bill_and_an_opening_is_estimated() -> None:
    refused = UpstreamFailed("no", answered=502)
    made = attempt(LISTED)
    made.counted(Counted(usage=TOLD), last=True)
    made.fault = refused
    billed = made.happened().entry
    assert billed
    assert (billed.status, billed.cost_source, billed.cost_nano) == (Status.CUT, "list", 44_000)
    began = settled(LISTED, Counted(usage=Usage(input=7)), fault=refused)
    assert (began.status, began.cost_source, began.usage) == (Status.CUT, "estimated", Usage(input=7))
    nothing = settled(LISTED, Counted(usage=Usage()), fault=refused)
    assert (nothing.status, nothing.cost_nano) == (Status.FAILED, 0)


def test_an_answer_without_a_word_has_no_output() -> None:
    entry = settled(LISTED, Counted(usage=Usage(input=7)), END)
    assert (entry.cost_source, entry.usage) == ("list", Usage(input=7))


def test_a_provider_that_gives_its_answer_no_id_is_known_by_its_header() -> None:
    made = attempt(OWN)
    made.upstream_id = "req_up"
    made.saw(Counted(usage=TOLD))
    assert made.upstream_id == "req_up"


def test_a_refusal_before_a_word_costs_nothing() -> None:
    entry = settled(LISTED, fault=UpstreamFailed("no"))
    assert (entry.status, entry.cost_nano, entry.usage) == (Status.FAILED, 0, Usage())


def test_an_intent_survives_the_journal_with_its_price() -> None:
    written = msgspec.json.decode(msgspec.json.encode(attempt(LISTED).intent))
    assert prices.from_record(written["price"]) == LISTED
