"""Requests under attack: what differs from their events, or is gone, is found by name, in both directions."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import attest, endings, requests
from control.approvals.desk import Verdict
from control.approvals.policy import Ask
from control.executions import toolcalls
from control.executions.states import Cause
from control.executions.toolcalls import Call
from control.tables import approvals, links, tool_calls, votes
from control.tables import events as stored
from kit import canonical
from kit.db import READ_LIMIT, Lane, Tx
from tests.control.house import ACCOUNT, House
from tests.control.test_audit import LONG_AGO, altered

Tamper = Callable[[Row[Any]], sa.Executable]
HELD = (votes.c.approval_id, links.c.approval_id, approvals.c.id)
"""Where a request is named, in the order it can be deleted."""


def of(table: sa.Table, column: sa.Column[str], **changed: Any) -> Tamper:
    """Change what belongs to one request; `column` is where the table names it, or its call."""
    return lambda row: sa.update(table).where(column == _key(column, row)).values(changed)


def _key(column: sa.Column[str], row: Row[Any]) -> str:
    return str(row.call_id if column is tool_calls.c.id else row.id)


REQUEST: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": "declined"}),
    ("decided_by", {"decided_by": "mallory"}),
    ("decided_by", {"decided_by": None}),
    ("decided_at", {"decided_at": LONG_AGO}),
    ("decided_at", {"decided_at": None}),
    ("reason", {"reason": "another one"}),
    ("expires_at", {"expires_at": LONG_AGO}),
]
CALL: list[dict[str, Any]] = [
    {"args": '{"amount":1}'},
    {"digest": "0" * 64},
    {"approved_args": '{"amount":1}'},
    {"tool": "get_contract"},
    {"server": "elsewhere"},
]
VOTE: list[dict[str, Any]] = [
    {"approver": "mallory"},
    {"verdict": "declined"},
    {"reason": "another one"},
    {"by": "elsewhere"},
    {"at": LONG_AGO},
]
TAMPERED = [(name, of(approvals, approvals.c.id, **changed)) for name, changed in REQUEST]
TAMPERED += [("arguments", of(tool_calls, tool_calls.c.id, **changed)) for changed in CALL]
TAMPERED += [("votes", of(votes, votes.c.approval_id, **changed)) for changed in VOTE]
TAMPERED += [("votes", lambda row: sa.delete(votes).where(votes.c.approval_id == row.id))]


async def three(house: House) -> list[Row[Any]]:
    """Requests that were approved, declined and left open, all as the record says."""
    principal = await house.gated(on_decline="continue")
    calls = [await house.call(principal, amount=amount) for amount in (1500, 1600, 1700)]
    await house.decide(calls[0], reason="it is due")
    await house.decide(calls[1], verdict="declined", reason="no")
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared()
    return [await house.approval(call) for call in calls]


@pytest.mark.parametrize(("name", "tamper"), TAMPERED)
async def test_a_request_that_differs_from_its_events_is_named(house: House, name: str, tamper: Tamper) -> None:
    row = (await three(house))[0]
    await altered(house, tamper(row))
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(unlike={row.id: (name,)})


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_request_whose_row_is_gone_is_missed_by_its_events(house: House, which: int) -> None:
    row = (await three(house))[which]
    await altered(house, *(sa.delete(column.table).where(column == row.id) for column in HELD))
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(unlike={row.id: (attest.GONE,)})


async def test_a_request_that_nobody_made_is_told(house: House) -> None:
    row = (await three(house))[0]
    forged = dict(row._mapping) | {"id": "apr_forged"}
    await altered(house, sa.insert(approvals).values(forged))
    assert (await attest.compare(house.db, ACCOUNT)).unlike == {"apr_forged": (attest.UNTOLD,)}


async def test_a_vote_that_nobody_gave_is_told(house: House) -> None:
    row = (await three(house))[2]
    vote = {"approval_id": row.id, "approver": "bob", "account_id": ACCOUNT, "verdict": "approved", "at": LONG_AGO}
    await altered(house, sa.insert(votes).values(vote | {"by": "test"}))
    assert (await attest.compare(house.db, ACCOUNT)).unlike == {row.id: ("votes",)}


@pytest.mark.parametrize("changed", [{"approved_args": '{"amount":9999}'}, {"approved_args": None}])
async def test_arguments_that_a_person_changed_are_those_of_the_record(
    house: House, changed: dict[str, str | None]
) -> None:
    call = await house.call(await house.gated(), amount=1500)
    await house.decide(call, changed={"amount": 1400})
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared()
    await altered(house, sa.update(tool_calls).where(tool_calls.c.id == call).values(changed))
    assert (await attest.compare(house.db, ACCOUNT)).unlike == {(await house.approval(call)).id: ("arguments",)}


async def test_content_that_nobody_said_was_deleted_is_a_difference(house: House) -> None:
    row = (await three(house))[0]
    await altered(
        house,
        sa.update(tool_calls).where(tool_calls.c.id == row.call_id).values(args=""),
        sa.update(approvals).where(approvals.c.id == row.id).values(reason=None),
        sa.update(votes).where(votes.c.approval_id == row.id).values(reason=None),
    )
    found = await attest.compare(house.db, ACCOUNT)
    assert found == attest.Compared(unlike={row.id: ("reason", "arguments", "votes")})


async def test_events_of_before_a_fact_was_recorded_are_counted_and_the_rest_is_compared(house: House) -> None:
    row = (await three(house))[0]
    await forget(house, row.id, {"digest", "server", "decided", "at", "reason_digest"})
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(older=1)
    await altered(house, of(approvals, approvals.c.id, decided_at=LONG_AGO)(row))
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(older=1)
    await altered(house, of(votes, votes.c.approval_id, approver="mallory")(row))
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(unlike={row.id: ("votes",)}, older=1)


async def forget(house: House, approval: str, facts: set[str]) -> None:
    """As the events of a request were before these facts were in them."""
    for row in await house.db.read(sa.select(stored).where(stored.c.type.like("approval.%"))):
        body = json.loads(row.body)
        if body["data"]["approval"] == approval:
            body["data"] = {name: value for name, value in body["data"].items() if name not in facts}
            this = (stored.c.stream == row.stream) & (stored.c.seq == row.seq)
            await altered(house, sa.update(stored).where(this).values(body=canonical.dumps(body)))


async def test_every_request_is_compared_where_they_are_more_than_one_read(house: House) -> None:
    ids = await many(house, READ_LIMIT + 10)
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared()
    ends = (ids[0], ids[READ_LIMIT - 1], ids[-2])
    bobs = [sa.update(votes).where(votes.c.approval_id == id_, votes.c.approver == "bob") for id_ in ends]
    await altered(house, *(vote.values(by="elsewhere") for vote in bobs))
    await altered(house, *(sa.delete(column.table).where(column == ids[-1]) for column in HELD))
    wanted = dict.fromkeys(ends, ("votes",)) | {ids[-1]: (attest.GONE,)}
    assert (await attest.compare(house.db, ACCOUNT)).unlike == wanted


async def many(house: House, count: int) -> list[str]:
    """Requests in the order of their ids, each with the votes of two people."""
    principal = await house.gated(quorum=2)
    gate = principal.charter.tools[0].approval
    assert gate

    def unit(tx: Tx) -> list[str]:
        found = []
        for amount in range(count):
            args = {"amount": amount}
            call = Call(
                server="payments", tool="pay", name="pay", args=canonical.dumps(args), digest=canonical.digest(args)
            )
            call_id = toolcalls.record(tx, principal, call, toolcalls.Status.WAITING, rule="", context="{}")
            row = requests.open_(tx, principal, call_id, Ask(gate=gate, rule=""), call=call, asked=[])
            for who in ("alice", "bob"):
                given: dict[str, Any] = {
                    "approver": who,
                    "verdict": Verdict.APPROVED,
                    "reason": "",
                    "digest": call.digest,
                }
                house.desk.decide(tx, ACCOUNT, row.id, **given, via="test")
            found.append(str(row.id))
        return sorted(found)

    return await house.db.write(unit)


class Busy:
    """A database in which a person decides after each of the first reads."""

    def __init__(self, house: House, decisions: list[Callable[[], Awaitable[object]]]) -> None:
        self._db, self._decisions = house.db, decisions

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        rows = await self._db.read(statement, parameters)
        if self._decisions:
            await self._decisions.pop(0)()
        return rows

    async def write(self, unit: Callable[[Tx], Any], *, lane: Lane = Lane.DECISIONS) -> Any:
        return await self._db.write(unit, lane=lane)

    async def hear(self) -> None: ...

    async def close(self) -> None:
        await self._db.close()


async def test_what_is_decided_while_one_looks_is_no_difference(house: House) -> None:
    principal = await house.gated(quorum=2)
    call = await house.call(principal)
    busy = Busy(house, [partial(house.decide, call, approver=who) for who in ("alice", "bob")])
    assert await attest.compare(busy, ACCOUNT) == attest.Compared()
    assert (await house.approval(call)).status == "approved"


async def test_requests_that_ended_without_a_verdict_are_as_their_events_say(house: House) -> None:
    principal = await house.gated()
    used, lapsed, open_ = [await house.call(principal, amount=amount) for amount in (1500, 1600, 1700)]
    await house.decide(used)
    assert await house.db.write(lambda tx: house.desk.claim(tx, principal, used, within=timedelta(seconds=5)))
    await house.decide(lapsed)
    await house.end(principal.execution_id, Cause.CANCELLED)
    found = [(await house.approval(call)).status for call in (used, lapsed, open_)]
    assert found == ["consumed", "lapsed", "withdrawn"]
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared()


REVIVED = [
    ("declined", "approved"),
    ("expired", "approved"),
    ("void", "approved"),
    ("consumed", "approved"),
    ("declined", "pending"),
    ("consumed", "pending"),
    ("lapsed", "consumed"),
    ("declined", "consumed"),
]


async def ended(house: House, how: str) -> Row[Any]:
    """A request that ended like this; its time is over."""
    principal = await house.gated(on_decline="continue")
    call = await house.call(principal)
    if how == "declined":
        await house.decide(call, verdict="declined", reason="no")
    elif how != "expired":
        await house.decide(call)
    if how == "consumed":
        assert await house.claim(principal, call)
    if how == "void":
        await house.db.write(lambda tx: endings.void(tx, ACCOUNT, "payments", "pay", "it changed"))
    if how in ("expired", "lapsed"):
        row = await house.approval(call)
        past = {"expires_at": row.asked_at, "decided_at": row.decided_at and LONG_AGO}
        await altered(house, sa.update(approvals).where(approvals.c.id == row.id).values(past))
        await house.db.write(house.desk.expire)
        back = {"expires_at": row.expires_at, "decided_at": row.decided_at} if row.decided_at else {}
        await altered(
            house, sa.update(approvals).where(approvals.c.id == row.id).values({"expires_at": row.expires_at} | back)
        )
    row = await house.approval(call)
    assert (row.status, await attest.compare(house.db, ACCOUNT)) == (how, attest.Compared())
    return row


@pytest.mark.parametrize(("how", "status"), REVIVED)
async def test_a_status_that_was_written_over_is_named_also_after_the_clock_has_been_there(
    house: House, how: str, status: str
) -> None:
    """What the plane itself then writes of the row does not make it true."""
    row = await ended(house, how)
    await altered(house, of(approvals, approvals.c.id, status=status, expires_at=LONG_AGO)(row))
    await house.db.write(house.desk.expire)
    await house.db.write(house.desk.expire)
    await altered(house, of(approvals, approvals.c.id, expires_at=row.expires_at)(row))
    assert "status" in (await attest.compare(house.db, ACCOUNT)).unlike[row.id]


@pytest.mark.parametrize("how", ["declined", "expired", "void", "consumed"])
async def test_what_lapsed_without_a_yes_is_named_whoever_wrote_the_event(house: House, how: str) -> None:
    row = await ended(house, how)
    told = {"approval": row.id, "call": row.call_id}
    await house.db.write(lambda tx: events.append(tx, ACCOUNT, events.stream_of(row), "approval.lapsed", **told))
    await altered(house, of(approvals, approvals.c.id, status="lapsed")(row))
    assert (await attest.compare(house.db, ACCOUNT)).unlike == {row.id: ("status",)}


@pytest.mark.parametrize("how", ["declined", "expired", "void", "consumed"])
async def test_a_yes_that_nobody_gave_or_that_was_used_does_not_lapse(house: House, how: str) -> None:
    row = await ended(house, how)
    forged = {"status": "approved", "expires_at": LONG_AGO, "decided_at": LONG_AGO}
    await altered(house, of(approvals, approvals.c.id, **forged)(row))
    await house.db.write(house.desk.expire)
    assert (await house.approval(row.call_id)).status == "approved"
    told = [event.type for event in await events.read(house.db, ACCOUNT, events.stream_of(row))]
    assert "approval.lapsed" not in told
