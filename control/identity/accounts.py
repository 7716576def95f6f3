"""Accounts, people, and how they sign in: a one-time link, a password, a cookie; API tokens act for a person.

Opaque secrets are kept as hashes, passwords as argon2. Agents' sessions are next door in `sessions`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache

import anyio.to_thread
import argon2
import sqlalchemy as sa

from control import events
from control.identity.plans import FRESH, Plan
from control.identity.principals import Person, Role
from control.tables import accounts, tokens, users
from kit import clock
from kit import tokens as mechanics
from kit.db import Database, Tx
from kit.errors import Invalid, Unauthorized
from kit.ids import new_id

DEFAULT = "default"
SIGN_IN_FOR = timedelta(minutes=15)
"""Of the link that a plane prints when it starts."""
HELD = ("api", "enrolled")
"""The kinds of tokens that people make and lists show: of programs, and of agents of their own."""
LOCAL = "local command line"
"""How the tokens begin that a plane makes at each start for the commands on its machine."""
COOKIE_FOR = timedelta(days=14)
NEW_LINK = (
    "A link signs in once. An admin makes you another under Settings › People; on the machine of the plane "
    "`preloop users link EMAIL` prints one, and so does each start."
)
_hasher = argon2.PasswordHasher()


def ensure_default(tx: Tx) -> bool:
    """Make the one account of a fresh instance; True when it was made now."""
    fresh = tx.insert(accounts).values(id=DEFAULT, name="Default", plan=FRESH, created_at=tx.now())
    return tx.changed(fresh.on_conflict_do_nothing())  # two processes on a fresh PostgreSQL: the second waits here


def follow_plan(tx: Tx, account_id: str, plans: Mapping[str, Plan], plan: str | None = None) -> None:
    """Give an account the limits of its plan, or of another one from now on."""
    mine = accounts.c.id == account_id
    named = plan or tx.execute(sa.select(accounts.c.plan).where(mine)).scalar_one()
    if named not in plans:
        raise Invalid("plan_unknown", f"There is no plan {named!r}.", f"There are {', '.join(sorted(plans))}.")
    tx.execute(sa.update(accounts).where(mine).values(plan=named, **asdict(plans[named])))


def change(
    tx: Tx,
    account_id: str,
    plans: Mapping[str, Plan],
    *,
    by: str,
    plan: str | None = None,
    time_zone: str | None = None,
) -> None:
    """Another plan, or another place where days begin (IANA); None leaves it."""
    if plan is not None:
        follow_plan(tx, account_id, plans, plan)
    if time_zone is not None:
        tx.execute(sa.update(accounts).where(accounts.c.id == account_id).values(time_zone=clock.zone(time_zone).key))
    said = {"plan": plan, "time_zone": time_zone}
    if told := {name: value for name, value in said.items() if value is not None}:
        events.append(tx, account_id, events.ACCOUNT, "account.changed", by=by, **told)


def add_user(tx: Tx, account_id: str, *, email: str, name: str, role: Role, password: str | None = None) -> str:
    """A new person; the address must be free in this account."""
    if "@" not in email:
        raise Invalid("email_invalid", f"{email!r} is not an e-mail address.", "Write name@host.")
    taken = sa.select(users.c.id).where(users.c.account_id == account_id, users.c.email == email)
    if tx.one(taken):
        raise Invalid("email_taken", f"There is a user {email} already.", "`preloop users list` shows them.")
    user_id = new_id("usr")
    row = {"id": user_id, "account_id": account_id, "email": email, "name": name, "role": role.value}
    secret = {"password_hash": _hasher.hash(password) if password else None, "created_at": tx.now()}
    tx.execute(sa.insert(users).values(row | secret))
    events.append(tx, account_id, events.ACCOUNT, "user.added", user=user_id, email=email, role=role.value)
    return user_id


def issue(tx: Tx, person_id: str, kind: str, *, lasts: timedelta | None, name: str = "") -> str:
    """A new opaque token of a kind (sign_in | cookie | api) that acts for a person; the clear text, shown once."""
    user = tx.execute(sa.select(users).where(users.c.id == person_id)).one()
    clear, hash_ = mechanics.mint({"sign_in": "pls", "cookie": "plc", "api": "pla"}[kind])
    now = tx.now()
    row = {"id": new_id("tok"), "account_id": user.account_id, "kind": kind, "hash": hash_, "user_id": person_id}
    times = {"name": name, "created_at": now, "expires_at": now + lasts if lasts else None}
    tx.execute(sa.insert(tokens).values(row | times))
    events.append(tx, user.account_id, events.ACCOUNT, "token.issued", kind=kind, user=person_id, name=name)
    return clear


def redeem(tx: Tx, sign_in: str) -> str:
    """Spend a sign-in link and return a cookie; each link works once."""
    spent = sa.update(tokens).where(
        tokens.c.hash == mechanics.digest(sign_in),
        tokens.c.kind == "sign_in",
        tokens.c.used_at.is_(None),
        tokens.c.expires_at > tx.now(),
    )
    row = tx.execute(spent.values(used_at=tx.now()).returning(tokens.c.user_id)).first()
    if row is None:
        raise Unauthorized("sign_in_spent", "This sign-in link was used before or has expired.", NEW_LINK)
    return issue(tx, row.user_id, "cookie", lasts=COOKIE_FOR)


async def by_password(db: Database, account_id: str, email: str, password: str) -> str:
    """A cookie for somebody who knows their password. Unknown people cost the same time; hashing blocks no writer."""
    rows = await db.read(sa.select(users).where(users.c.account_id == account_id, users.c.email == email))
    stored = rows[0].password_hash if rows and rows[0].password_hash else None
    if not await anyio.to_thread.run_sync(matches, stored, password):
        raise Unauthorized("sign_in_wrong", "E-mail address and password do not match.", "Or use a sign-in link.")
    return await db.write(lambda tx: issue(tx, rows[0].id, "cookie", lasts=COOKIE_FOR))


def matches(stored: str | None, password: str) -> bool:
    """Slow on purpose; against nobody's password where there is none."""
    try:
        _hasher.verify(stored or _nobody(), password)
    except argon2.exceptions.VerificationError:
        return False
    return stored is not None


