"""A control plane as small as the MCP endpoint needs it, on a real database and real sockets; the payments server."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import sqlalchemy as sa
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from sqlalchemy.engine import Row
from starlette.types import ASGIApp

from control import tables
from control.approvals import desk as desks
from control.approvals.desk import Desk, Verdict
from control.approvals.directory import Approver, Directory
from control.executions import logs
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
from control.identity import sessions
from control.identity.charter import Charter, Gate, ToolGrant
from control.identity.doorkeeper import Listener
from control.identity.principals import AUDIENCE
from kit.bus import Bus
from kit.db import Database, Tx
from kit.tokens import Signer
from mcp_server.app import McpEndpoint
from mcp_server.catalog import complain
from mcp_server.settings import McpSettings, UpstreamServer
from tests.databases import connected
from tests.serving import serving

ACCOUNT = "default"
PUBLIC = "http://preloop.example"
Era = Literal["legacy", "2026-07-28"]
ERAS: tuple[Era, ...] = ("legacy", "2026-07-28")
PAYMENT = {"recipient": "contractor@example.com", "amount": 1500, "currency": "USD"}
SERVER = Path(__file__).parents[2] / "examples" / "payments" / "server.py"

FREE = ToolGrant(server="payments", tool="pay")
GATED = ToolGrant(server="payments", tool="pay", approval=Gate(group="finance"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Payments:
    """The example server, running in a process of its own."""

    url: str
    journal: Path

    def made(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []


@contextmanager
def payments_server(folder: Path) -> Iterator[Payments]:
    journal = folder / "payments.jsonl"
    command = [sys.executable, str(SERVER), "--port", "0", "--journal", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield Payments(url=running.stdout.readline().strip(), journal=journal)
        finally:
            running.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Where agents connect, and what the test may look at behind it."""

    db: Database
    bus: Bus
    desk: Desk
    endpoint: McpEndpoint
    signer: Signer
    urls: dict[Listener, str]

    async def enrolled(self, *grants: ToolGrant) -> tuple[str, str]:
        """(session, token) of somebody's own agent, without any execution."""
        charter = Charter(flow=None, tools=grants, models=())
        until = datetime.now(UTC) + timedelta(hours=1)
        return await self.db.write(lambda tx: sessions.enroll(tx, ACCOUNT, name="agent", charter=charter, until=until))

    async def execution(self, *grants: ToolGrant) -> tuple[str, str, str]:
        """(execution, session, runtime token) of a run that the runner would have started."""
        until = datetime.now(UTC) + timedelta(hours=1)
        ids = await self.db.write(lambda tx: _run(tx, Charter(flow="pay", tools=grants, models=()), until))
        return *ids, self.signer.sign(subject=ids[1], audience=AUDIENCE, expires_at=until)

    @asynccontextmanager
    async def client(self, token: str, era: Era, listener: Listener = Listener.PEOPLE) -> AsyncIterator[Client]:
        http = httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        transport = streamable_http_client(self.urls[listener], http_client=http)
        async with http, Client(transport, mode=era) as client:
            yield client

    async def pending(self, count: int = 1) -> Sequence[Row[Any]]:
        """The open approvals, as soon as there are that many."""
        return await self.rows(tables.approvals, desks.TOPIC, count, tables.approvals.c.status == "pending")

    async def rows(self, table: sa.Table, topic: str, count: int, *where: sa.ColumnElement[bool]) -> Sequence[Row[Any]]:
        with self.bus.watch(topic) as watch, anyio.fail_after(30):
            while len(found := await self.db.read(sa.select(table).where(*where))) < count:
                await watch.changed(1)
            return found

    async def decide(self, approval: Row[Any], verdict: Verdict = Verdict.APPROVED, reason: str = "") -> None:
        [call] = await self.db.read(sa.select(tables.tool_calls).where(tables.tool_calls.c.id == approval.call_id))
        await self.db.write(
            lambda tx: self.desk.decide(
                tx,
                ACCOUNT,
                approval.id,
                approver="alice",
                verdict=verdict,
                reason=reason,
                digest=call.digest,
                via="test",
            )
        )

    async def calls(self) -> Sequence[Row[Any]]:
        return await self.db.read(sa.select(tables.tool_calls).order_by(tables.tool_calls.c.asked_at))

    async def story(self, execution_id: str) -> list[str]:
        return [line.text for line in await logs.read(self.db, ACCOUNT, execution_id)]


@asynccontextmanager
async def plane(folder: Path, **servers: UpstreamServer) -> AsyncIterator[Plane]:
    """A plane in front of some tool servers, up until the end of the block."""
    bus = Bus()
    db = connected(folder / "preloop.db", bus)
    signer = Signer.open(folder / "token.pem")
    await db.write(lambda tx: _key(tx, signer))
    alice = Approver(id="alice", name="alice@example.com")
    directory = Directory(approvers={"alice": alice}, groups={"finance": ("alice",)})
    desk = Desk(directory, Lifecycle([desks.withdraw, _revoke]), complain)
    settings = McpSettings(servers={name: _trusting(its) for name, its in servers.items()})
    endpoint = McpEndpoint(db, bus, desk, settings, public_url=PUBLIC)
    apps = {listener: endpoint.app(listener, hosts=["127.0.0.1:*"]) for listener in Listener}
    try:
        async with endpoint.run(), anyio.create_task_group() as listening:
            urls = {listener: await listening.start(serve, app) for listener, app in apps.items()}
            yield Plane(db=db, bus=bus, desk=desk, endpoint=endpoint, signer=signer, urls=urls)
            endpoint.drain()
            listening.cancel_scope.cancel()
    finally:
        await db.close()


def _trusting(server: UpstreamServer) -> UpstreamServer:
    """Tools are accepted when they are first seen, unless the test says how."""
    return server if "pin" in server.model_fields_set else server.model_copy(update={"pin": "first-use"})


async def serve(app: ASGIApp, *, task_status: anyio.abc.TaskStatus[str]) -> None:
    """An application as an MCP server, until cancelled; it says its address."""
    async with serving(app, ws="none", grace_s=3) as origin:
        task_status.started(f"{origin}/mcp/v1")
        await anyio.sleep_forever()


def text_of(result: CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def _key(tx: Tx, signer: Signer) -> None:
    row = {"kid": signer.kid, "account_id": ACCOUNT, "public_pem": signer.public_pem, "created_at": tx.now()}
    tx.execute(tx.insert(tables.signing_keys).values(row).on_conflict_do_nothing())


def _run(tx: Tx, charter: Charter, until: datetime) -> tuple[str, str]:
    now = tx.now()
    flow = {"id": "flo_1", "account_id": ACCOUNT, "name": "pay", "version": 1, "hook_secret": "", "created_at": now}
    tx.execute(sa.insert(tables.flows).values(flow))
    row = {"id": "exe_1", "account_id": ACCOUNT, "flow_id": "flo_1", "flow_name": "pay", "flow_version": 1}
    row |= {"state": "RUNNING", "trigger_type": "manual", "trigger_event": "{}", "prompt": "", "created_at": now}
    tx.execute(sa.insert(tables.executions).values(row))
    kind: dict[str, Any] = {"kind": "execution", "principal": "pay", "charter": charter, "alive_until": until}
    session_id = sessions.open_session(tx, ACCOUNT, execution_id="exe_1", **kind)
    tx.execute(sa.update(tables.executions).values(session_id=session_id))
    return "exe_1", session_id


def _revoke(tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
    """The ending that the whole product has too."""
    sessions.revoke(tx, ended.session_id)
