"""What a call is held at: more than it can cost, whatever it holds."""

from typing import Any

import pytest

from gateway.bounds import TOOLS_TOKENS, bound, read_bound, read_estimate, unbounded
from gateway.dialects.hosted import MOST_USES, most
from gateway.settings import Upstream
from gateway.upstream import Target
from gateway.wires.neutral import Request, Tool

PLAIN: dict[str, Any] = {"alias": "default", "messages": ()}


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 500),
        ({"media": 2, "media_bytes": 400}, 100 + 2 * 48_169),
        ({"tools": (Tool(name="pay", own="pay"),)}, 500 + TOOLS_TOKENS),
        ({"hosted": ("web_search",)}, 500 + TOOLS_TOKENS),
    ],
)
def test_text_counts_its_bytes_and_what_is_hidden_has_a_bound(more: dict[str, Any], tokens: int) -> None:
    assert bound(Request(**PLAIN | more), 500, _target()) == tokens


def _target(**settings: Any) -> Target:
    return Target(alias="default", place=0, settings=Upstream(**{"model": "gpt", **settings}), prices=())


def _tiles(width: int, height: int) -> int:
    """Tiles of 512 pixels that OpenAI sees in a picture (platform.openai.com/docs/guides/images-vision)."""
    for within in (2048 / max(width, height), 768 / min(width, height)):
        width, height = (round(side * min(1, within)) for side in (width, height))
    return -(-width // 512) * -(-height // 512)


def _crops(width: int, height: int) -> int:
    """Tiles that Google cuts a picture into, of 258 tokens each (ai.google.dev/gemini-api/docs/tokens)."""
    within = min(1, 3072 / max(width, height))
    width, height = max(1, round(width * within)), max(1, round(height * within))
    unit = min(768, max(256, min(width, height) * 2 // 3))
    return -(-width // unit) * -(-height // unit)


SIZES = [
    (side, other) for side in (300, 512, 769, 1024, 1568, 2048, 3072, 8000) for other in (90, 385, 768, 2048, 8000)
]


@pytest.mark.parametrize(
    ("provider", "model", "counted"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", [2_833 + 5_667 * _tiles(*size) for size in SIZES]),
        ("openai", "gpt-4o", [85 + 170 * _tiles(*size) for size in SIZES]),
        ("openai", "o1", [75 + 150 * _tiles(*size) for size in SIZES]),
        ("openai", "gpt-4.1-nano", [1_536 * 246 // 100]),
        ("openai", "gpt-5.4", [10_000]),
        ("anthropic", "claude-opus-4-7", [4_784]),
        ("gemini", "gemini-2.5-pro", [258 * _crops(*size) for size in SIZES]),
        ("gemini", "gemini-3-pro", [2_240]),
        ("together_ai", "llama", [6_404]),
        ("openai", "what-comes-next", [2_833 + 5_667 * 8]),
    ],
)
def test_a_picture_is_held_for_at_no_less_than_its_provider_counts(
    provider: str, model: str, counted: list[int]
) -> None:
    target = _target(provider=provider, model=model)
    seen = Request(**PLAIN | {"media": 3, "media_bytes": 400})
    assert bound(seen, 500, target) >= 100 + 3 * max(counted)
    assert read_estimate(seen, 500, target) <= bound(seen, 500, target)


def test_a_picture_at_another_address_counts_as_the_dearest_unless_the_settings_say() -> None:
    seen = Request(**PLAIN | {"media": 1, "media_bytes": 500})
    elsewhere = {"model": "gpt-4o", "base_url": "http://127.0.0.1:1/v1"}
    assert bound(seen, 500, _target(**elsewhere)) == 2_833 + 5_667 * 8
    assert bound(seen, 500, _target(**elsewhere, max_picture_tokens=700)) == 700
    assert read_estimate(seen, 500, _target(**elsewhere, max_picture_tokens=700)) == 701


def test_the_cost_that_a_provider_reports_is_believed_of_openrouter_and_where_the_settings_say_so() -> None:
    found = [
        _target(provider="openrouter"),
        _target(base_url="https://openrouter.ai/api/v1"),
        _target(base_url="http://127.0.0.1:1/v1", reports_cost=True),
        _target(),
        _target(base_url="https://openrouter.ai.example/api/v1"),
        _target(provider="openrouter", reports_cost=False),
    ]
    assert [target.reports_cost for target in found] == [True, True, True, False, False, False]


def test_tools_at_the_provider_may_read_all_that_the_model_can_once_more_for_each_use() -> None:
    search = Request(**PLAIN, hosted=("web_search",))
    few = Request(**PLAIN, hosted=("web_search",), hosted_most=2)
    assert (most(Request(**PLAIN)), most(search), most(few)) == (0, MOST_USES, 2)
    target = _target(max_input_tokens=9_000)
    assert read_bound(Request(**PLAIN), 500, target) == 500
    assert read_bound(search, 500, target) == 9_000 * (MOST_USES + 1)
    assert read_bound(few, 500, target) == 27_000


@pytest.mark.parametrize(
    ("wire", "tool", "settings", "hint"),
    [
        ("responses", "web_search", {"max_input_tokens": 9_000}, None),
        ("messages", "web_search", {"max_input_tokens": 9_000}, None),
        ("messages", "web_search", {}, "in [models.default], or in each"),
        ("chat", "web_search", {"max_input_tokens": 9_000}, "no bound for the uses of 'web_search'"),
        ("gemini", "googleSearch", {"max_input_tokens": 9_000}, "no bound for the uses of 'googleSearch'"),
        ("responses", "mcp:mcp.test", {"max_input_tokens": 9_000}, "no bound for the uses of 'mcp:mcp.test'"),
    ],
)
def test_what_no_provider_keeps_to_has_no_bound(wire: str, tool: str, settings: Any, hint: str | None) -> None:
    said = unbounded(wire, Request(**PLAIN, hosted=(tool,)), _target(**settings))
    assert said is None if hint is None else hint in (said or "")


def test_a_request_without_such_a_tool_is_bounded_on_every_wire() -> None:
    assert [unbounded(wire, Request(**PLAIN), _target()) for wire in ("chat", "gemini")] == [None, None]