def hashed(password: str) -> str:
    """As it is stored; slow on purpose."""
    return _hasher.hash(password)


def topic(user_id: str) -> str:
    """Woken when a token that acts for this person ends; expiry wakes nobody."""
    return f"user:{user_id}"


def end_cookies(tx: Tx, user_id: str, *, keep: str = "") -> None:
    """Sign somebody out everywhere, but where the cookie is `keep`, in clear."""
    mine = (tokens.c.user_id == user_id) & (tokens.c.kind == "cookie") & tokens.c.revoked_at.is_(None)
    others = sa.update(tokens).where(mine, tokens.c.hash != mechanics.digest(keep))
    tx.execute(others.values(revoked_at=tx.now()))
    tx.wake(topic(user_id))


async def person(db: Database, clear: str, *kinds: str) -> Person:
    """Who a cookie or an API token stands for, or Unauthorized."""
    rows = await db.read(
        sa.select(users)
        .join(tokens, tokens.c.user_id == users.c.id)
        .where(
            tokens.c.hash == mechanics.digest(clear),
            tokens.c.kind.in_(kinds),
            tokens.c.revoked_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > datetime.now(UTC)),
        )
    )
    if not rows:
        raise Unauthorized("not_signed_in", "You are not signed in.", "`preloop up` prints a sign-in link.")
    row = rows[0]
    return Person(account_id=row.account_id, user_id=row.id, email=row.email, name=row.name, role=Role(row.role))


def first_admin(tx: Tx, account_id: str) -> str:
    """The id of the oldest admin; a fresh account gets one named after this machine's owner."""
    known = sa.select(users.c.id).where(users.c.account_id == account_id, users.c.role == Role.ADMIN.value)
    found = tx.execute(known.order_by(users.c.created_at).limit(1)).scalar()
    return found or add_user(tx, account_id, email="admin@localhost", name="Admin", role=Role.ADMIN)


def revoke_named(tx: Tx, account_id: str, kind: str, name: str) -> None:
    """End every token of a kind and name."""
    alive = (tokens.c.account_id == account_id) & (tokens.c.kind == kind) & (tokens.c.name == name)
    tx.execute(sa.update(tokens).where(alive, tokens.c.revoked_at.is_(None)).values(revoked_at=tx.now()))


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")
