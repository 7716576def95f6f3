"""`preloop spend` as a tired person reads it, and what it says when a provider's account is held against ours."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import Invalid
from ledger import book
from ledger.prices import Usage
from preloop import exports, reconcile
from preloop.exports import Used
from tests.ledger.books import AT, entry
from tests.preloop.terminal import Desk, open_desk

DAYS = ("--since", "2026-11-22", "--until", "2026-11-22")
START = int(AT.replace(hour=0, minute=0).timestamp())
OPENAI = {
    "object": "page",
    "has_more": False,
    "data": [
        {
            "object": "bucket",
            "start_time": START,
            "end_time": START + 86400,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1200,
                    "input_cached_tokens": 200,
                    "output_tokens": 60,
                    "num_model_requests": 2,
                    "model": "gpt-4o-2024-08-06",
                }
            ],
        }
    ],
}
ANTHROPIC = {
    "has_more": False,
    "next_page": None,
    "data": [
        {
            "starting_at": "2026-11-22T00:00:00Z",
            "ending_at": "2026-11-23T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 10,
                    "cache_read_input_tokens": 20,
                    "cache_creation": {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 40},
                    "output_tokens": 5,
                    "model": "claude-sonnet-4-5",
                }
            ],
        }
    ],
}
TABLE = "Day,Model,Input,Output,Cost\n2026-11-22,gpt-4o,1200,60,0.0036\n2026-11-22,claude-sonnet-4-5,100,5,0.01\n"


@pytest.fixture(scope="module")
async def desk(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    spoken = Usage(input=10, cache_read=20, cache_write=40, cache_write_1h=30, output=5)
    booked = [
        entry("att_1", model="gpt-4o", usage=Usage(input=900, cache_read=200, output=50), cost_nano=3_000_000),
        entry("att_2", model="gpt-4o", usage=Usage(input=100, output=10), cost_nano=600_000, cost_source="estimated"),
        entry("att_3", model="claude-sonnet-4-5", provider="anthropic", usage=spoken, cost_nano=10_000_000, flow=None),
        entry("att_4", model="mystery", provider="xai", flow="other", cost_nano=None, cost_source="unpriced"),
    ]
    async with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        await opened.world.house.db.write(lambda tx: book.append(tx, booked))
        yield opened


def cells(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


async def test_the_table_has_the_dearest_first_a_total_and_what_is_uncertain(desk: Desk) -> None:
    done = await desk.admin.run("spend", "--by", "model", *DAYS)
    assert (done.code, done.err) == (0, "")
    head, *rows = cells(done.out)
    assert head == ["MODEL", "CALLS", "TOKENS", "IN", "TOKENS", "OUT", "USD"]
    assert rows[0][:5] == ["claude-sonnet-4-5", "1", "100", "5", "0.01"]
    assert " ".join(rows[1]) == "gpt-4o 2 1,200 60 0.0036 1 estimated, 0.0006 USD of it"
    assert rows[2][:5] == ["mystery", "1", "100", "10", "unpriced"]
    assert " ".join(rows[3]).startswith("TOTAL 4 1,400 75 0.0136 1 estimated, 0.0006 USD of it; 1 unpriced, not in it")


async def test_nothing_spent_is_a_sentence(desk: Desk) -> None:
    done = await desk.admin.run("spend", "--since", "2026-01-01", "--until", "2026-01-02")
    assert (done.code, done.out) == (0, "")
    assert done.err == "No model was called through the gateway from 2026-01-01 to 2026-01-02.\n"


async def test_json_and_csv_have_the_same_figures_and_one_attribution_alone(desk: Desk) -> None:
    words = ("spend", "--by", "day,model", *DAYS, "--only", "provider=openai")
    found = (await desk.admin.run(*words, "--json")).json
    assert [line["keys"] for line in found["items"]] == [{"day": "2026-11-22", "model": "gpt-4o"}]
    rows = list(csv.DictReader(io.StringIO((await desk.admin.run(*words, "--csv")).out)))
    assert [(row["day"], row["model"], row["cost_usd"]) for row in rows] == [("2026-11-22", "gpt-4o", "0.0036")]
    assert rows[0]["cache_read_tokens"] == str(found["items"][0]["tokens"]["cache_read"]) == "200"


async def against(desk: Desk, export: object, *words: str) -> Any:
    text = export if isinstance(export, str) else json.dumps(export)
    return await desk.admin.run("spend", "--against", "-", *words, stdin=text.encode())


@pytest.mark.parametrize(
    ("export", "words"),
    [
        (OPENAI, ("--rename", "gpt-4o-2024-08-06=gpt-4o")),
        (ANTHROPIC, ()),
        ([ANTHROPIC | {"has_more": True}, ANTHROPIC | {"data": []}], ()),
        (TABLE, ("--only", "flow=process-payment", "--only", "provider=openai", "--tolerance", "100")),
    ],
    ids=["openai", "anthropic", "pages", "tolerant"],
)
async def test_accounts_that_agree_are_exit_0(desk: Desk, export: object, words: tuple[str, ...]) -> None:
    done = await against(desk, export, *words)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("agree.\n")


async def test_what_differs_is_listed_and_exit_1(desk: Desk) -> None:
    done = await against(desk, TABLE.replace("1200,60,0.0036", "1201,60,0.0036"))
    assert (done.code, done.err) == (1, "2 of 3 lines differ.\n")
    rows = [" ".join(row) for row in cells(done.out)]
    assert rows == [
        "DAY MODEL TOKENS IN TOKENS OUT USD",
        "2026-11-22 gpt-4o ours 1,200 60 0.0036",
        "theirs 1,201 60 0.0036",
        "2026-11-22 mystery ours 100 10",
        "theirs none none none",
    ]


async def test_a_model_that_only_they_know_differs_and_so_does_a_name(desk: Desk) -> None:
    done = await against(desk, OPENAI, "--json")
    assert done.code == 1
    lines = {line["model"]: line for line in done.json["lines"]}
    assert (lines["gpt-4o"]["theirs"], lines["gpt-4o-2024-08-06"]["ours"]) == (None, None)
    assert all(line["differs"] for line in lines.values())


async def test_a_charge_that_differs_is_found_to_the_digit_they_tell(desk: Desk) -> None:
    only = ("--only", "provider=openai")
    for cost, code in (("0.0036", 0), ("0.004", 0), ("0.00360000", 0), ("0.0037", 1), ("0.00360001", 1)):
        text = f"day,model,input,output,cost\n2026-11-22,gpt-4o,1200,60,{cost}\n"
        assert (await against(desk, text, *only)).code == code, cost
    done = await against(
        desk, "day,model,input,output,cost\n2026-11-22,gpt-4o,1200,60,0.0037\n", *only, "--tolerance=3"
    )
    assert done.code == 0


TABLE_OF_ONE = "day,model,input,output,cost\n2026-11-22,gpt,1,1,"


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (("--against", "nope.json"), "", "nope.json can't be read"),
        (("--against", "-"), "", "no day in it"),
        (("--against", "-"), "{", "no JSON"),
        (("--against", "-"), '{"data": 3}', "no list of data"),
        (("--against", "-"), json.dumps(OPENAI | {"has_more": True}), "not the last page"),
        (("--against", "-"), json.dumps(OPENAI).replace('"gpt-4o-2024-08-06"', "null"), "no model"),
        (("--against", "-"), "day,model,input,output\nyesterday,gpt,1,1\n", "no day like"),
        (("--against", "-"), "day,model,input,output\n2026-11-22,gpt,1.5,1\n", "no whole number"),
        (("--against", "-"), TABLE_OF_ONE + "NaN\n", "no dollars"),
        (("--against", "-"), TABLE_OF_ONE + "-1\n", "no dollars"),
        (("--against", "-"), "day,model,prompt_tokens,output\n2026-11-22,gpt,1,1\n", "input or input_tokens"),
        (("--only", "flow"), "", "--only 'flow' is not"),
        (("--only", "colour=red"), "", "'colour'"),
        (("--against", "-", "--tolerance", "x"), TABLE, "--tolerance 'x'"),
        (("--until", "2026-01-01", "--since", "2026-01-02"), "", "is after"),
    ],
)
async def test_each_mistake_is_exit_2_and_has_a_hint(desk: Desk, words: tuple[str, ...], stdin: str, says: str) -> None:
    done = await desk.admin.run("spend", *words, stdin=stdin.encode())
    assert (done.code, done.out, says in done.err) == (2, "", True), done.err
    assert "Hint:  " in done.err


counts = st.integers(min_value=0, max_value=10**9)
costs = st.none() | st.decimals(min_value=0, max_value=1000, places=6)
sides = st.dictionaries(
    st.tuples(st.sampled_from(["2026-11-21", "2026-11-22"]), st.sampled_from(["a", "b"])),
    st.builds(Used, input=counts, output=counts, cost_usd=costs),
)


@given(sides)
def test_an_account_agrees_with_itself_whatever_is_in_it(side: dict[tuple[str, str], Used]) -> None:
    assert not any(line.differs for line in reconcile.compare(side, side, Decimal()))


@given(sides, sides)
def test_no_line_is_left_out_and_one_token_is_seen(
    ours: dict[tuple[str, str], Used], theirs: dict[tuple[str, str], Used]
) -> None:
    lines = reconcile.compare(ours, theirs, Decimal())
    assert {(line.day, line.model) for line in lines} == ours.keys() | theirs.keys()
    for line in lines:
        same = [(side or Used()).input for side in (line.ours, line.theirs)]
        assert line.differs or same[0] == same[1]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), counts, counts), min_size=1, max_size=8))
def test_rows_of_the_same_day_and_model_are_added(rows: list[tuple[str, int, int]]) -> None:
    text = "day,model,input,output\n" + "".join(f"2026-11-22,{name},{i},{o}\n" for name, i, o in rows)
    used = exports.read(text).used
    assert sum(one.input for one in used.values()) == sum(i for _, i, _ in rows)
    assert sum(one.output for one in used.values()) == sum(o for _, _, o in rows)
    assert [asdict(one)["cost_usd"] for one in used.values()] == [None] * len(used)


def test_no_charge_is_read_by_way_of_a_float() -> None:
    row = '[{"day": "2026-11-22", "model": "a", "input": 1, "output": 1, "cost": %s}]'
    read = exports.read(row % "0.1000000000000000055511151")
    assert read.used["2026-11-22", "a"].cost_usd == Decimal("0.1000000000000000055511151")
    with pytest.raises(Invalid):
        exports.read(row % "NaN")


@pytest.mark.parametrize(
    "head", ["Day,Model,Input Tokens,Output Tokens,Cost USD", " date ,MODEL,input-tokens,OUTPUT,Usd"]
)
def test_columns_are_known_however_they_are_spelled(head: str) -> None:
    used = exports.read(f"{head}\n2026-11-22,a,7,3,0.5\n").used
    assert used["2026-11-22", "a"] == Used(input=7, output=3, cost_usd=Decimal("0.5"))
