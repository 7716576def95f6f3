"""Everybody who may touch an execution, and what must be so whatever they did: for the state machine and the stress."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.approvals import desk as desks
from control.approvals import requests
from control.approvals.desk import Desk
from control.executions import lifecycle, queue, states
from control.executions.lifecycle import Lifecycle
from control.executions.states import FINAL, Cause, Stored
from control.identity.principals import Principal
from control.tables import accounts, approvals, events, executions
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Conflict, Refused
from tests.control.house import ACCOUNT, House, fits, revoke_session

SLOTS = 2
LAG_MS = 120_000
"""More than a test takes, less than time that is said to pass."""


@dataclass(frozen=True, slots=True)
class Grip:
    """A worker's belief that it holds an execution."""

    id: str
    owner: str
    epoch: int


@dataclass
class Floor:
    """The actors. Each unit checks its own outcome against what the row allowed at that moment."""

    house: House
    ids: list[str] = field(default_factory=list)
    grips: list[Grip] = field(default_factory=list)
    principals: dict[str, Principal] = field(default_factory=dict)
    seen: dict[str, Row[Any]] = field(default_factory=dict)
    endings: Counter[str] = field(default_factory=Counter)
    waited: Counter[str] = field(default_factory=Counter)
    asked: int = 0

    @classmethod
    async def open(cls, db: Database, bus: Bus, folder: Path) -> "Floor":
        house = await House.build(db, bus, folder)
        floor = cls(house)
        house.lifecycle = Lifecycle([desks.withdraw, revoke_session, floor._ending])
        house.desk = Desk(house.desk.directory, house.lifecycle, fits)
        await db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=SLOTS)))
        return floor

    def _ending(self, tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
        tx.at_last(lambda: self.endings.update([ended.id]))

    # the actors ---------------------------------------------------------------------------------------------------

    async def event(self) -> None:
        self.ids.append(await self.house.start())

    async def claim(self, owner: str) -> None:
        row = await self.house.db.write(lambda tx: queue.claim(tx, owner))
        if row:
            assert self.endings[row.id] == 0
            self.grips.append(Grip(row.id, owner, row.epoch))
            policy = {"on_decline": "continue" if len(self.grips) % 2 else "fail"}
            unit = self.house._session
            self.principals[row.id] = await self.house.db.write(lambda tx: unit(tx, row.id, policy))

    async def adopt(self, owner: str) -> None:
        row = await self.house.db.write(lambda tx: queue.adopt(tx, owner, ["process:x"]))
        if row:
            assert all(grip.epoch < row.epoch for grip in self.grips if grip.id == row.id)
            self.grips.append(Grip(row.id, owner, row.epoch))

    async def heartbeat(self, grip: Grip) -> None:
        def unit(tx: Tx) -> None:
            before = _locked(tx, grip.id)
            held = (before.state, before.epoch, before.lease_owner) == (Stored.RUNNING, grip.epoch, grip.owner)
            assert (queue.heartbeat(tx, grip.id, grip.owner, grip.epoch) is not None) == held

        await self.house.db.write(unit)

    async def verdict(self, grip: Grip, cause: Cause | None) -> None:
        """A worker judges what it believes to hold."""

        def unit(tx: Tx) -> None:
            before = _locked(tx, grip.id)
            may = before.epoch == grip.epoch and _allows(before, cause)
            assert self.house.lifecycle.end(tx, grip.id, cause, epoch=grip.epoch) == may

        await self.house.db.write(unit)

    async def end(self, id_: str, cause: Cause | None) -> None:
        """Any pair of a state and an end, as the table has it."""

        def unit(tx: Tx) -> None:
            before = _locked(tx, id_)
            assert self.house.lifecycle.end(tx, id_, cause) == _allows(before, cause)

        await self.house.db.write(unit)

    async def ask(self, id_: str) -> None:
        self.asked += 1
        with contextlib.suppress(Refused):  # its session is over
            await self.house.call(self.principals[id_], amount=1000 + self.asked)

    async def decide(self, number: int, verdict: str) -> None:
        rows = await self.house.db.read(sa.select(approvals.c.call_id).order_by(approvals.c.id))
        if rows:
            with contextlib.suppress(Conflict):  # somebody else, the clock or the run's end was faster
                await self.house.decide(rows[number % len(rows)].call_id, verdict=verdict, reason="because")

    async def cancel(self, id_: str) -> None:
        try:
            await self.house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, id_, by="test"))
        except Conflict:
            assert (await self.house.row(id_)).state in FINAL

    async def clock(self) -> None:
        await self.house.db.write(queue.overdue)
        await self.house.db.write(self.house.desk.expire)

    async def sweep(self) -> None:
        await self.house.db.write(lambda tx: queue.sweep(tx, self.house.lifecycle))

    async def pass_time(self, minutes: int) -> None:
        """Everything that has a time lies so much further back."""
        ago = timedelta(minutes=minutes)

        def unit(tx: Tx) -> None:
            for table, names in (
                (executions, ("created_at", "claimed_at", "lease_until", "waiting_since", "ended_at")),
                (approvals, ("asked_at", "expires_at", "decided_at")),
            ):
                for row in tx.execute(sa.select(table)).all():
                    past = {name: getattr(row, name) - ago for name in names if getattr(row, name)}
                    tx.execute(sa.update(table).where(table.c.id == row.id).values(past))
                    if table is executions and row.waiting_since:
                        self.waited[row.id] += minutes * 60_000

        await self.house.db.write(unit)

    # what must be so ----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        rows = await self.house.db.write(lambda tx: tx.execute(sa.select(executions)).all())
        counts = await self._counts()
        assert sum(row.state == Stored.RUNNING for row in rows) <= SLOTS
        for row in rows:
            before = self.seen.get(row.id)
            if before is not None:
                assert _reachable(Stored(before.state), Stored(row.state))
                if before.state in FINAL:
                    assert _settled(row) == _settled(before)
            self._one(row, counts)
            self.seen[row.id] = row

    def _one(self, row: Row[Any], counts: Counter[tuple[str, str]]) -> None:
        final = row.state in FINAL
        assert counts["execution.ended", row.id] == self.endings[row.id] == final
        assert row.open_approvals == counts["pending", row.id]
        assert (row.waiting_since is not None) == (row.open_approvals > 0)
        assert row.open_approvals == 0 or row.state == Stored.RUNNING
        assert (row.ended_at is not None) == final
        assert (row.lease_until is not None) == (row.state == Stored.RUNNING)
        assert (row.cause is None) == (row.state not in FINAL or row.state == Stored.SUCCEEDED)
        if row.waiting_since is None:
            assert 0 <= row.waited_ms - self.waited[row.id] < LAG_MS

    async def _counts(self) -> Counter[tuple[str, str]]:
        ended = sa.select(events.c.type.label("what"), events.c.stream.label("whose"))
        ended = ended.where(events.c.type == "execution.ended")
        open_ = sa.select(sa.literal("pending").label("what"), approvals.c.execution_id.label("whose"))
        open_ = open_.where(approvals.c.status == requests.Status.PENDING)

        def unit(tx: Tx) -> list[Row[Any]]:
            return [*tx.execute(ended).all(), *tx.execute(open_).all()]

        return Counter((row.what, row.whose) for row in await self.house.db.write(unit))


def _locked(tx: Tx, id_: str) -> Row[Any]:
    return tx.execute(sa.select(executions).where(executions.c.id == id_).with_for_update()).one()


def _allows(row: Row[Any], cause: Cause | None) -> bool:
    blocked = cause is None and row.stop_intent is not None
    return not blocked and states.may_move(Stored(row.state), states.verdict(cause), open_approvals=row.open_approvals)


def _reachable(source: Stored, target: Stored) -> bool:
    """In any number of moves of the table."""
    return source == target or any(_reachable(step, target) for step in states.MOVES[source])


def _settled(row: Row[Any]) -> tuple[Any, ...]:
    return row.state, row.cause, row.message, row.waited_ms, row.epoch
