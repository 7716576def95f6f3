"""Signed-in by link: one per approver, approval and delivery attempt, until a person revokes an approval's links: then
no further one is made. Only its hash is stored, and it expires.

The clear link leaves by a notice, never through an agent. A page swaps it for a cookie that only that page's address
gets, and puts a nonce made from it into the form: a GET changes nothing.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from control import events
from control.approvals import requests
from control.approvals.directory import Directory
from control.tables import approvals, links
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


def mint(tx: Tx, account_id: str, *, approval_id: str, approver: str, expires_at: datetime) -> str | None:
    """A new link's secret in clear; its hash is committed with the unit, before anything is sent. None when links of
    this approval were revoked: one conditional UPDATE, so that of a revocation and a link under way one waits for the
    other."""
    mine = (approvals.c.account_id == account_id) & (approvals.c.id == approval_id)
    open_ = sa.update(approvals).where(mine, approvals.c.links_revoked_at.is_(None))
    if not tx.changed(open_.values(quorum=approvals.c.quorum)):
        return None
    clear, hash_ = tokens.mint("apl")
    row = {"id": new_id("lnk"), "account_id": account_id, "approval_id": approval_id, "approver": approver}
    times = {"created_at": tx.now(), "expires_at": expires_at + USEFUL}
    tx.execute(sa.insert(links).values(row | times | {"hash": hash_}))
    return clear


async def visitor(db: Database, clear: str, now: datetime, directory: Directory) -> Visitor:
    """Who stands before the page, or the same Missing for links that are unknown, expired, revoked, or of somebody who
    is not among those who are asked any more."""
    known = (links.c.hash == tokens.digest(clear)) & (links.c.expires_at > now) & links.c.revoked_at.is_(None)
    asked = sa.select(links.c.approver, links.c.id.label("link_id"), approvals)
    rows = await db.read(asked.join(approvals, approvals.c.id == links.c.approval_id).where(known))
    if not rows or rows[0].approver not in {member.id for member in requests.asked(directory, rows[0])}:
        raise Missing("link_unknown", "This link is not valid, or not any more.", "Sign in to decide.")
    row = rows[0]
    return Visitor(account_id=row.account_id, approval_id=row.id, approver=row.approver, link_id=row.link_id)


def nonce(clear: str) -> str:
    """What the form of this link's page must carry; it can't be made without the link."""
    return hmac.new(clear.encode(), b"decide", hashlib.sha256).hexdigest()


def same_nonce(clear: str, given: str) -> bool:
    return hmac.compare_digest(nonce(clear).encode(), given.encode(errors="replace"))


async def alive(db: Database, account_id: str, approval_id: str, now: datetime) -> int:
    """How many links of an approval open its page."""
    mine = (links.c.account_id == account_id) & (links.c.approval_id == approval_id)
    count = sa.select(sa.func.count()).select_from(links)
    rows = await db.read(count.where(mine, links.c.expires_at > now, links.c.revoked_at.is_(None)))
    return int(rows[0][0])


def revoke(tx: Tx, account_id: str, approval_id: str, *, by: str) -> int:
    """No link of this approval opens any more, and none is made again; returns how many were open. Later notices tell
    people to sign in."""
    row = requests.locked(tx, account_id, approval_id)
    first = (approvals.c.id == row.id) & approvals.c.links_revoked_at.is_(None)
    if not tx.changed(sa.update(approvals).where(first).values(links_revoked_at=tx.now())):
        return 0
    open_ = (links.c.account_id == account_id) & (links.c.approval_id == row.id) & links.c.revoked_at.is_(None)
    gone = tx.execute(sa.update(links).where(open_).values(revoked_at=tx.now()).returning(links.c.id)).all()
    data = {"approval": row.id, "links": len(gone), "by": by}
    events.append(tx, account_id, events.stream_of(row), "approval.links_revoked", **data)
    return len(gone)
