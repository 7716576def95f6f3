"""Money is whole nano-dollars: text in, text out, nothing lost."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
import ledger
from kit.errors import Invalid
from ledger import money

amounts = st.integers(min_value=0, max_value=10**18 - 1)


@given(amounts)
def test_what_is_printed_reads_back_as_the_same(nano: int) -> None:
    assert money.parse(money.usd(nano)) == nano


@given(amounts, amounts)
def test_the_printed_sum_is_the_sum(a: int, b: int) -> None:
    assert money.usd(a - b) == ("-" if a < b else "") + money.usd(abs(a - b))


@given(st.integers(min_value=0, max_value=10**24))
def test_a_division_rounds_up_and_by_less_than_one(millionths: int) -> None:
    rounded = money.round_up(millionths)
    assert isinstance(rounded, int)
    assert 0 <= rounded * money.MILLION - millionths < money.MILLION


@pytest.mark.parametrize(("text", "nano"), [("2.00", 2 * 10**9), ("0", 0), ("0.000000001", 1), ("12", 12 * 10**9)])
def test_amounts_are_read(text: str, nano: int) -> None:
    assert money.parse(text) == nano


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1,5", "0.0000000001", ".5", "1.", " 1", "NaN", "1_000", "١"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        money.parse(text)


def test_an_amount_shows_at_least_cents_and_every_digit_that_counts() -> None:
    assert [money.usd(n) for n in (0, 10**9, 1_500_000_000, 1, 2_230_000)] == [
        "0.00", "1.00", "1.50", "0.000000001", "0.00223",
    ]  # fmt: skip


MONEY = ("attempt", "bounds", "flush", "holds", "lender", "recovery")
"""Files of the gateway that money passes through; the only floats there are names of seconds."""


@pytest.mark.parametrize(
    "path",
    [
        *Path(ledger.__path__[0]).glob("*.py"),
        *(Path(gateway.__path__[0]) / f"{name}.py" for name in MONEY),
    ],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_there_is_no_float_where_money_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    seconds = {
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.endswith("_S")
    }
    for node in ast.walk(tree):
        if node not in seconds:
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), path
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), path
            if path.parent.name == "ledger":  # at the gateway moments have this type, and only moments
                assert not (isinstance(node, ast.Name) and node.id == "float"), path
