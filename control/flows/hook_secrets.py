"""Secrets of webhooks, sealed: each flow's own, and one of the account for each sender with a scheme of its own.

A rotation leaves the secret before it valid for a day, so that no delivery is lost while the sender is changed.
"""

import base64
import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.tables import flows, senders
from kit import webhooks
from kit.db import Database, Tx
from kit.errors import Invalid, Missing
from kit.secrets import Sealer

GRACE = timedelta(hours=24)
SHORTEST = 24
"""Bytes of a secret that somebody else made; ours have 32 (Standard Webhooks wants 24 to 64)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The new secret in clear, once, and until when the one before it is good too; None when it is worth nothing."""

    secret: str
    before_until: datetime | None


def fresh() -> str:
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()


def rotate(tx: Tx, account_id: str, flow_name: str, *, sealer: Sealer, by: str, at_once: bool = False) -> Rotated:
    """A new secret for a flow's webhook; `at_once` ends the one before."""
    secret, until = fresh(), None if at_once else tx.now() + GRACE
    mine = (flows.c.account_id == account_id) & (flows.c.name == flow_name)
    before = {"hook_before": None if at_once else flows.c.hook_secret, "hook_before_until": until}
    if not tx.changed(sa.update(flows).where(mine).values(before | {"hook_secret": sealer.seal(secret)})):
        raise Missing(
            "flow_unknown", f"There is no flow {flow_name!r}.", "`preloop flows list` shows the flows there are."
        )
    events.append(tx, account_id, events.ACCOUNT, "webhook.rotated", flow=flow_name, by=by, at_once=at_once)
    return Rotated(secret=secret, before_until=until)


def rotate_sender(
    tx: Tx, account_id: str, kind: str, *, sealer: Sealer, by: str, at_once: bool = False, given: str | None = None
) -> Rotated:
    """A new secret for a sender, or the one that it made itself (`given`); the first has none before it."""
    secret, now = given or fresh(), tx.now()
    if len(webhooks.secret_bytes(secret)) < SHORTEST or not secret.startswith("whsec_"):
        raise Invalid("webhook_secret_invalid", f"A secret is whsec_ and base64 of at least {SHORTEST} bytes.")
    values = {"secret": sealer.seal(secret), "created_at": now}
    before = {"before": None if at_once else senders.c.secret, "before_until": None if at_once else now + GRACE}
    made = tx.insert(senders).values(values | {"account_id": account_id, "kind": kind})
    kept = made.on_conflict_do_update(index_elements=["account_id", "kind"], set_=values | before)
    until = tx.execute(kept.returning(senders.c.before_until)).scalar_one()
    events.append(tx, account_id, events.ACCOUNT, "webhook.rotated", sender=kind, by=by, at_once=at_once)
    return Rotated(secret=secret, before_until=until)


async def of_flow(db: Database, account_id: str, name: str, now: datetime) -> Sequence[str]:
    """The sealed secrets that a flow's webhook may be signed with, newest first; none of a flow that isn't there."""
    its = (flows.c.hook_secret.label("secret"), flows.c.hook_before.label("before"))
    asked = sa.select(*its, flows.c.hook_before_until.label("before_until"))
    return _valid(await db.read(asked.where(flows.c.account_id == account_id, flows.c.name == name)), now)


async def of_sender(db: Database, account_id: str, kind: str, now: datetime) -> Sequence[str]:
    """The same for a sender."""
    mine = (senders.c.account_id == account_id) & (senders.c.kind == kind)
    return _valid(await db.read(sa.select(senders).where(mine)), now)


def _valid(rows: Sequence[Row[Any]], now: datetime) -> Sequence[str]:
    found = []
    for row in rows:
        found += [row.secret, *([row.before] if row.before and row.before_until > now else [])]
    return found
