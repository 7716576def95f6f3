"""What changes about people once they are here: role, password, a new way in, and their leaving.

Whoever leaves takes every token along, and the sessions of agents they enrolled; the record keeps their address. The
last admin stays one. Neighbour: `accounts` is who somebody is and how they sign in.
"""

from datetime import timedelta
from typing import Any

import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.identity import accounts, sessions
from control.identity.principals import Role
from control.tables import tokens, users
from kit.db import Database, Tx
from kit.errors import Conflict, Invalid, Missing, Unauthorized

SHORTEST, LONGEST = 12, 200
"""Characters of a password."""
INVITED_FOR = timedelta(hours=1)


def change_role(tx: Tx, account_id: str, user_id: str, role: Role, *, by: str) -> None:
    """From the next request on."""
    row = _find(tx, account_id, user_id)
    if row.role == role.value:
        return
    if row.role == Role.ADMIN.value:
        _another_admin(tx, account_id, user_id)
    tx.execute(sa.update(users).where(users.c.id == user_id).values(role=role.value))
    told = {"user": user_id, "email": row.email, "was": row.role, "role": role.value}
    events.append(tx, account_id, events.ACCOUNT, "user.changed", by=by, **told)


def remove(tx: Tx, account_id: str, user_id: str, *, by: str) -> None:
    """Their tokens are worth nothing at once, and agents they enrolled end."""
    row = _find(tx, account_id, user_id)
    if row.role == Role.ADMIN.value:
        _another_admin(tx, account_id, user_id)
    theirs = (tokens.c.user_id == user_id) & tokens.c.revoked_at.is_(None)
    enrolled = tx.execute(sa.select(tokens.c.id).where(theirs, tokens.c.kind == "enrolled")).scalars().all()
    for token_id in enrolled:
        sessions.revoke_token(tx, account_id, token_id, by=by)
    tx.execute(sa.update(tokens).where(theirs).values(revoked_at=tx.now()))
    tx.wake(accounts.topic(user_id))
    tx.execute(sa.update(tokens).where(tokens.c.user_id == user_id).values(user_id=None))
    tx.execute(sa.delete(users).where(users.c.id == user_id))
    events.append(tx, account_id, events.ACCOUNT, "user.removed", by=by, user=user_id, email=row.email)


def invite(tx: Tx, account_id: str, user_id: str) -> str:
    """A sign-in link's token in clear, for a person who is here already; those before it open nothing any more."""
    row = _find(tx, account_id, user_id)
    before = (tokens.c.user_id == user_id) & (tokens.c.kind == "sign_in") & tokens.c.used_at.is_(None)
    tx.execute(sa.update(tokens).where(before).values(expires_at=tx.now()))
    return accounts.issue(tx, row.id, "sign_in", lasts=INVITED_FOR)


async def set_password(db: Database, user_id: str, *, old: str, new: str, keep: str) -> None:
    """Another password, for whoever knows the old one, if there is one. Browsers that are signed in elsewhere are
    signed out; `keep` is the cookie of this one, in clear."""
    [row] = await db.read(sa.select(users).where(users.c.id == user_id))
    if not SHORTEST <= len(new) <= LONGEST:
        raise Invalid("password_invalid", f"A password has {SHORTEST} to {LONGEST} characters.", "Four words will do.")
    if row.password_hash and not await anyio.to_thread.run_sync(accounts.matches, row.password_hash, old):
        raise Unauthorized(
            "password_wrong", "That is not the password you have now.", "A sign-in link lets you in too."
        )
    hash_ = await anyio.to_thread.run_sync(accounts.hashed, new)
    await db.write(lambda tx: _put_password(tx, row, hash_, keep))


def _put_password(tx: Tx, row: Row[Any], hash_: str, keep: str) -> None:
    mine = sa.update(users).where(users.c.id == row.id, users.c.password_hash.is_not_distinct_from(row.password_hash))
    if not tx.changed(mine.values(password_hash=hash_)):
        raise Conflict("password_changed", "Your password was changed meanwhile.", "Sign in with the new one.")
    accounts.end_cookies(tx, row.id, keep=keep)
    events.append(tx, row.account_id, events.ACCOUNT, "user.changed", by=row.email, user=row.id, password=True)


def _find(tx: Tx, account_id: str, user_id: str) -> Row[Any]:
    row = tx.one(sa.select(users).where(users.c.id == user_id, users.c.account_id == account_id))
    if row is None:
        raise Missing("user_unknown", f"There is no user {user_id[:60]}.", "`preloop users list` shows them.")
    return row


def _another_admin(tx: Tx, account_id: str, user_id: str) -> None:
    others = (users.c.account_id == account_id) & (users.c.role == Role.ADMIN.value) & (users.c.id != user_id)
    if tx.one(sa.select(users.c.id).where(others).limit(1)) is None:
        raise Conflict("last_admin", "This is the last admin.", "Make somebody else an admin first.")
