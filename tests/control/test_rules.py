"""Rules over what a model wrote: what can't be decided asks or denies, whatever the model thinks of."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.approvals import policy, rules
from control.approvals.policy import Allow, Ask, Deny
from control.approvals.rules import RuleError
from control.identity.charter import Gate, ToolGrant
from kit.errors import Invalid

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
ODD = {
    "missing": {},
    "text": {"amount": "50"},
    "truth": {"amount": True},
    "nothing": {"amount": None},
    "list": {"amount": [50]},
    "map": {"amount": {"amount": 50}},
    "10^30": {"amount": 10**30},
    "-10^30": {"amount": -(10**30)},
    "beyond 2^53": {"amount": -(2**53) - 1},
    "NaN": {"amount": math.nan},
    "infinity": {"amount": math.inf},
    "-infinity": {"amount": -math.inf},
    "NaN elsewhere": {"amount": 50, "note": {"deep": [math.nan]}},
}
EXPRESSIONS = (
    "args.amount > 100",
    "args.amount <= 100 ? false : true",
    "!(args.amount <= 100)",
    "args.amount * 2 > 200",
    "args.amount > 100 || args.amount < -100",
    "double(args.amount) > 100.0",
    "[args.amount].exists(amount, amount > 100)",
    "args.amount",
    "args",
    "'yes'",
    "execution.spend_usd > args.amount",
    "now.getHours(args.zone) > 100",
)


def facts(args: Any, **more: Any) -> dict[str, Any]:
    given = {"args": args, "flow": "pay", "execution": {"id": "exe_1"}, "principal": {"name": "agent"}, "now": NOON}
    return given | more


def asked(when: str, args: Any, **more: Any) -> policy.Verdict:
    grant = ToolGrant(server="payments", tool="pay", approval=Gate(group="finance", when=when))
    return policy.decide([grant], facts(args, **more), rules.evaluate)


def denied(expression: str, args: Any, **more: Any) -> policy.Verdict:
    grant = ToolGrant(server="payments", tool="pay", deny=expression)
    return policy.decide([grant], facts(args, **more), rules.evaluate)


@pytest.mark.parametrize("args", ODD.values(), ids=ODD)
@pytest.mark.parametrize("expression", ["args.amount > 100", "!(args.amount <= 100)", "args.amount - 1 > 99"])
def test_an_amount_that_is_none_is_asked_about_or_denied(expression: str, args: dict[str, Any]) -> None:
    assert isinstance(asked(expression, args), Ask)
    assert isinstance(denied(expression, args), Deny)


@pytest.mark.parametrize("amount", [1500, 1500.5, 1e30, 2**53])
def test_a_large_amount_is_large_in_whatever_type(amount: float) -> None:
    assert isinstance(asked("args.amount > 100", {"amount": amount}), Ask)
    assert isinstance(denied("args.amount > 100", {"amount": amount}), Deny)


@pytest.mark.parametrize("amount", [100, 99.5, 0, -1e30])
def test_a_small_amount_is_let_through(amount: float) -> None:
    assert isinstance(asked("args.amount > 100", {"amount": amount}), Allow)
    assert isinstance(denied("args.amount > 100", {"amount": amount}), Allow)


NUMBERS = st.integers() | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ARGS = st.dictionaries(st.sampled_from(["amount", "zone", "note"]), JSON, max_size=3)


@given(args=ARGS | JSON)
def test_only_a_number_up_to_the_bound_passes_a_bound(args: Any) -> None:
    for verdict in (asked("args.amount > 100", args), denied("args.amount > 100", args)):
        if isinstance(verdict, Allow):
            amount = args["amount"]
            assert isinstance(amount, int | float)
            assert not isinstance(amount, bool)
            assert amount <= 100


@given(expression=st.sampled_from(EXPRESSIONS) | st.text(max_size=30), args=ARGS | JSON)
def test_whatever_errs_asks_or_denies(expression: str, args: Any) -> None:
    try:
        decided = rules.evaluate(expression, facts(args))
    except RuleError:
        assert isinstance(asked(expression, args), Ask)
        assert isinstance(denied(expression, args), Deny)
    else:
        assert isinstance(asked(expression, args), Ask if decided else Allow)
        assert isinstance(denied(expression, args), Deny if decided else Allow)


@given(error=st.sampled_from([RuleError("x"), ValueError(), KeyError("a"), RecursionError(), MemoryError()]))
def test_an_evaluator_that_breaks_lets_nothing_through(error: Exception) -> None:
    def broken(expression: str, facts: dict[str, Any]) -> bool:
        raise error

    gated = ToolGrant(server="payments", tool="pay", approval=Gate(group="finance", when="true"))
    refusing = ToolGrant(server="payments", tool="pay", deny="false")
    assert isinstance(policy.decide([gated], {}, broken), Ask)
    assert isinstance(policy.decide([refusing], {}, broken), Deny)


@pytest.mark.parametrize("text", ["1", "'true'", "null", "args", "[true]", "1.0", "now", "timestamp('nonsense')"])
def test_only_true_and_false_count(text: str) -> None:
    with pytest.raises(RuleError):
        rules.evaluate(text, facts({}))


def test_an_expression_that_never_ends_is_cut_off_and_asks() -> None:
    endless = "true"
    for name in "abcdefgh":
        endless = f"[0,1,2,3,4,5,6,7,8,9].all({name}, {endless})"
    assert isinstance(asked(f"!({endless})", {}), Ask)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("now.getHours() >= 9 && now.getHours() < 17", True),
        ("now.getHours('Pacific/Auckland') == 1", True),
        ("now.getDayOfWeek() in [0, 6]", False),
        ("now < timestamp('2026-11-21T00:00:00Z')", True),
        ("timestamp('2026-11-20T13:00:00Z') - now > duration('2h')", False),
        ("execution.spend_usd > 1 && execution.tool_calls >= 3", True),
        ("execution.model_calls == 0", False),
        ("flow == 'pay' && principal.name.startsWith('age')", True),
        ("has(args.amount) && args.amount > 5", False),
    ],
)
def test_time_the_run_so_far_and_who_asks_can_be_named(expression: str, expected: bool) -> None:
    so_far = {"id": "exe_1", "spend_usd": 1.25, "tool_calls": 3, "model_calls": 7}
    assert rules.evaluate(expression, facts({}, execution=so_far)) is expected


@pytest.mark.parametrize("text", ["args.amount >", "nobody.knows > 1", "x" * 3000, "args.amount > 1; true"])
def test_what_is_no_expression_is_refused_when_it_is_saved(text: str) -> None:
    with pytest.raises(Invalid):
        rules.check(text)
