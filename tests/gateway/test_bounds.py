"""What a call is held at: more than it can cost, whatever it holds."""

from typing import Any

import pytest

from gateway.bounds import HOSTED_CALLS, MEDIA_TOKENS, TOOLS_TOKENS, bound, hosted_bound
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


def test_tools_at_the_provider_are_held_for_at_their_price() -> None:
    target = Target(
        alias="default", place=0, settings=Upstream(model="gpt", hosted_usd={"web_search": "0.01"}), prices=()
    )
    assert hosted_bound(Request(**PLAIN, hosted=("web_search",)), target) == HOSTED_CALLS * 10_000_000
    assert hosted_bound(Request(**PLAIN), target) == 0
