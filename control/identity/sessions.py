"""Runtime sessions: opened, exchanged once, kept alive, revoked; and `Doorkeeper`, which says whose token this is.

A runtime token is a JWT that names a session and whose text never changes; life and death are in the session's row,
which a door reads at most once a second and at once after a revocation in this process. Enrolled agents carry opaque
tokens.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.identity import charter as charters
from control.identity.charter import Charter
from control.identity.principals import AUDIENCE, Principal
from control.tables import sessions, signing_keys, tokens, users
from kit import tokens as mechanics
from kit.bus import Bus, Watch
from kit.db import Database, Tx
from kit.errors import Conflict, Missing, Unauthorized
from kit.ids import new_id
from kit.prepared import Prepared

FRESH_S = 1.0
"""How long a door may trust what it read of a session."""
CACHED = 10_000


class Listener(StrEnum):
    PEOPLE = "people"  # pages, REST, hooks, enrolled agents
    CONTAINERS = "containers"  # agents that we started


def topic(session_id: str) -> str:
    """Woken when a session is revoked: streams and waiting calls end then."""
    return f"session:{session_id}"


def open_session(
    tx: Tx,
    account_id: str,
    *,
    kind: str,
    principal: str,
    charter: Charter,
    alive_until: datetime,
    execution_id: str | None = None,
    bootstrap_hash: str | None = None,
    used: bool = True,
) -> str:
    """Its id. One that is not `used` yet opens when its token is seen first."""
    session_id = new_id("ses")
    tx.execute(
        sa.insert(sessions).values(
            id=session_id,
            account_id=account_id,
            kind=kind,
            execution_id=execution_id,
            principal=principal,
            charter=charters.dumps(charter),
            bootstrap_hash=bootstrap_hash,
            created_at=tx.now(),
            alive_until=alive_until,
        )
    )
    if used:
        _open(tx, session_id)
    return session_id


def _open(tx: Tx, session_id: str) -> None:
    """It is in use from now on, and its record begins. Twice is once."""
    mine = (sessions.c.id == session_id) & sessions.c.opened_at.is_(None)
    if tx.changed(sa.update(sessions).where(mine).values(opened_at=tx.now())):
        row = tx.execute(sa.select(sessions).where(sessions.c.id == session_id)).one()
        told = {"session": session_id, "kind": row.kind}
        if row.execution_id is None:  # an execution's record has begun, with its flow and who started it
            told |= {"flow": charters.loads(row.charter).flow, "by": owner(tx, session_id)}
        events.append(tx, row.account_id, row.execution_id or session_id, "session.opened", **told)


def owner(tx: Tx, session_id: str) -> str | None:
    """The e-mail address of whoever enrolled an agent."""
    email = sa.select(users.c.email).join(tokens, tokens.c.user_id == users.c.id)
    return tx.execute(email.where(tokens.c.session_id == session_id)).scalar()


def enroll(
    tx: Tx, account_id: str, *, name: str, charter: Charter, until: datetime, owner: str | None = None
) -> tuple[str, str]:
    """A session for somebody's own agent, without any execution: (session id, its token in clear, shown once). It opens
    at the token's first use. `owner` is the user who stands behind it."""
    session_id = open_session(
        tx, account_id, kind="enrolled", principal=name, charter=charter, alive_until=until, used=False
    )
    clear, hash_ = mechanics.mint("ple")
    row = {"id": new_id("tok"), "account_id": account_id, "kind": "enrolled", "hash": hash_, "session_id": session_id}
    who = {"name": name, "user_id": owner, "created_at": tx.now(), "expires_at": until}
    tx.execute(sa.insert(tokens).values(row | who))
    return session_id, clear


def exchange(tx: Tx, bootstrap: str, key: str | None = None) -> Row[Any]:
    """Spend a bootstrap secret and return its session; the second one to come is refused. Whoever spent it may ask
    again by the same `key`: the answer may have been lost, and nobody else knows the key."""
    known = tx.one(sa.select(sessions).where(sessions.c.bootstrap_hash == mechanics.digest(bootstrap)))
    if known is None:
        raise Unauthorized("bootstrap_unknown", "This bootstrap token is not known.")
    now = tx.now()
    alive = (sessions.c.revoked_at.is_(None)) & (sessions.c.alive_until > now)
    spent = sa.update(sessions).where(sessions.c.id == known.id, sessions.c.bootstrap_used_at.is_(None), alive)
    hash_ = mechanics.digest(key) if key else None
    if not tx.changed(spent.values(bootstrap_used_at=now, bootstrap_key=hash_)):
        again = sessions.c.bootstrap_key == hash_
        if hash_ and (row := tx.one(sa.select(sessions).where(sessions.c.id == known.id, again, alive))):
            return row
        raise Conflict("bootstrap_spent", "This bootstrap token was used before or its run has ended.")
    events.append(tx, known.account_id, known.execution_id or known.id, "session.exchanged", session=known.id)
    return known


