"""What another process does to a call that waits here: its waiter hears of it, though nothing here was told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy.engine import Row

from control.approvals import desk as desks
from control.approvals.desk import Desk, Verdict
from control.executions import toolcalls
from control.executions.lifecycle import Lifecycle
from control.identity import sessions
from control.tables import tool_calls
from kit.bus import Bus
from mcp_server import lookout
from tests.databases import connected
from tests.mcp_server.plane import ERAS, GATED, PAYMENT, Era, Payments, Plane, text_of
from tests.mcp_server.test_resume import STALE, agent


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "LOOK_S", 0.05)


@asynccontextmanager
async def elsewhere(house: Plane, folder: Path) -> AsyncIterator[Plane]:
    """The same plane as another process has it: its own bus and its own desk on the same file."""
    bus = Bus()
    db = connected(folder / "preloop.db", bus)
    try:
        desk = Desk(house.desk.directory, Lifecycle([desks.withdraw]))
        yield replace(house, db=db, bus=bus, desk=desk)
    finally:
        await db.close()


async def approve(other: Plane, approval: Row[tuple[object, ...]]) -> None:
    await other.decide(approval)


async def decline(other: Plane, approval: Row[tuple[object, ...]]) -> None:
    await other.decide(approval, Verdict.DECLINED, "over budget")


async def revoke(other: Plane, approval: Row[tuple[object, ...]]) -> None:
    await other.db.write(lambda tx: sessions.revoke(tx, str(approval.session_id)))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("act", "said", "paid"),
    [(approve, "completed", 1), (decline, "over budget", 0), (revoke, "has ended", 0)],
)
async def test_what_happens_elsewhere_ends_a_wait_here(
    house: Plane,
    payments: Payments,
    tmp_path: Path,
    era: Era,
    act: Callable[[Plane, Row[tuple[object, ...]]], Awaitable[None]],
    said: str,
    paid: int,
) -> None:
    _, token = await house.enrolled(GATED)
    answers: list[str] = []
    async with elsewhere(house, tmp_path) as other, house.client(token, era) as client:

        async def pay() -> None:
            answers.append(text_of(await client.call_tool("pay", PAYMENT)))

        with anyio.fail_after(15):
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(pay)
                await act(other, (await house.pending())[0])
    assert said in answers[0]
    assert len(payments.made()) == paid


async def test_a_session_revoked_elsewhere_ends_the_stream_that_only_listens_here(house: Plane, tmp_path: Path) -> None:
    session, token = await house.enrolled(GATED)
    async with (
        elsewhere(house, tmp_path) as other,
        agent(house, token) as http,
        http.stream("GET", "", headers=STALE) as answer,
    ):
        assert answer.status_code == 200
        await other.db.write(lambda tx: sessions.revoke(tx, session))
        with anyio.fail_after(10):
            await answer.aread()


async def test_it_is_written_down_that_somebody_listens_for_a_waiting_call(
    house: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "TELL_S", 0.05)
    _, token = await house.enrolled(GATED)
    async with house.client(token, ERAS[0]) as client, anyio.create_task_group() as waiting:
        with anyio.fail_after(15):
            waiting.start_soon(client.call_tool, "pay", PAYMENT)
            told = tool_calls.c.attended_at.is_not(None)
            [call] = await house.rows(tool_calls, toolcalls.topic(""), 1, told)
            assert call.status == "waiting"
            waiting.cancel_scope.cancel()
