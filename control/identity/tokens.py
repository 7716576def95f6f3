"""Ending a token that somebody holds, whatever it stands for."""

import sqlalchemy as sa

from control import events
from control.identity import sessions
from control.tables import tokens
from kit.db import Tx
from kit.errors import Missing


def revoke_token(tx: Tx, account_id: str, token_id: str) -> None:
    """From now on it is worth nothing; an enrolled agent's session ends with it. Twice is fine."""
    mine = (tokens.c.id == token_id) & (tokens.c.account_id == account_id)
    row = tx.one(sa.select(tokens).where(mine))
    if row is None:
        raise Missing("token_unknown", f"There is no token {token_id}.", "`preloop tokens list` shows them.")
    tx.execute(sa.update(tokens).where(mine, tokens.c.revoked_at.is_(None)).values(revoked_at=tx.now()))
    events.append(tx, account_id, events.ACCOUNT, "token.revoked", token=token_id, kind=row.kind)
    if row.session_id:
        sessions.revoke(tx, row.session_id)
