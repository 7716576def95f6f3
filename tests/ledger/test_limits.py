"""Which budgets a call counts against, and in which window."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import limits
from ledger.limits import Limit, Limits, Payer

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PAYER = Payer(
    account_id="default",
    flow="pay",
    execution_id="exe_1",
    principal="agent",
    alias="default",
    run="exe_1",
    run_limit_nano=None,
)
PERIODS = ("hour", "day", "month", "total")


def keys(given: Limits, payer: Payer = PAYER, at: datetime = AT) -> list[str]:
    return [one.key for one in given.of(payer, at)]


def test_every_scope_counts_and_a_run_has_its_own() -> None:
    scopes: tuple[limits.Scope, ...] = ("account", "flow", "execution", "principal", "alias")
    every = Limits([Limit(scope=scope, period="day", limit_nano=5) for scope in scopes])
    assert keys(every, replace(PAYER, run_limit_nano=7)) == [
        "account/day/2026-11-22/hard/default",
        "alias/day/2026-11-22/hard/default",
        "execution/day/2026-11-22/hard/exe_1",
        "flow/day/2026-11-22/hard/pay",
        "principal/day/2026-11-22/hard/agent",
        "run/total//hard/exe_1",
    ]


def test_an_agent_without_a_flow_or_an_execution_has_no_budget_of_them() -> None:
    both = Limits(
        [Limit(scope="flow", period="day", limit_nano=5), Limit(scope="execution", period="day", limit_nano=5)]
    )
    assert keys(both, replace(PAYER, flow=None, execution_id=None)) == []


def test_a_limit_that_names_its_subject_takes_the_place_of_each_ones() -> None:
    two = [
        Limit(scope="flow", period="day", limit_nano=500, subject="pay"),
        Limit(scope="flow", period="day", limit_nano=5),
    ]
    assert [one.limit_nano for one in Limits(two).of(PAYER, AT)] == [500]
    assert [one.limit_nano for one in Limits(two).of(replace(PAYER, flow="other"), AT)] == [5]


def test_a_hard_and_a_soft_limit_stand_beside_each_other() -> None:
    both = Limits([Limit(scope="account", period="month", limit_nano=n, kind=k) for n, k in ((9, "hard"), (7, "soft"))])  # type: ignore[arg-type]
    assert [(one.kind, one.limit_nano) for one in both.of(PAYER, AT)] == [("hard", 9), ("soft", 7)]


def test_a_new_hour_is_a_new_budget_and_utc_says_when() -> None:
    hourly = Limits([Limit(scope="account", period="hour", limit_nano=1)])
    there = timezone(timedelta(hours=5, minutes=30))
    assert keys(hourly, at=AT.astimezone(there)) == keys(hourly, at=AT) == ["account/hour/2026-11-22T09/hard/default"]
    assert keys(hourly, at=AT + timedelta(minutes=30)) == ["account/hour/2026-11-22T10/hard/default"]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.sampled_from(PERIODS))
def test_a_moment_is_within_the_bounds_of_its_window(moment: datetime, period: limits.Period) -> None:
    at = moment.replace(tzinfo=UTC)
    bounds = limits.bounds(period, limits.window(period, at))
    if bounds is None:
        assert period == "total"
    else:
        assert bounds[0] <= at < bounds[1]
        assert limits.window(period, bounds[1]) != limits.window(period, at)
        assert limits.window(period, bounds[1] - timedelta(microseconds=1)) == limits.window(period, at)


@pytest.mark.parametrize("scope", ["flow", "alias"])
def test_only_what_has_a_name_is_there_before_it_was_used(scope: limits.Scope) -> None:
    given = Limits(
        [
            Limit(scope="account", period="day", limit_nano=1),
            Limit(scope=scope, period="day", limit_nano=1),
            Limit(scope=scope, period="day", limit_nano=1, subject="x"),
        ]
    )
    assert [(one.scope, one.subject) for one in given.named("default", AT)] == [("account", "default"), (scope, "x")]
