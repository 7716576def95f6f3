"""Aliases are checked when they are read: unknown keys, floats and half a price are errors."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.models import Models
from gateway.settings import GatewaySettings, ModelAlias


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


def test_a_key_is_never_printed() -> None:
    alias = ModelAlias.model_validate({"model": "gpt", "api_key": "sk-secret"})
    assert "sk-secret" not in repr(alias)


def test_the_same_prices_have_the_same_version() -> None:
    def version(dollars: str) -> str:
        entry = {"model": "gpt", "input_usd_per_mtok": dollars, "output_usd_per_mtok": "10.00"}
        route = Models(GatewaySettings.model_validate({"models": {"a": entry}})).route("a")
        assert route
        assert route.targets[0].price
        return route.targets[0].price.version

    assert version("2.50") == version("2.50") != version("2.51")
