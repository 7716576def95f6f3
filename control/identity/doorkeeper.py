"""Whose token this is: `Doorkeeper`, asked by both of the agents' doors. A session's row is read at most once a second,
and at once after a revocation in this process.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import anyio
import sqlalchemy as sa

from control.identity import charter as charters
from control.identity import sessions as session_rows
from control.identity.principals import AUDIENCE, Principal
from control.tables import sessions, signing_keys, tokens
from kit import tokens as mechanics
from kit.bus import Bus, Watch
from kit.db import Database
from kit.errors import Unauthorized

FRESH_S = 1.0
"""How long a door may trust what it read of a session."""
CACHED = 10_000


class Listener(StrEnum):
    PEOPLE = "people"  # pages, REST, hooks, enrolled agents
    CONTAINERS = "containers"  # agents that we started


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    principal: Principal
    fresh_until: float
    watch: Watch


@dataclass(slots=True, eq=False)
class _Asking:
    """A look at a session that is under way."""

    over: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None


class Doorkeeper:
    """Whose token is this, on this listener? The one question that both of the agents' doors ask."""

    def __init__(self, db: Database, bus: Bus, listener: Listener) -> None:
        self._db = db
        self._bus = bus
        self._listener = listener
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._keys: dict[str, str] = {}
        self._asking: dict[str, _Asking] = {}

    async def admit(self, token: str) -> Principal:
        """The principal behind a token, or Unauthorized. The session is read at most once a second per token."""
        while (principal := self._fresh(token)) is None:
            asking = self._asking.get(token)
            if asking is None:
                return await self._ask(token)
            await asking.over.wait()  # one look does for all who wait, unless it was cancelled
            if asking.error:
                raise asking.error
        return principal

    def _fresh(self, token: str) -> Principal | None:
        known = self._known.get(token)
        if known and time.monotonic() < known.fresh_until and not known.watch.pending:
            return known.principal
        return None

    async def _ask(self, token: str) -> Principal:
        asking = self._asking[token] = _Asking()
        try:
            return await self._look(token)
        except Exception as error:
            asking.error = error
            raise
        finally:
            del self._asking[token]
            asking.over.set()

    async def _look(self, token: str) -> Principal:
        self._forget(token)
        session_id = await self._named_by(token)
        watch = self._bus.watch(session_rows.topic(session_id))
        try:
            principal, left_s = await self._alive(session_id)
        except BaseException:
            watch.close()
            raise
        fresh = time.monotonic() + min(FRESH_S, left_s)
        self._forget(token)
        self._known[token] = _Known(principal=principal, fresh_until=fresh, watch=watch)
        if len(self._known) > CACHED:
            self._forget(next(iter(self._known)))
        return principal

    def _forget(self, token: str) -> None:
        if known := self._known.pop(token, None):
            known.watch.close()

    async def _named_by(self, token: str) -> str:
        """The session a token names: by its signature for containers, by its stored hash for enrolled agents."""
        if self._listener is Listener.CONTAINERS:
            if not self._keys:
                await self._load_keys()
            return str(mechanics.verify(token, key_of=self._keys.get, audience=AUDIENCE)["sub"])
        rows = await self._db.read(
            sa.select(tokens.c.session_id).where(
                tokens.c.hash == mechanics.digest(token),
                tokens.c.kind == "enrolled",
                tokens.c.revoked_at.is_(None),
            )
        )
        if not rows:
            raise Unauthorized("token_unknown", "This token is not known here.")
        return str(rows[0].session_id)

    async def _load_keys(self) -> None:
        rows = await self._db.read(sa.select(signing_keys.c.kid, signing_keys.c.public_pem))
        self._keys = {row.kid: row.public_pem for row in rows}

    async def _alive(self, session_id: str) -> tuple[Principal, float]:
        """The session's principal and the seconds it has left, or Unauthorized."""
        rows = await self._db.read(sa.select(sessions).where(sessions.c.id == session_id))
        left_s = (rows[0].alive_until - datetime.now(UTC)).total_seconds() if rows else 0.0
        if not rows or rows[0].revoked_at is not None or left_s <= 0:
            raise Unauthorized("session_ended", "This session has ended; its token is worth nothing any more.")
        row = rows[0]
        if row.opened_at is None:
            await self._db.write(lambda tx: session_rows.mark_opened(tx, session_id))
        principal = Principal(
            account_id=row.account_id,
            session_id=row.id,
            execution_id=row.execution_id,
            name=row.principal,
            charter=charters.loads(row.charter),
        )
        return principal, left_s
