"""What the rules of a call saw is kept with it, so that other rules can be tried over exactly that."""

import json

import anyio
import pytest
from sqlalchemy.engine import Row

from control.approvals import changes, replay, rules
from control.approvals.replay import Change, Past, Ruling
from control.identity.charter import Gate, ToolGrant
from control.identity.doorkeeper import Listener
from ledger import book
from tests.ledger.books import entry
from tests.mcp_server.plane import PAYMENT, Payments, Plane, text_of

DEAR = 2_500_000_000  # nano-dollars
COUNTED = "execution.spend_usd > 2.0 || execution.model_calls > 5 || execution.tool_calls > 1"


PAY = ToolGrant(server="payments", tool="pay", deny=COUNTED)


async def paid(house: Plane, token: str, amount: int) -> str:
    async with house.client(token, "2026-07-28") as client:
        return text_of(await client.call_tool("pay", PAYMENT | {"amount": amount}))


def replayed(row: Row[tuple[object, ...]], when: str) -> list[Change]:
    allowed = Ruling(verdict="allow", rule=row.rule)
    past = Past(id=row.id, server=row.server, tool=row.tool, facts=changes.facts(row), ruling=allowed)
    grant = ToolGrant(server="payments", tool="pay", approval=Gate(group="finance", when=when))
    return replay.replay([grant], [past], rules.evaluate)


async def test_a_rule_sees_what_the_run_has_spent_so_far(house: Plane, payments: Payments) -> None:
    session, token = await house.enrolled(PAY)
    await paid(house, token, 1)
    await house.db.write(lambda tx: book.append(tx, [entry("att_1", session_id=session, cost_nano=DEAR)]))
    assert "execution.spend_usd > 2.0" in await paid(house, token, 2)
    assert [made["amount"] for made in payments.made()] == [1]


async def test_a_rule_sees_how_often_the_run_has_called_so_far(house: Plane, payments: Payments) -> None:
    _, token = await house.enrolled(PAY)
    for amount in (1, 2, 3):
        await paid(house, token, amount)
    assert [made["amount"] for made in payments.made()] == [1, 2]


@pytest.mark.parametrize("run", [False, True], ids=["enrolled", "execution"])
async def test_calls_that_come_at_once_count_each_other(house: Plane, payments: Payments, run: bool) -> None:
    rule = ToolGrant(server="payments", tool="pay", deny="execution.tool_calls >= 2")
    token = (await house.execution(rule))[2] if run else (await house.enrolled(rule))[1]
    listener = Listener.CONTAINERS if run else Listener.PEOPLE
    async with house.client(token, "2026-07-28", listener) as client, anyio.create_task_group() as tasks:
        for amount in range(12):
            tasks.start_soon(client.call_tool, "pay", PAYMENT | {"amount": amount + 1})
    assert len(payments.made()) == 2
    rows = await house.calls()
    assert sorted(row.status for row in rows) == ["denied"] * 10 + ["succeeded"] * 2
    assert sorted(json.loads(row.context)["execution"]["tool_calls"] for row in rows) == list(range(12))


@pytest.mark.parametrize(
    ("when", "asks"),
    [
        ("args.amount > 1000", True),
        ("args.amount > 1500", False),
        ("has(args.justification)", False),
        ("execution.tool_calls == 0 && execution.spend_usd == 0.0", True),
        ("now > timestamp('2020-01-01T00:00:00Z') && now.getHours() < 24", True),
        ("now.getFullYear() < 2020", False),
        ("principal.name == 'agent' && flow == ''", True),
        ("args.nobody_wrote_this > 1", True),
    ],
)
async def test_another_rule_is_tried_over_exactly_what_was_seen(
    house: Plane, payments: Payments, when: str, asks: bool
) -> None:
    _, token = await house.enrolled(PAY)
    await paid(house, token, 1500)
    [row] = await house.calls()
    found = [change.now.verdict for change in replayed(row, when)]
    assert found == (["ask"] if asks else [])
