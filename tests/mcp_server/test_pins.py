"""Definitions are pinned: what nobody accepted is not served, what changed is quarantined and its requests are void."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from control import tables
from control.approvals import desk, pins
from control.identity.charter import Gate, ToolGrant
from kit import canonical
from kit.errors import Conflict
from mcp_server.settings import UpstreamServer
from mcp_server.upstream import upstream as upstreams
from tests.mcp_server.fake import SCHEMA, Fake, fake
from tests.mcp_server.plane import ACCOUNT, ERAS, Era, Plane, plane, text_of
from tests.waiting import until

ALL = ToolGrant(server="fake", tool="*")
GATED = ToolGrant(server="fake", tool="whole", approval=Gate(group="finance"))
WHOLE = {"name": "whole", "inputSchema": SCHEMA}
CHANGED = WHOLE | {"description": "Also reads your mail."}


@asynccontextmanager
async def up(folder: Path, pin: object = None) -> AsyncIterator[tuple[Plane, Fake]]:
    async with fake() as (server, url):
        server.tools = [WHOLE]
        settings = {"url": url} | ({"pin": pin} if pin is not None else {})
        async with plane(folder, fake=UpstreamServer.model_validate(settings)) as house:
            yield house, server


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "RELIST_S", 0.05)


async def call(house: Plane, token: str) -> str:
    async with house.client(token, "2026-07-28") as client:
        return text_of(await client.call_tool("whole", {}))


async def says(house: Plane, token: str, wanted: str) -> None:
    """The answer to a call, as soon as it is that."""

    async def said() -> bool:
        return wanted in await call(house, token)

    await until(said, what=f"the answer {wanted!r}")


async def status(house: Plane, wanted: str, count: int = 1) -> list[Any]:
    """The definitions in that state, as soon as there are that many."""
    return list(await house.rows(tables.definitions, pins.TOPIC, count, tables.definitions.c.status == wanted))


async def test_without_a_pin_a_tool_waits_for_an_admin_and_says_where(tmp_path: Path) -> None:
    async with up(tmp_path, pin={}) as (house, server):
        _, token = await house.enrolled(ALL)
        said = await call(house, token)
        assert "nobody has accepted its definition yet" in said
        assert "preloop tools accept fake whole" in said
        async with house.client(token, "2026-07-28") as client:
            assert (await client.list_tools()).tools == []
        assert server.calls == []
        [row] = await status(house, "seen")
        await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "fake", "whole", digest=row.digest, by="alice"))
        await says(house, token, "whole")


async def test_first_use_accepts_what_is_seen_first_and_nothing_after_it(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        _, token = await house.enrolled(ALL)
        assert await call(house, token) == "whole"
        server.tools = [CHANGED]
        await status(house, "quarantined")
        await says(house, token, "changed its definition and is quarantined")
    assert server.calls == ["whole"]


async def test_a_pinned_digest_is_served_and_no_other(tmp_path: Path) -> None:
    async with up(tmp_path, pin={"whole": canonical.digest(WHOLE)}) as (house, server):
        _, token = await house.enrolled(ALL)
        assert await call(house, token) == "whole"
        server.tools = [CHANGED]
        [row] = await status(house, "quarantined")
        await says(house, token, "not what preloop.toml pins")
        assert server.calls == ["whole"]
        with pytest.raises(Conflict, match=r"preloop\.toml pins 'whole'"):
            await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "fake", "whole", digest=row.digest, by="alice"))


async def test_a_change_makes_open_requests_void_and_answers_who_waits(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        _, token = await house.enrolled(GATED)
        said: list[str] = []

        async def ask() -> None:
            said.append(await call(house, token))

        async with anyio.create_task_group() as agent:
            agent.start_soon(ask)
            await house.pending()
            server.tools = [CHANGED]
        assert "earlier approvals of it are void" in said[0]
        void = tables.approvals.c.status == "void"
        await house.rows(tables.approvals, desk.TOPIC, 1, void)
        assert server.calls == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("now", [[CHANGED], []], ids=["changed", "gone"])
async def test_what_changed_between_the_yes_and_the_sending_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, era: Era, now: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(upstreams, "RELIST_S", 600)  # nobody looks by the clock: only the sending does
    async with up(tmp_path, pin="first-use") as (house, server):
        _, token = await house.enrolled(GATED)
        said: list[str] = []

        async def ask() -> None:
            async with house.client(token, era) as client:
                said.append(text_of(await client.call_tool("whole", {})))

        async with anyio.create_task_group() as agent:
            agent.start_soon(ask)
            [approval] = await house.pending()
            server.tools = now
            await house.decide(approval)
        assert server.calls == []
        assert ("earlier approvals of it are void" in said[0]) == bool(now)
        assert "called" in said[0]
        [row] = await house.db.read(sa.select(tables.approvals))
        assert row.status == ("void" if now else "consumed")


async def test_going_back_to_the_accepted_definition_serves_it_again(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        _, token = await house.enrolled(ALL)
        await call(house, token)
        server.tools = [CHANGED]
        await status(house, "quarantined")
        server.tools = [WHOLE]
        await status(house, "replaced")
        await says(house, token, "whole")
        assert server.calls == ["whole", "whole"]


async def test_accepting_what_was_not_looked_at_is_a_conflict(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        await status(house, "accepted")
        server.tools = [CHANGED]
        await status(house, "quarantined")
        with pytest.raises(Conflict):
            await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "fake", "whole", digest="0" * 64, by="alice"))
        [accepted] = await status(house, "accepted")
        assert accepted.digest == canonical.digest(WHOLE)


async def test_every_decision_is_in_the_record(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        await status(house, "accepted")
        server.tools = [CHANGED]
        await status(house, "quarantined")
        types = sa.select(tables.events.c.type).where(tables.events.c.type.like("tool.%"))
        assert [row.type for row in await house.db.read(types.order_by(tables.events.c.seq))] == [
            "tool.accepted",
            "tool.quarantined",
        ]


def test_a_diff_names_what_changed() -> None:
    diff = pins.diff(canonical.dumps(WHOLE), canonical.dumps(CHANGED))
    assert '+  "description": "Also reads your mail.",' in diff
    assert pins.diff(None, canonical.dumps(WHOLE)) == ""


async def test_a_tool_that_cannot_be_checked_is_kept_with_the_reason_until_it_can(tmp_path: Path) -> None:
    async with up(tmp_path, pin="first-use") as (house, server):
        _, token = await house.enrolled(ALL)
        assert await call(house, token) == "whole"
        server.tools = [WHOLE | {"inputSchema": {"$ref": "https://elsewhere.example/schema"}}]
        [row] = await status(house, "unusable")
        assert (row.tool, "elsewhere.example" in row.reason) == ("whole", True)
        await says(house, token, "refers to https://elsewhere.example/schema, outside of itself")
        server.tools = [WHOLE]
        await says(house, token, "whole")
        await status(house, "replaced")


async def test_a_second_server_s_tool_of_one_name_renames_ours_only_once_it_is_accepted(tmp_path: Path) -> None:
    async with fake() as (first, url), fake() as (second, other):
        first.tools = second.tools = [WHOLE]
        ours = UpstreamServer.model_validate({"url": url, "pin": "first-use"})
        theirs = UpstreamServer.model_validate({"url": other, "pin": {}})
        async with plane(tmp_path, fake=ours, theirs=theirs) as house:
            _, token = await house.enrolled(ALL, ToolGrant(server="theirs", tool="*"))
            [row] = await status(house, "seen")
            assert await call(house, token) == "whole"
            await house.db.write(lambda tx: pins.accept(tx, ACCOUNT, "theirs", "whole", digest=row.digest, by="alice"))
            await says(house, token, "Call fake__whole or theirs__whole.")
    assert (set(first.calls), second.calls) == ({"whole"}, [])
