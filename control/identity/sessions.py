"""Runtime sessions: opened, exchanged once, kept alive, revoked.

A runtime token is a JWT that names a session and whose text never changes; life and death are in the session's row,
which doors read (`doorkeeper`). Enrolled agents carry opaque tokens.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.identity import accounts
from control.identity import charter as charters
from control.identity.charter import Charter
from control.tables import sessions, signing_keys, tokens, users
from kit import tokens as mechanics
from kit.db import Tx
from kit.errors import Conflict, Missing, Unauthorized
from kit.ids import new_id
from kit.prepared import Prepared


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
        mark_opened(tx, session_id)
    return session_id


def mark_opened(tx: Tx, session_id: str) -> None:
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
    row = tx.execute(sa.update(sessions).where(mine).values(revoked_at=tx.now()).returning(sessions)).first()
    if row:
        events.append(tx, row.account_id, row.execution_id or session_id, "session.revoked", session=session_id, by=by)
        if row.kind == "enrolled":  # the token that it was made with opens nothing now, and lists say so
            _end_token(tx, tokens.c.session_id == session_id)
        tx.wake(topic(session_id))
    return row is not None


def revoke_token(tx: Tx, account_id: str, token_id: str, *, by: str, owner: str | None = None) -> None:
    """End a token, of anybody unless `owner` (a user's id) is given; an enrolled agent's session ends with it. Twice is
    fine."""
    mine = (tokens.c.id == token_id) & (tokens.c.account_id == account_id) & tokens.c.kind.in_(accounts.HELD)
    if owner is not None:
        mine &= tokens.c.user_id == owner
    row = tx.one(sa.select(tokens).where(mine))
    if row is None:
        raise Missing("token_unknown", f"There is no token {token_id}.", "`preloop tokens list` shows them.")
    if _end_token(tx, mine):
        events.append(tx, account_id, events.ACCOUNT, "token.revoked", token=token_id, kind=row.kind, by=by)
        tx.wake(accounts.topic(row.user_id))
    if row.session_id:
        revoke(tx, row.session_id, by=by)


def _end_token(tx: Tx, which: sa.ColumnElement[bool]) -> bool:
    return tx.changed(sa.update(tokens).where(which, tokens.c.revoked_at.is_(None)).values(revoked_at=tx.now()))


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
