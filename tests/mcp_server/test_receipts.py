"""A refusal of a call that has no row has a receipt too, in both eras."""

from pathlib import Path
from typing import Any

import pytest

from control import events
from control.identity.charter import ToolGrant
from mcp_server.answers import RECEIPT
from mcp_server.settings import UpstreamServer
from tests.mcp_server.fake import fake
from tests.mcp_server.plane import ACCOUNT, ERAS, PAYMENT, Era, Plane, plane, text_of

PAY = ToolGrant(server="payments", tool="pay", justification="required")
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("deploy_production", {}, "tool_not_allowed", "Tool 'deploy_production' not found in allowed tools"),
    ("pay", {"amount": 1, "justification": "due"}, "invalid_arguments", "required argument 'recipient' missing"),
    ("pay", PAYMENT, "invalid_arguments", "required argument 'justification' missing"),
]


async def refused(house: Plane, session: str, token: str, era: Era, name: str, arguments: dict[str, Any]) -> str:
    """What the agent reads, which is what the event of its receipt says; and that event's code."""
    async with house.client(token, era) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error and result.meta
    [event] = [e for e in await events.read(house.db, ACCOUNT, session) if e.type == "tool.refused"]
    assert result.meta[RECEIPT] == {"stream": session, "seq": event.seq, "hash": event.hash}
    assert text_of(result) == event.data["text"]
    return f"{event.data['code']}: {event.data['text']}"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("name", "arguments", "code", "says"), REFUSED)
async def test_what_is_not_listed_or_not_well_called_has_one(
    house: Plane, era: Era, name: str, arguments: dict[str, Any], code: str, says: str
) -> None:
    session, token = await house.enrolled(PAY)
    told = await refused(house, session, token, era, name, arguments)
    assert told.startswith(f"{code}: ") and told.endswith(says)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("second", "says"),
    [({"pin": "first-use"}, "several servers have one of that name"), ({"pin": {}}, "nobody has accepted")],
    ids=["clash", "unaccepted"],
)
async def test_what_is_held_back_has_one(tmp_path: Path, era: Era, second: dict[str, Any], says: str) -> None:
    async with fake() as (_, one), fake() as (_, two):
        servers = {"one": {"url": one, "pin": "first-use"}, "two": {"url": two} | second}
        made = {name: UpstreamServer.model_validate(settings) for name, settings in servers.items()}
        async with plane(tmp_path, **made) as up:
            name = "whole" if second["pin"] else "two__whole"
            session, token = await up.enrolled(ToolGrant(server="*", tool="whole"))
            assert says in await refused(up, session, token, era, name, {})
