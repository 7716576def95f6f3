"""`preloop spend reprice` as a tired person reads it: nothing is written by mistake."""

import json
from collections.abc import AsyncIterator

import pytest

from ledger import book
from ledger.prices import Usage
from tests.ledger.books import entry
from tests.preloop.terminal import Desk, open_desk

DAYS = ("--since", "2026-11-22", "--until", "2026-11-22")
CHEAPER = ("spend", "reprice", "openai/gpt-4o", *DAYS, "--input", "0.5", "--output", "1")
MANY = 10_050


@pytest.fixture
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    used = Usage(input=1000, output=100)  # 600,000 nano-dollars at that price
    booked = [entry(f"att_{n}", model="gpt-4o", usage=used, cost_nano=1_000_000) for n in range(3)]
    booked.append(entry("att_9", model="gpt-4o", usage=used, cost_nano=600_000))
    async with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        await opened.world.house.db.write(lambda tx: book.append(tx, booked))
        yield opened


async def spent(desk: Desk) -> str:
    done = await desk.admin.run("spend", "--by", "model", *DAYS, "--json")
    return str(json.loads(done.out)["total_usd"])


async def test_without_write_it_tells_what_would_change_and_changes_nothing(desk: Desk) -> None:
    done = await desk.admin.run(*CHEAPER)
    assert done.code == 0
    told = [" ".join(line.split()) for line in done.out.splitlines() if line.strip()]
    assert told[0] == "Calls 4 of openai/gpt-4o from 2026-11-22 to 2026-11-22 (UTC)"
    assert told[1].startswith("Price repriced:")
    assert told[2:] == [
        "Billed so far 0.0036 USD",
        "At this price 0.0024 USD",
        "Difference -0.0012 USD in 3 corrections",
    ]
    assert done.err == "Nothing is written yet. The same command with --write does it; budgets stay as they are.\n"
    assert await spent(desk) == "0.0036"


async def test_write_does_it_once(desk: Desk) -> None:
    done = await desk.admin.run(*CHEAPER, "--write")
    assert (done.code, "At this price now" in done.out) == (0, True)
    assert done.err == "Written. Running it again changes nothing; the record has it as `spend.repriced`.\n"
    assert await spent(desk) == "0.0024"
    again = await desk.admin.run(*CHEAPER, "--write")
    assert "Difference 0.00 USD in 0 corrections" in " ".join(again.out.split())
    assert again.err.startswith("Nothing to correct: every call is billed at this price")
    assert await spent(desk) == "0.0024"


async def test_other_classes_have_rates_of_their_own_and_json_has_it_all(desk: Desk) -> None:
    done = await desk.admin.run(*CHEAPER, "--rate", "cache_read=0.05", "--json")
    found = json.loads(done.out)
    assert (found["calls"], found["corrected"], found["dry_run"]) == (4, 3, True)
    assert (found["billed_usd"], found["delta_usd"]) == ("0.0036", "-0.0012")


async def test_more_calls_than_one_request_takes_are_summed(desk: Desk) -> None:
    used = Usage(input=1000, output=100)
    booked = [entry(f"att_x{n:05}", model="many", usage=used, cost_nano=500_000) for n in range(MANY)]
    await desk.world.house.db.write(lambda tx: book.append(tx, booked))
    price = ("--input", "0.5", "--output", "1")
    done = await desk.admin.run("spend", "reprice", "openai/many", *DAYS, *price)
    told = " ".join(done.out.split())
    assert f"Calls {MANY:,} of openai/many" in told
    assert f"Difference +1.005 USD in {MANY:,} corrections" in told
    assert "Billed so far 5.025 USD At this price 6.03 USD" in told


async def test_a_model_that_was_not_called_is_an_answer_of_no(desk: Desk) -> None:
    done = await desk.admin.run("spend", "reprice", "openai/gpt-4", *DAYS, "--input", "1", "--output", "1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("openai/gpt-4 was not called from 2026-11-22 to 2026-11-22 (UTC).")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gpt-4o",), "'gpt-4o' is not PROVIDER/MODEL."),
        (("openai/gpt-4o", "--input", "1"), "A price needs both --input and --output."),
        (("openai/gpt-4o", "--input", "1", "--output", "1", "--rate", "cache_read"), "is not CLASS=USD"),
        (("openai/gpt-4o", "--input", "1", "--output", "1", "--rate", "tea=1"), "'tea' is no class"),
        (("openai/no-such-model", *DAYS), "openai/no-such-model is not in the price list."),
    ],
)
async def test_what_can_not_be_asked_is_refused_in_words(desk: Desk, words: tuple[str, ...], said: str) -> None:
    done = await desk.admin.run("spend", "reprice", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
