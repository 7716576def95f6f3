"""A domain to test against: the real units over a real database, with one flow that gates `pay`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import desk as desks
from control.approvals import pins, policy, rules
from control.approvals.desk import Desk
from control.approvals.directory import Approver, Directory
from control.executions import intake, queue, retries, toolcalls
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
from control.executions.toolcalls import Call
from control.flows import catalog, source
from control.identity import accounts, sessions
from control.identity.charter import Charter, Gate, ToolGrant
from control.identity.principals import Principal, Role
from control.retention.rules import Rules
from control.tables import approvals, definitions, executions, tool_calls, users
from kit import canonical
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database, Tx
from kit.secrets import Sealer
from preloop.chores import Chores

ACCOUNT = accounts.DEFAULT
FLOW = """
version: 1
name: process-payment
agent: {runtime: scripted, model: default}
triggers: [{type: webhook}, {type: manual}]
prompt: Pay {{trigger_event.payload.amount}} to {{trigger_event.payload.recipient}}
tools:
  - {server: payments, tool: pay, approval: {group: finance, when: "args.amount > 100", timeout: 10m}}
  - {server: payments, tool: get_contract}
limits: {concurrency: 3}
"""
TOOLS = {tool: {"name": tool, "inputSchema": {"type": "object"}} for tool in ("pay", "get_contract")}
DIGESTS = {tool: canonical.digest(raw) for tool, raw in TOOLS.items()}
PAYLOAD = {"amount": 1500, "recipient": "contractor@example.com"}


def fits(definition: str, arguments: Mapping[str, Any]) -> str:
    """What the MCP door says of changed arguments, for a desk without it: nothing is below 0."""
    below = [name for name, value in arguments.items() if isinstance(value, int) and value < 0]
    return f"{below} of {canonical.parse(definition)['name']} is below 0" if below else ""


def learn(tx: Tx) -> None:
    """The tool server's definitions, accepted."""
    seen = [pins.Seen(tool=tool, digest=DIGESTS[tool], raw=canonical.dumps(raw)) for tool, raw in TOOLS.items()]
    pins.see(tx, ACCOUNT, "payments", seen, pins.Trust(first_use=True))


def revoke_session(tx: Tx, ended: Row[Any], cause: object) -> None:
    if ended.session_id:
        sessions.revoke(tx, ended.session_id)


