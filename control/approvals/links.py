"""Signed-in by link: one per approver, approval and delivery attempt. Only its hash is stored; it expires and is
revocable.

The clear link leaves by a notice, never through an agent. A page swaps it for a cookie that only that page's address
gets, and puts a nonce made from it into the form: a GET changes nothing.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from control.tables import links
from kit import tokens
from kit.db import Database, Tx
from kit.errors import Missing
from kit.ids import new_id

USEFUL = timedelta(days=7)
"""How long after its approval's deadline a link still shows what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who holds a link, and the one approval it is for."""

    account_id: str
    approval_id: str
    approver: str
    link_id: str


def mint(tx: Tx, account_id: str, *, approval_id: str, approver: str, expires_at: datetime) -> str:
    """A new link's secret in clear; its hash is committed with the unit, before anything is sent."""
    clear, hash_ = tokens.mint("apl")
    row = {"id": new_id("lnk"), "account_id": account_id, "approval_id": approval_id, "approver": approver}
    times = {"created_at": tx.now(), "expires_at": expires_at + USEFUL}
    tx.execute(sa.insert(links).values(row | times | {"hash": hash_}))
    return clear


async def visitor(db: Database, clear: str, now: datetime) -> Visitor:
    """Who stands before the page, or the same Missing for unknown, expired and revoked links."""
    known = links.c.hash == tokens.digest(clear)
    rows = await db.read(sa.select(links).where(known, links.c.expires_at > now, links.c.revoked_at.is_(None)))
    if not rows:
        raise Missing("link_unknown", "This link is not valid, or not any more.", "Ask for a new notice.")
    row = rows[0]
    return Visitor(account_id=row.account_id, approval_id=row.approval_id, approver=row.approver, link_id=row.id)


def nonce(clear: str) -> str:
    """What the form of this link's page must carry; it can't be made without the link."""
    return hmac.new(clear.encode(), b"decide", hashlib.sha256).hexdigest()


def same_nonce(clear: str, given: str) -> bool:
    return hmac.compare_digest(nonce(clear).encode(), given.encode(errors="replace"))


def revoke(tx: Tx, approval_id: str) -> None:
    """No link of this approval opens any more."""
    alive = (links.c.approval_id == approval_id) & links.c.revoked_at.is_(None)
    tx.execute(sa.update(links).where(alive).values(revoked_at=tx.now()))
