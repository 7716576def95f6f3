"""Whom `Routing` asks next, and when: order, weight, who is busy, who is left alone."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.failures import retry_after_s
from gateway.models import Models
from gateway.routing import Routing
from gateway.settings import GatewaySettings
from gateway.upstream import Route, UpstreamFailed
from kit.clock import Clock

NOW = datetime(2026, 11, 22, 16, 59, tzinfo=UTC)
SOON, PAST = "Sun, 22 Nov 2026 16:59:03 GMT", "Sun, 22 Nov 2026 16:58:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.4"}, 1),
        ({"retry-after": "1.0"}, 1),
        ({"retry-after": SOON}, 3),
        ({"retry-after": SOON, "date": "Sun, 22 Nov 2026 16:59:01 GMT"}, 2),
        ({"retry-after": PAST}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9999999"}, None),
        ({}, None),
    ],
)
def test_when_to_come_back_is_said_in_seconds_or_as_a_date(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def route(*weights: tuple[int, int], **more: Any) -> Route:
    """An alias with upstreams of (order, weight)."""
    upstreams = [{"model": f"up-{n}", "order": order, "weight": weight} for n, (order, weight) in enumerate(weights)]
    found = Models(GatewaySettings.model_validate({"models": {"m": {"upstreams": upstreams, **more}}})).route("m")
    assert found
    return found


def test_calls_are_shared_out_by_weight_among_the_first() -> None:
    chances = iter(n / 100 for n in range(100))
    routing, found = Routing(Clock(), lambda: next(chances)), route((0, 3), (0, 1), (1, 9))
    assert Counter(routing.first(found).target.model for _ in range(100)) == {"up-0": 75, "up-1": 25}


def test_equals_are_asked_before_the_next_order() -> None:
    routing, found = Routing(Clock(), lambda: 0.0), route((0, 1), (1, 1), (0, 1), retries=5)
    tried = [routing.first(found).target]
    fault = UpstreamFailed("no", answered=500)
    while (step := routing.next(found, tried, fault)) and step.move == "fallback":
        tried.append(step.target)
    assert [target.model for target in tried] == ["up-0", "up-2", "up-1"]


def test_an_upstream_that_is_left_alone_now_is_not_waited_for_where_there_is_another() -> None:
    routing, found = Routing(Clock(), lambda: 0.0), route((0, 1), (1, 1))
    fault = UpstreamFailed("busy", answered=503, retry_after_s=1)
    for _ in range(5):
        routing.went(found.targets[0], fault, ended=False)
    routing.went(found.targets[1], UpstreamFailed("busy", answered=429, retry_after_s=60), ended=False)
    step = routing.next(found, found.targets[:1], fault)
    assert step
    assert (step.target.model, step.move) == ("up-1", "fallback")


def test_one_that_says_when_is_waited_for_where_the_other_is_busy_too() -> None:
    routing, found = Routing(Clock(), lambda: 0.0), route((0, 1), (1, 1))
    routing.went(found.targets[1], UpstreamFailed("busy", answered=429, retry_after_s=60), ended=False)
    step = routing.next(found, found.targets[:1], UpstreamFailed("busy", answered=429, retry_after_s=2))
    assert step
    assert (step.target.model, step.move, step.wait_s) == ("up-0", "retry", 2.0)


@pytest.mark.parametrize("status", [400, 402, 429])
def test_an_empty_account_is_not_asked_again_another_key_is_and_nothing_is_left_alone(status: int) -> None:
    routing, found = Routing(Clock(), lambda: 0.0), route((0, 1), (1, 1), retries=9)
    empty = UpstreamFailed("no money", answered=status, retry_after_s=1, reason="credits_exhausted")
    for _ in range(20):
        routing.went(found.targets[0], empty, ended=False)
    assert not routing.open(found.targets[0])
    assert routing.first(found).target.model == "up-1"
    step = routing.next(found, found.targets[:1], empty)
    assert step
    assert (step.target.model, step.move) == ("up-1", "fallback")
    assert routing.next(found, found.targets, empty) is None


def test_a_busy_upstream_is_spared_while_its_equal_is_free() -> None:
    routing, found = Routing(Clock(), lambda: 0.0), route((0, 1), (0, 1))
    routing.went(found.targets[0], UpstreamFailed("busy", answered=429, retry_after_s=60), ended=False)
    assert routing.first(found).target.model == "up-1"


def test_only_one_call_tries_an_upstream_that_was_left_alone() -> None:
    class Later(Clock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock = Later()
    routing, found = Routing(clock), route((0, 1))
    for _ in range(5):
        routing.went(found.targets[0], UpstreamFailed("no", answered=500), ended=False)
    with pytest.raises(UpstreamFailed, match="out of order"):
        routing.first(found)
    clock.at = 16.0
    only = routing.first(found).target
    assert routing.take(only)
    assert not routing.take(only)
    with pytest.raises(UpstreamFailed, match="out of order"):
        routing.first(found)
    routing.went(found.targets[0], None, ended=False)  # the one that tried was cancelled: the next one may
    assert routing.take(routing.first(found).target)
    routing.went(found.targets[0], None, ended=True)
    assert routing.health(found.targets[0]).state(clock.at) == "closed"


def test_a_call_that_only_waits_for_its_turn_keeps_nobody_from_trying() -> None:
    class Later(Clock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock = Later()
    routing, found = Routing(clock, lambda: 0.0), route((0, 1))
    for _ in range(5):
        routing.went(found.targets[0], UpstreamFailed("no", answered=500), ended=False)
    clock.at = 16.0
    waiting = routing.next(found, found.targets, UpstreamFailed("busy", answered=429, retry_after_s=5))
    assert waiting
    assert routing.take(found.targets[0])
    assert not routing.take(waiting.target)


def test_the_same_model_with_another_key_fares_on_its_own(tmp_path: Path) -> None:
    keys: tuple[dict[str, str], ...] = (
        {"api_key": "sk-one"},
        {"api_key": "sk-two"},
        {"api_key_file": str(tmp_path / "key")},
        {},
    )
    upstreams = [{"model": "same", **key} for key in keys]
    found = Models(GatewaySettings.model_validate({"models": {"m": {"upstreams": upstreams}}})).route("m")
    assert found
    routing = Routing(Clock(), lambda: 0.0)
    for _ in range(5):
        routing.went(found.targets[0], UpstreamFailed("no", answered=500), ended=False)
    assert [routing.open(target) for target in found.targets] == [True, False, False, False]
    assert "sk-" not in str([target.key for target in found.targets])