@dataclass(kw_only=True)
class House:
    db: Database
    bus: Bus
    sealer: Sealer
    lifecycle: Lifecycle
    desk: Desk
    folder: Path

    @classmethod
    async def build(cls, db: Database, bus: Bus, folder: Path, flow: str = FLOW) -> "House":
        lifecycle = Lifecycle([desks.withdraw, revoke_session, retries.retrying(chance=lambda: 0.5)])
        names = ("alice", "bob", "carol")
        people = {id_: Approver(id=id_, name=id_.title(), email=f"{id_}@example.com") for id_ in names}
        groups = {"finance": ("alice", "bob"), "directors": ("carol",), "empty": ()}
        desk = Desk(Directory(approvers=people, groups=groups), lifecycle, fits)
        sealer = Sealer.open(folder / "seal.key")
        house = cls(db=db, bus=bus, sealer=sealer, lifecycle=lifecycle, desk=desk, folder=folder)
        await db.write(accounts.ensure_default)
        await db.write(learn)
        await house.apply(flow)
        return house

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.folder / "blobs")

    def chores(self, db: Database, **more: Any) -> Chores:
        """The clock's work of one process."""
        given: dict[str, Any] = {
            "desk": self.desk,
            "lifecycle": self.lifecycle,
            "blobs": self.blobs,
            "retention": Rules(),
        } | more
        return Chores(db, **given)

    async def apply(self, flow: str) -> None:
        written = source.read(flow)
        await self.db.write(lambda tx: catalog.apply(tx, ACCOUNT, written, sealer=self.sealer, by="test"))

    async def start(self, flow: str = "process-payment", payload: Mapping[str, Any] = PAYLOAD, **more: Any) -> str:
        given = {"trigger": "manual", "by": "test"} | more
        started = await self.db.write(lambda tx: intake.start(tx, ACCOUNT, flow, payload, **given))
        return started.execution_id

    async def running(self, by: str = "test", payload: Mapping[str, Any] = PAYLOAD, **charter: Any) -> Principal:
        """A claimed execution with an open session, as its principal."""
        execution_id = await self.start(payload=payload, by=by)
        await self.db.write(lambda tx: queue.claim(tx, "worker"))
        return await self.db.write(lambda tx: self._session(tx, execution_id, charter))

    def _session(self, tx: Tx, execution_id: str, changes: dict[str, Any]) -> Principal:
        _, flow = catalog.find(tx, ACCOUNT, "process-payment")
        given = flow.charter()
        charter = Charter(**{name: getattr(given, name) for name in given.__slots__} | changes)
        until = tx.now() + timedelta(minutes=5)
        session_id = sessions.open_session(
            tx,
            ACCOUNT,
            kind="execution",
            principal="flow:process-payment",
            charter=charter,
            alive_until=until,
            execution_id=execution_id,
        )
        tx.execute(sa.update(executions).where(executions.c.id == execution_id).values(session_id=session_id))
        return Principal(
            account_id=ACCOUNT, session_id=session_id, execution_id=execution_id, name="flow", charter=charter
        )

    async def gated(self, by: str = "test", on_decline: str = "fail", **gate: Any) -> Principal:
        """The same, with one gated tool: `pay`."""
        tools = (ToolGrant(server="payments", tool="pay", approval=Gate(**{"group": "finance"} | gate)),)
        return await self.running(by=by, tools=tools, on_decline=on_decline)

    async def enroll(self, like: Principal, name: str = "agent:x") -> Principal:
        """An agent of somebody's own with the same tools; Alice stands behind it."""

        def unit(tx: Tx) -> str:
            email = "alice@example.com"
            known = tx.execute(sa.select(users.c.id).where(users.c.email == email)).scalar()
            owner = known or accounts.add_user(tx, ACCOUNT, email=email, name="Alice", role=Role.APPROVER)
            until = tx.now() + timedelta(days=1)
            return sessions.enroll(tx, ACCOUNT, name=name, charter=like.charter, until=until, owner=owner)[0]

        session_id = await self.db.write(unit)
        return Principal(account_id=ACCOUNT, session_id=session_id, execution_id=None, name=name, charter=like.charter)

    async def call(
        self, principal: Principal, tool: str = "pay", facts: dict[str, Any] | None = None, **args: Any
    ) -> str:
        """Ask for a tool as the MCP door does; the call's id."""
        given = args or {"amount": 1500}
        digest = canonical.digest(given)
        its: dict[str, Any] = {"server": "payments", "tool": tool, "name": tool, "definition_digest": DIGESTS.get(tool)}
        call = Call(args=canonical.dumps(given), digest=digest, **its)
        facts = facts or {"args": given}
        grants = policy.matching(principal.charter.tools, "payments", tool)
        verdict = policy.decide(grants, facts, rules.evaluate)
        return await self.db.write(lambda tx: self.desk.attach(tx, principal, call, verdict, context=facts))

    async def end(self, execution_id: str | None, cause: Cause | None) -> bool:
        return await self.db.write(lambda tx: self.lifecycle.end(tx, execution_id or "", cause))

    async def event(self, stream: str, number: int) -> None:
        await self.db.write(lambda tx: events.append(tx, ACCOUNT, stream, "test.event", number=number))

    async def row(self, execution_id: str | None) -> Row[Any]:
        return (await self.db.read(sa.select(executions).where(executions.c.id == execution_id)))[0]

    async def call_row(self, call_id: str) -> Row[Any]:
        return (await self.db.read(sa.select(tool_calls).where(tool_calls.c.id == call_id)))[0]

    async def approval(self, call_id: str) -> Row[Any]:
        return (await self.db.read(sa.select(approvals).where(approvals.c.call_id == call_id)))[0]

    async def decide(
        self,
        call_id: str,
        *,
        approver: str = "alice",
        verdict: str = "approved",
        reason: str = "",
        digest: str = "",
        **more: Any,
    ) -> desks.Decided:
        approval, call = await self.approval(call_id), await self.call_row(call_id)
        return await self.db.write(
            lambda tx: self.desk.decide(
                tx,
                ACCOUNT,
                approval.id,
                approver=approver,
                verdict=desks.Verdict(verdict),
                reason=reason,
                digest=digest or call.digest,
                via="test",
                **more,
            )
        )

    async def age(self, call_id: str, by: timedelta) -> None:
        """As if a call's approval had been asked for that much earlier."""
        row = await self.approval(call_id)
        past = {
            name: getattr(row, name) - by for name in ("asked_at", "expires_at", "decided_at") if getattr(row, name)
        }
        mine = sa.update(approvals).where(approvals.c.id == row.id)
        await self.db.write(lambda tx: tx.execute(mine.values(past)))

    async def forget_definitions(self) -> None:
        """As if the accepted ones had been replaced without anybody noticing."""
        gone = sa.update(definitions).values(status=pins.Status.REPLACED.value)
        await self.db.write(lambda tx: tx.execute(gone))

    async def claim(self, principal: Principal, call_id: str) -> bool:
        within = timedelta(seconds=60)
        return await self.db.write(lambda tx: self.desk.claim(tx, principal, call_id, within=within))

    async def settle(self, call_id: str, **result: Any) -> int:
        return await self.db.write(lambda tx: self.desk.settle(tx, call_id, result=result, is_error=False, error=None))

    async def deliver(self, call_id: str) -> None:
        await self.db.write(lambda tx: toolcalls.delivered(tx, call_id))
