"""Secrets in arguments do not reach the log, which more people read than the page of a request."""

from control.identity.doorkeeper import Listener
from tests.mcp_server.plane import FREE, PAYMENT, Plane, text_of

TOKEN = "ghp_" + "a1B2c3D4e5" * 4


async def test_the_story_holds_no_secret(house: Plane) -> None:
    execution, _, token = await house.execution(FREE)
    async with house.client(token, "2026-07-28", Listener.CONTAINERS) as client:
        result = await client.call_tool("pay", PAYMENT | {"contract_id": TOKEN})
    assert TOKEN in text_of(result)
    story = "\n".join(await house.story(execution))
    assert '"contract_id": "••••••••"' in story
    assert "There is no contract ••••••••" in story
    assert TOKEN not in story
