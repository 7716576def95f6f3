"""Odd definitions of one tool server: each is left out alone, and whatever takes long holds nobody up."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from control.identity.charter import ToolGrant
from mcp_server import aside, catalog, schema
from mcp_server.aside import Reader
from mcp_server.catalog import Offer
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.upstream import Upstream
from tests.mcp_server.fake import TOOLS, fake

deep: Any = {}
for _ in range(200):
    deep = {"properties": {"x": deep}}
ODD: list[Any] = [
    {"name": "list", "inputSchema": {"$schema": ["x"]}},
    {"name": "object", "inputSchema": {"$schema": {}}},
    {"name": "old", "inputSchema": {"$schema": "http://json-schema.org/draft-03/schema#", "required": True}},
    {"name": "unread", "inputSchema": {"$ref": "#/x", "x": {"patternProperties": 5}}},
    {"name": "deep", "inputSchema": deep},
    {"name": "headers", "inputSchema": {"properties": {"x": 3}}},
    {"name": "odd\ud800", "inputSchema": {}},
    {"name": ["x"], "inputSchema": {}},
]


async def test_an_odd_definition_takes_no_other_tool_away() -> None:
    async with fake() as (server, url):
        server.tools = [3, None, "x", ["y"], *ODD, *server.tools]  # type: ignore[list-item]
        upstream = Upstream("fake", UpstreamServer.model_validate({"url": url}))
        async with anyio.create_task_group() as running:
            running.start_soon(upstream.run)
            assert await upstream.ready(20), upstream.trouble
            assert set(upstream.definitions or ()) == set(TOOLS)
            names = {"list", "object", "old", "unread", "deep", "headers", "odd?", "(no name)"}
            assert set(upstream.unusable) == names
            running.cancel_scope.cancel()


def test_what_cannot_be_shown_is_left_out_of_a_list_alone() -> None:
    whole = schema.define("fake", {"name": "whole", "inputSchema": {"type": "object"}})
    broken = replace(whole, raw={"name": "broken", "inputSchema": {"required": True}})
    grants = (ToolGrant(server="fake", tool="*", justification="required"),)
    offers = [Offer(name=each.raw["name"], definition=each, grants=grants) for each in (broken, whole)]
    assert [each["name"] for each in catalog.shown(offers)] == ["whole"]


async def turns(work: Callable[[], Awaitable[object]]) -> int:
    """How often others had their turn while it was done."""
    count = 0

    async def others() -> None:
        nonlocal count
        while True:
            await anyio.lowlevel.checkpoint()
            count += 1

    async with anyio.create_task_group() as beside:
        beside.start_soon(others)
        await anyio.lowlevel.checkpoint()
        before = count
        await work()
        beside.cancel_scope.cancel()
    return count - before


async def test_arguments_that_take_long_to_check_hold_nobody_up() -> None:
    items = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    definition = schema.define("fake", {"name": "look", "inputSchema": {"properties": {"x": items}}})
    said = []

    async def checked() -> None:
        said.append(await aside.complaints(definition, {"x": list(range(10_000))}))
        said.append(await aside.complaints(definition, {"x": [*range(10_000), None]}))

    assert await turns(checked) > 10
    assert said[0] == ""
    assert said[1].startswith("argument 'x.10000': None is not valid")


async def test_a_list_that_takes_long_to_read_holds_nobody_up_and_what_stays_is_read_once() -> None:
    raws = [
        {"name": f"t{number}", "inputSchema": {"properties": {f"p{name}": {} for name in range(400)}}}
        for number in range(5)
    ]
    reader = Reader("fake")
    assert await turns(lambda: reader.read(raws)) > 10
    first, _ = await reader.read(
        [*raws, {"name": "odd", "inputSchema": {"type": 5}}, {"name": "nan", "x": float("nan")}]
    )
    again, left_out = await reader.read(
        [*raws[1:], raws[0] | {"description": "new"}, {"name": "inf", "x": float("inf")}]
    )
    assert {name for name in first if first[name] is again[name]} == {"t1", "t2", "t3", "t4"}
    assert again["t0"].raw["description"] == "new"
    assert set(left_out) == {"inf"}


@pytest.mark.parametrize("changed", [{}, {"inputSchema": {"type": "null"}}])
async def test_one_name_twice_in_a_list_is_one_tool(changed: dict[str, Any]) -> None:
    raw = {"name": "pay", "inputSchema": {"type": "object"}}
    learned, left_out = await Reader("fake").read([raw, raw | changed])
    assert list(learned) == ["pay"]
    assert not left_out
