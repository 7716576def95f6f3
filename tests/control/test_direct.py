"""A way past the gateway: which key of preloop.toml is one, and which flows may name it."""

import pytest
from pydantic import ValidationError

from control.flows import review, source
from control.flows.direct import Direct
from control.flows.review import Known
from kit.errors import Invalid
from tests.control.house import ACCOUNT, House

KEY = "sk-direct-0123456789"


def direct(**changes: object) -> Direct:
    return Direct.model_validate({"wire": "openai", "model": "gpt-x", "key": KEY, "flows": ["past"]} | changes)


def flow(gateway: str, *, runtime: str = "scripted", name: str = "past", more: str = "") -> str:
    agent = f"{{runtime: {runtime}, model: default, gateway: {gateway}}}"
    return f"version: 1\nname: {name}\nagent: {agent}\nprompt: x\n{more}"


def known(*, covered: bool = False, **changes: object) -> Known:
    keys = {"default": direct(**changes)}
    return Known(models=["default"], servers=[], groups={}, direct=keys, covered=lambda flow, alias: covered)


async def said(house: House, text: str, given: Known) -> list[str]:
    written = source.read(text)
    return review.review(written, given, await review.account(house.db, ACCOUNT, written.flow.name))


BUDGET = 'limits: {budget_usd: "1.00"}\n'


@pytest.mark.parametrize("gateway", ["false", "prefer"])
@pytest.mark.parametrize("runtime", ["scripted", "codex", "opencode"])
async def test_a_flow_that_an_admin_marked_a_key_for_is_saved(house: House, gateway: str, runtime: str) -> None:
    assert await said(house, flow(gateway, runtime=runtime), known()) == []


@pytest.mark.parametrize("gateway", ["false", "prefer"])
async def test_a_flow_without_a_key_hears_which_setting_is_missing(house: House, gateway: str) -> None:
    nothing = Known(models=["default"], servers=[], groups={})
    for given, name in ((nothing, "past"), (known(), "other"), (known(flows=["pas"]), "past")):
        with pytest.raises(Invalid) as caught:
            await said(house, flow(gateway, name=name), given)
        assert caught.value.message.startswith("line 3, agent.gateway: no key of preloop.toml is marked")
        assert f'"{name}" into `flows` of [models.default.direct]' in caught.value.hint


@pytest.mark.parametrize(("runtime", "wire"), [("codex", "anthropic"), ("claude", "openai"), ("gemini", "openai")])
async def test_an_agent_that_does_not_speak_the_key_s_wire_is_refused(house: House, runtime: str, wire: str) -> None:
    with pytest.raises(Invalid, match=f"{runtime} speaks the .* wire, and .* is a key for {wire}"):
        await said(house, flow("false", runtime=runtime), known(wire=wire))


async def test_what_must_not_cost_more_can_not_go_past_the_gateway(house: House) -> None:
    for text, covered, limit in (
        (flow("false", more=BUDGET), False, "limits.budget_usd"),
        (flow("false"), True, "a hard limit of [[budgets]]"),
    ):
        with pytest.raises(Invalid) as caught:
            await said(house, text, known(covered=covered))
        assert caught.value.message == f"line 3, agent.gateway: past the gateway nobody keeps {limit}."
        assert "gateway: prefer" in caught.value.hint


async def test_one_that_prefers_the_gateway_is_told_that_it_stays_there_under_a_limit(house: House) -> None:
    [odd] = await said(house, flow("prefer", more=BUDGET), known())
    assert odd == "line 3, agent.gateway: under limits.budget_usd its agents never go past the gateway."
    [odd] = await said(house, flow("prefer"), known(covered=True))
    assert "a hard limit of [[budgets]]" in odd


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_url": "http://api.example.com/v1"}, "is https://"),
        ({"base_url": "https://me:secret@api.example.com"}, "is https://"),
        ({"base_url": "https://*.example.com"}, "is https://"),
        ({"base_url": "https://api.example.com/v1?key=x"}, "is https://"),
        ({"base_url": "https://10.0.0.1/v1"}, "an address is none"),
        ({"base_url": "https://api.example.com:99999/v1"}, "an address is none"),
        ({"key": None}, "give one of `key`, `key_env` and `key_file`"),
        ({"key_env": "OTHER"}, "give one of `key`, `key_env` and `key_file`"),
        ({"key": None, "key_env": "PRELOOP_MODELS__DEFAULT__API_KEY"}, "names a setting of the plane"),
        ({"flows": []}, "at least 1 item"),
        ({"flows": ["past*"]}, "match pattern"),
        ({"wire": "bedrock"}, "'openai', 'anthropic' or 'gemini'"),
    ],
)
def test_what_an_admin_can_not_mean_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("*", r"\*")):
        direct(**changes)


@pytest.mark.parametrize(
    ("changes", "url", "site"),
    [
        ({}, "https://api.openai.com/v1", "api.openai.com"),
        ({"wire": "anthropic"}, "https://api.anthropic.com", "api.anthropic.com"),
        ({"wire": "gemini"}, "https://generativelanguage.googleapis.com", "generativelanguage.googleapis.com"),
        ({"base_url": "https://llm.example.com:443/v1/"}, "https://llm.example.com:443/v1", "llm.example.com"),
        ({"base_url": "https://llm.example.com:8443"}, "https://llm.example.com:8443", "llm.example.com:8443"),
    ],
)
def test_exactly_the_provider_s_host_and_port_are_opened(changes: dict[str, object], url: str, site: str) -> None:
    assert (direct(**changes).url, direct(**changes).site) == (url, site)
