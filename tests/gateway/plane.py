"""A gateway with its two listeners on loopback ports, a database of its own, and sessions to speak with."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import sqlalchemy as sa
from openai import AsyncOpenAI

from control import events
from control import tables as control_tables
from control.identity import sessions
from control.identity.accounts import DEFAULT
from control.identity.charter import Charter
from control.identity.doorkeeper import Doorkeeper, Listener
from control.identity.principals import AUDIENCE
from control.tables import accounts, signing_keys
from gateway.opening import Gateway, open_gateway
from gateway.settings import GatewaySettings
from kit.bus import Bus
from kit.db import Database, Tx
from kit.db_postgres import PostgresDatabase
from kit.tokens import Signer
from ledger import reports
from ledger.limits import budget
from tests.databases import connected
from tests.serving import serving

PAYMENT = "Use the pay tool to send 250.00 USD to contractor@example.com for contract-7."
PRICES = {"input_usd_per_mtok": "2.50", "output_usd_per_mtok": "10.00", "cached_input_usd_per_mtok": "0.25"}
PAY = {
    "type": "object",
    "properties": {"recipient": {"type": "string"}, "amount": {"type": "number"}, "currency": {"type": "string"}},
}


@dataclass(kw_only=True)
class Plane:
    """What a test holds on to."""

    db: Database
    bus: Bus
    gateway: Gateway
    signer: Signer
    people: str
    containers: str
    clients: list[AsyncOpenAI] = field(default_factory=list)

    async def session(
        self,
        *models: str,
        budget_nano: int | None = None,
        execution: str | None = None,
        budget_of: str | None = None,
    ) -> tuple[str, str]:
        """A session of an execution and its runtime token."""
        until = datetime.now(UTC) + timedelta(minutes=10)
        charter = Charter(flow="process-payment", tools=(), models=models, budget_nano=budget_nano, budget_of=budget_of)

        def unit(tx: Tx) -> str:
            return sessions.open_session(
                tx,
                DEFAULT,
                kind="execution",
                principal="agent",
                charter=charter,
                alive_until=until,
                execution_id=execution,
            )

        session_id = await self.db.write(unit)
        return session_id, self.signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)

    async def enrolled(self, *models: str) -> tuple[str, str]:
        until = datetime.now(UTC) + timedelta(minutes=10)
        charter = Charter(flow=None, tools=(), models=models)
        return await self.db.write(lambda tx: sessions.enroll(tx, DEFAULT, name="laptop", charter=charter, until=until))

    def client(self, token: str, *, people: bool = False) -> AsyncOpenAI:
        origin = self.people if people else self.containers
        plain = httpx.AsyncClient(verify=False, timeout=60)  # no TLS here, so no authorities to read, which takes long
        client = AsyncOpenAI(base_url=f"{origin}/openai/v1", api_key=token, max_retries=0, http_client=plain)
        self.clients.append(client)
        return client

    async def spend(self, session_id: str, *, calls: int = 1) -> reports.Spend:
        """The session's spend once so many of its calls are in the ledger."""
        with anyio.fail_after(30), self.bus.watch(events.topic(session_id)) as watch:
            while (spend := await reports.of_session(self.db, DEFAULT, session_id)).calls < calls:
                await watch.changed(1)
        return spend

    async def standing(self, session_id: str) -> reports.Standing:
        await self.settled()
        found = await reports.standing(self.db, DEFAULT, budget("run", session_id, 0))
        assert found
        return found

    async def settled(self) -> None:
        """Everything that happened so far is in the database."""
        await self.gateway.settled()

    async def model_called(self, session_id: str) -> bool:
        column = control_tables.sessions.c.model_called_at
        rows = await self.db.read(sa.select(column).where(control_tables.sessions.c.id == session_id))
        return rows[0][0] is not None

    async def happened(self, session_id: str) -> list[tuple[str, dict[str, Any]]]:
        return [event for event in await self.events(session_id) if event[0].startswith("model.")]

    async def events(self, session_id: str) -> list[tuple[str, dict[str, Any]]]:
        return [(event.type, event.data) for event in await events.read(self.db, DEFAULT, session_id)]


def prepare(tx: Tx, signer: Signer) -> None:
    """The account and the public key, unless they are there."""
    now = tx.now()
    account = tx.insert(accounts).values(id=DEFAULT, name="Default", plan="pro", created_at=now)
    tx.execute(account.on_conflict_do_nothing())
    key = {"kid": signer.kid, "account_id": DEFAULT, "public_pem": signer.public_pem, "created_at": now}
    tx.execute(tx.insert(signing_keys).values(key).on_conflict_do_nothing())


@asynccontextmanager
async def open_plane(
    folder: Path, models: Mapping[str, Mapping[str, Any]], *, url: str | None = None, **settings: object
) -> AsyncIterator[Plane]:
    """`url` is a PostgreSQL database that has its tables; without it SQLite in the folder, made when it is missing."""
    signer = Signer.open(folder / "keys" / "tokens.pem")
    bus = Bus()
    db = PostgresDatabase(url, bus) if url else connected(folder / "plane.db", bus)
    await db.write(lambda tx: prepare(tx, signer))
    wanted = GatewaySettings.model_validate({"models": models, **settings})
    try:
        async with (
            open_gateway(db=db, bus=bus, settings=wanted, folder=folder / "journals") as gateway,
            serving(gateway.app(Doorkeeper(db, bus, Listener.PEOPLE)), ws="none") as people,
            serving(gateway.app(Doorkeeper(db, bus, Listener.CONTAINERS)), ws="none") as containers,
        ):
            plane = Plane(db=db, bus=bus, gateway=gateway, signer=signer, people=people, containers=containers)
            yield plane
            for client in plane.clients:
                await client.close()
    finally:
        await db.close()


def script(folder: Path, *turns: Mapping[str, Any], **more: object) -> str:
    """A script file of these turns; JSON is YAML too."""
    path = folder / f"script-{len(list(folder.glob('script-*')))}.yaml"
    path.write_text(json.dumps({"version": 1, "turns": list(turns), **more}))
    return str(path)
