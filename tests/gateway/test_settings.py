"""Aliases are checked when they are read: unknown keys, floats and half a price are errors."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.models import Models
from gateway.settings import GatewaySettings, ModelAlias
from ledger.prices import CLASSES, Dated, in_force


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"model": "gpt", "temperature": 1}, "Extra inputs are not permitted"),
        ({"model": "gpt", "input_usd_per_mtok": 2.5, "output_usd_per_mtok": "1"}, "valid string"),
        ({"model": "gpt", "input_usd_per_mtok": "2,5", "output_usd_per_mtok": "1"}, "not an amount of dollars"),
        ({"model": "gpt", "input_usd_per_mtok": "2.5"}, "give both"),
        ({"provider": "openai"}, "`model` is missing"),
        ({"provider": "scripted"}, "needs `script`"),
    ],
)
def test_a_wrong_alias_is_an_error(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GatewaySettings(models={"default": ModelAlias.model_validate(entry)})


def test_an_alias_has_a_plain_name() -> None:
    with pytest.raises(ValidationError, match="can't be an alias"):
        GatewaySettings.model_validate({"models": {"My Model": {"model": "gpt"}}})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"scope": "session", "limit_usd": "1.00"}, "Input should be 'account'"),
        ({"scope": "account", "limit_usd": 1.0}, "valid string"),
        ({"scope": "account", "limit_usd": "-1"}, "not an amount of dollars"),
        ({"scope": "account", "limit_usd": "1.00", "period": "week"}, "Input should be 'hour'"),
        ({"scope": "account", "limit_usd": "1.00", "subject": "x"}, "has no `subject`"),
        ({"scope": "account"}, "Field required"),
    ],
)
def test_a_wrong_budget_is_an_error(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GatewaySettings.model_validate({"budgets": [entry]})


def test_the_same_budget_twice_is_an_error() -> None:
    one = {"scope": "flow", "period": "day", "limit_usd": "1.00"}
    with pytest.raises(ValidationError, match="same scope, subject, period and kind"):
        GatewaySettings.model_validate({"budgets": [one, one | {"limit_usd": "2.00"}]})
    GatewaySettings.model_validate({"budgets": [one, one | {"kind": "soft"}, one | {"subject": "pay"}]})


@pytest.mark.parametrize(("name", "value"), [("hosted_usd", {"web_search": "0.01"}), ("max_input_tokens", 9_000)])
def test_what_belongs_to_each_upstream_is_not_said_beside_them(name: str, value: object) -> None:
    upstream = {"model": "gpt"}
    with pytest.raises(ValidationError, match=f"`{name}` belongs into each of `upstreams`"):
        GatewaySettings.model_validate({"models": {"m": {"upstreams": [upstream], name: value}}})
    GatewaySettings.model_validate({"models": {"m": {"upstreams": [upstream | {name: value}], "retries": 1}}})


def test_a_key_is_never_printed() -> None:
    alias = ModelAlias.model_validate({"model": "gpt", "api_key": "sk-secret"})
    assert "sk-secret" not in repr(alias)


def test_the_same_prices_have_the_same_version() -> None:
    def version(dollars: str) -> str:
        entry = {"model": "gpt", "input_usd_per_mtok": dollars, "output_usd_per_mtok": "10.00"}
        route = Models(GatewaySettings.model_validate({"models": {"a": entry}})).route("a")
        assert route
        price = route.targets[0].price_at(datetime(2026, 11, 22, tzinfo=UTC))
        assert price
        return price.version

    assert version("2.50") == version("2.50") != version("2.51")


def prices(**entry: Any) -> tuple[Dated, ...]:
    route = Models(GatewaySettings.model_validate({"models": {"a": entry}})).route("a")
    assert route
    return route.targets[0].prices


def test_a_listed_model_has_its_list_price_and_any_other_has_none() -> None:
    (listed,) = prices(provider="anthropic", model="claude-sonnet-4-5")
    assert (listed.since, listed.price.source, listed.price.rates.cache_write_1h) == (None, "list", 6 * 10**9)
    assert listed.price.version.startswith("20")
    assert prices(provider="anthropic", model="claude-sonnet-4-5-mine") == ()


def test_what_the_operator_says_is_above_the_list_and_names_every_class() -> None:
    (own,) = prices(
        provider="openai",
        model="gpt-4o",
        input_usd_per_mtok="1",
        output_usd_per_mtok="2",
        cached_input_usd_per_mtok="3",
        cached_audio_usd_per_mtok="4",
        cache_write_usd_per_mtok="5",
        cache_write_1h_usd_per_mtok="6",
        audio_input_usd_per_mtok="7",
        image_input_usd_per_mtok="8",
        reasoning_usd_per_mtok="9",
        audio_output_usd_per_mtok="10",
        image_output_usd_per_mtok="11",
    )
    assert own.price.source == "override"
    assert sorted(getattr(own.price.rates, name) for name in CLASSES) == [n * 10**9 for n in range(1, 12)]
    assert (own.price.rates.cache_read, own.price.rates.cache_read_audio) == (3 * 10**9, 4 * 10**9)


def test_a_price_begins_on_its_day_in_utc() -> None:
    def from_day(day: date, dollars: str) -> dict[str, Any]:
        return {"since": day, "input_usd_per_mtok": dollars, "output_usd_per_mtok": dollars}

    dated = [from_day(date(2026, 12, 1), "2"), from_day(date(2026, 11, 1), "1")]
    begins = datetime(2026, 12, 1, tzinfo=UTC)
    for entry, before in (({"model": "mine"}, None), ({"provider": "openai", "model": "gpt-4o"}, "list")):
        known = prices(**entry, prices=dated)
        first = in_force(known, datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
        assert (first.source if first else None) == before
        at = [in_force(known, begins - timedelta(seconds=1)), in_force(known, begins)]
        assert [price.rates.input for price in at if price] == [10**9, 2 * 10**9]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"prices": [{"since": "2026-12-01"}]}, "are missing"),
        ({"prices": [{"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}]}, "since"),
        ({"prices": [{"since": "2026-12-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}] * 2}, "same day"),
        ({"reasoning_usd_per_mtok": "1"}, "needs `input_usd_per_mtok`"),
        ({"input_usd_per_mtok": 2.5, "output_usd_per_mtok": "1"}, "string"),
    ],
)
def test_a_price_that_is_not_whole_is_an_error(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GatewaySettings.model_validate({"models": {"default": {"model": "gpt", **entry}}})
