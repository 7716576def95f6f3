"""What a call is held at: more than it can cost, whatever it holds."""

from typing import Any

import pytest

from gateway.bounds import MEDIA_TOKENS, TOOLS_TOKENS, bound, read_bound, unbounded, uses
from gateway.dialects.hosted import MOST_USES
from gateway.settings import Upstream
from gateway.upstream import Target
from gateway.wires.neutral import Request, Tool

PLAIN: dict[str, Any] = {"alias": "default", "messages": ()}


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 500),
        ({"media": 2, "media_bytes": 400}, 100 + 2 * MEDIA_TOKENS),
        ({"tools": (Tool(name="pay", own="pay"),)}, 500 + TOOLS_TOKENS),
        ({"hosted": ("web_search",)}, 500 + TOOLS_TOKENS),
    ],
)
def test_text_counts_its_bytes_and_what_is_hidden_has_a_bound(more: dict[str, Any], tokens: int) -> None:
    assert bound(Request(**PLAIN | more), 500) == tokens


def _target(**settings: Any) -> Target:
    return Target(alias="default", place=0, settings=Upstream(model="gpt", **settings), prices=())


def test_tools_at_the_provider_may_read_all_that_the_model_can_once_more_for_each_use() -> None:
    search = Request(**PLAIN, hosted=("web_search",))
    few = Request(**PLAIN, hosted=("web_search",), hosted_most=2)
    assert (uses(Request(**PLAIN)), uses(search), uses(few)) == (0, MOST_USES, 2)
    target = _target(max_input_tokens=9_000)
    assert read_bound(Request(**PLAIN), 500, target) == 500
    assert read_bound(search, 500, target) == 9_000 * (MOST_USES + 1)
    assert read_bound(few, 500, target) == 27_000


@pytest.mark.parametrize(
    ("wire", "tool", "settings", "hint"),
    [
        ("responses", "web_search", {"max_input_tokens": 9_000}, None),
        ("messages", "web_search", {"max_input_tokens": 9_000}, None),
        ("messages", "web_search", {}, "Set models.default.max_input_tokens"),
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