def renew_bootstrap(tx: Tx, session_id: str, bootstrap_hash: str) -> bool:
    """Another bootstrap secret in the place of one that nobody spent; the one before it is worth nothing any more."""
    unspent = sessions.c.bootstrap_used_at.is_(None) & sessions.c.revoked_at.is_(None)
    mine = (sessions.c.id == session_id) & unspent
    return tx.changed(sa.update(sessions).where(mine).values(bootstrap_hash=bootstrap_hash))


def extend(tx: Tx, session_id: str, alive_until: datetime) -> None:
    """Keep a session alive; one that was revoked stays dead."""
    mine = (sessions.c.id == session_id) & sessions.c.revoked_at.is_(None)
    tx.execute(sa.update(sessions).where(mine).values(alive_until=alive_until))


def revoke(tx: Tx, session_id: str, *, by: str | None = None) -> bool:
    """End a session; True for whoever ended it. Its open streams and waiting calls are woken to close.
    `by` is None when it ends with its execution."""
    mine = (sessions.c.id == session_id) & sessions.c.revoked_at.is_(None)
    ended = tx.changed(sa.update(sessions).where(mine).values(revoked_at=tx.now()))
    if ended:
        row = tx.execute(sa.select(sessions).where(sessions.c.id == session_id)).one()
        events.append(tx, row.account_id, row.execution_id or session_id, "session.revoked", session=session_id, by=by)
        its = (tokens.c.session_id == session_id) & tokens.c.revoked_at.is_(None)
        tx.execute(sa.update(tokens).where(its).values(revoked_at=tx.now()))  # an enrolled agent's: lists say so
        tx.wake(topic(session_id))
    return ended


def revoke_token(tx: Tx, account_id: str, token_id: str, *, by: str) -> None:
    """End a token that somebody holds; an enrolled agent's session ends with it. Twice is fine."""
    mine = (tokens.c.id == token_id) & (tokens.c.account_id == account_id)
    row = tx.one(sa.select(tokens).where(mine))
    if row is None:
        raise Missing("token_unknown", f"There is no token {token_id}.", "`preloop tokens list` shows them.")
    if tx.changed(sa.update(tokens).where(mine, tokens.c.revoked_at.is_(None)).values(revoked_at=tx.now())):
        events.append(tx, account_id, events.ACCOUNT, "token.revoked", token=token_id, kind=row.kind, by=by)
    if row.session_id:
        revoke(tx, row.session_id, by=by)


def publish_key(tx: Tx, account_id: str, signer: mechanics.Signer) -> None:
    """Make the public half of a signing key known to every role."""
    row = {"kid": signer.kid, "account_id": account_id, "public_pem": signer.public_pem, "created_at": tx.now()}
    tx.execute(tx.insert(signing_keys).values(row).on_conflict_do_nothing())


def _used(column: sa.Column[datetime | None]) -> Prepared:
    mine = (sessions.c.id == sa.bindparam("session")) & column.is_(None)
    return Prepared(sa.update(sessions).where(mine).values({column.name: sa.bindparam("now", type_=column.type)}))


_TOOLS_LISTED, _MODEL_CALLED = _used(sessions.c.tools_listed_at), _used(sessions.c.model_called_at)


def mark_used(tx: Tx, session_id: str, *, tools: bool = False, model: bool = False) -> None:
    """Remember that the agent listed its tools or reached its model: without that an exit code 0 proves little."""
    for statement, seen in ((_TOOLS_LISTED, tools), (_MODEL_CALLED, model)):
        if seen:
            tx.run(statement, {"session": session_id, "now": tx.now()})


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
        watch = self._bus.watch(topic(session_id))
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
            await self._db.write(lambda tx: _open(tx, session_id))
        principal = Principal(
            account_id=row.account_id,
            session_id=row.id,
            execution_id=row.execution_id,
            name=row.principal,
            charter=charters.loads(row.charter),
        )
        return principal, left_s
