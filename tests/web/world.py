"""The people's door over a real domain and a real SQLite file: who is signed in, what ran, what waits."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa
from starlette.applications import Starlette

from control.approvals import desk as desks
from control.approvals import links, rules
from control.approvals.desk import Desk
from control.approvals.directory import Approver, Directory
from control.executions.lifecycle import Lifecycle
from control.flows.review import Known
from control.identity import accounts
from control.identity.principals import Role
from control.tables import executions, flows, users
from kit.bus import Bus
from kit.db import Tx
from kit.ids import new_id
from kit.secrets import Sealer
from ledger import book
from ledger.book import Entry, Status
from ledger.prices import Usage
from preloop.database import open_database
from tests.control.house import ACCOUNT, House, fits, learn, revoke_session
from tests.databases import laid
from web import app as web
from web.parts import Check, Upstreams
from web.settings import WebSettings

FLOW = """
version: 1
name: process-payment
description: Pay a contractor's invoice
agent: {runtime: scripted, model: default}
triggers: [{type: webhook}, {type: manual}]
prompt: |
  Use the pay tool to send {{trigger_event.payload.amount}} USD to {{trigger_event.payload.recipient}}.
tools:
  - server: payments
    tool: pay
    approval: {group: finance, when: "args.amount > 100", timeout: 10m}
    justification: required
  - {server: payments, tool: get_contract}
limits: {concurrency: 3}
"""
ORIGIN = "http://127.0.0.1:8080"
PEOPLE = {
    "alice": Approver(id="alice", name="Alice Moreau", email="alice@example.com"),
    "bob": Approver(id="bob", name="Bob Okafor", email="bob@example.com"),
    "carol": Approver(id="carol", name="Carol", email="carol@example.com"),
}
GROUPS = {"finance": ("alice", "bob"), "alone": ("carol",)}


@dataclass(kw_only=True)
class World:
    """A house with a front door."""

    house: House
    app: Starlette

    async def hook_secret(self, flow: str = "process-payment") -> str:
        row = (await self.house.db.read(sa.select(flows.c.hook_secret).where(flows.c.name == flow)))[0]
        return self.house.sealer.unseal(row.hook_secret)

    async def token(
        self,
        role: Role = Role.ADMIN,
        kind: str = "cookie",
        lasts: timedelta = timedelta(hours=1),
        password: str | None = None,
    ) -> str:
        """A clear token of somebody who has this role; approvers carry the address of approver alice."""
        email = "alice@example.com" if role is Role.APPROVER else f"{role.value}@example.com"

        def unit(tx: Tx) -> str:
            known = tx.one(sa.select(users.c.id).where(users.c.email == email))
            user_id = known.id if known else None
            if user_id is None:
                name = role.value.title()
                user_id = accounts.add_user(tx, ACCOUNT, email=email, name=name, role=role, password=password)
            return accounts.issue(tx, user_id, kind, lasts=lasts)

        return await self.house.db.write(unit)

    async def link(self, approval_id: str, approver: str = "alice", lasts: timedelta = timedelta(minutes=10)) -> str:
        """A link that opens an approval, in clear."""

        def unit(tx: Tx) -> str | None:
            return links.mint(tx, ACCOUNT, approval_id=approval_id, approver=approver, expires_at=tx.now() + lasts)

        clear = await self.house.db.write(unit)
        assert clear, "links of this approval were revoked"
        return clear

    async def spent(
        self,
        execution_id: str | None,
        cost_nano: int | None = 12_300_000,
        model: str = "scripted",
        at: datetime | None = None,
        status: Status = Status.ANSWERED,
        attempt: int = 0,
    ) -> None:
        """One attempt of a model call in the ledger."""

        def unit(tx: Tx) -> None:
            entry = Entry(
                id=new_id("att"),
                account_id=ACCOUNT,
                session_id="ses_x",
                execution_id=execution_id,
                principal="flow:process-payment",
                alias="default",
                status=status,
                attempt=attempt,
                usage=Usage(input=1200, output=84),
                cost_nano=cost_nano,
                cost_source="list" if cost_nano is not None else "unpriced",
                at=at or tx.now(),
                first_token_ms=180,
                total_ms=920,
                provider="scripted",
                model=model,
                wire="chat",
                flow="process-payment",
            )
            book.append(tx, [entry])

        await self.house.db.write(unit)

    async def state(self, execution_id: str | None) -> str:
        return str(
            (await self.house.db.read(sa.select(executions.c.state).where(executions.c.id == execution_id)))[0][0]
        )

    def client(self, cookie: str = "", **headers: str) -> httpx.AsyncClient:
        """A browser without a screen: our Origin, a cookie, no redirects followed."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url=ORIGIN,
            headers={"origin": ORIGIN, "accept": "text/html"} | headers,
            cookies={"preloop": cookie} if cookie else None,
        )

    def program(self, token: str = "", **headers: str) -> httpx.AsyncClient:
        """A program with an API token."""
        given = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=ORIGIN, headers=given | headers)


@asynccontextmanager
async def open_world(
    folder: Path, settings: WebSettings | None = None, url: str | None = None, upstreams: Upstreams | None = None
) -> AsyncIterator[World]:
    """Everything real but the agents; the database is a file in `folder`, or PostgreSQL at `url`."""
    bus = Bus()
    db = await open_database(folder, url or laid(folder / "preloop.db"), bus)
    lifecycle = Lifecycle([desks.withdraw, revoke_session])
    desk = Desk(Directory(approvers=PEOPLE, groups=GROUPS), lifecycle, fits)
    sealer = Sealer.open(folder / "seal.key")
    house = House(db=db, bus=bus, sealer=sealer, lifecycle=lifecycle, desk=desk, folder=folder)
    await db.write(accounts.ensure_default)
    await db.write(learn)
    await house.apply(FLOW)
    app = web.build(
        settings=settings or WebSettings(),
        db=db,
        bus=bus,
        sealer=house.sealer,
        blobs=house.blobs,
        desk=desk,
        known=Known(
            models=["default"],
            servers=["payments"],
            groups={name: len(its) for name, its in GROUPS.items()},
            rule=rules.check,
            git=["git.example.com"],
        ),
        checks={"database": _asks(house)},
        upstreams=upstreams,
    )
    try:
        yield World(house=house, app=app)
    finally:
        await db.close()


def _asks(house: House) -> Check:
    async def check() -> None:
        await house.db.read(sa.select(1))

    return check


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
