"""Requests that carry an Idempotency-Key: the second of the same key makes nothing, and hears what the first one did.

A key is claimed before the work and its answer kept after it. Between them the outcome is not known: a repetition is
refused then, also when a crash came between. Keys are forgotten after a day.
"""

from datetime import timedelta

import sqlalchemy as sa

from control.tables import repeats
from kit.db import Tx
from kit.errors import Conflict

KEPT_FOR = timedelta(days=1)
_FORGOTTEN_AT_ONCE = 100


def claim(tx: Tx, account_id: str, key: str, body: str) -> str | None:
    """None when this request is the first of its key, else the first one's answer. `key` and `body` are hashes; a key
    that came with another body is refused, and so is one whose answer was not kept."""
    now = tx.now()
    past = repeats.c.at < now - KEPT_FOR
    old = sa.select(repeats.c.key).where(past).limit(_FORGOTTEN_AT_ONCE)
    tx.execute(sa.delete(repeats).where(repeats.c.key.in_(old) | (past & (repeats.c.key == key))))
    row = {"account_id": account_id, "key": key, "body": body, "at": now}
    if tx.changed(tx.insert(repeats).values(row).on_conflict_do_nothing()):
        return None
    known = tx.one(sa.select(repeats).where(repeats.c.key == key))
    if known is None:
        raise Conflict("key_used", "Another request with this Idempotency-Key was refused just now.", "Send it again.")
    if known.body != body:
        raise used()
    if known.answer is None:
        raise Conflict(
            "key_used",
            "A request with this Idempotency-Key is under way, or its answer was not kept: secrets are shown once.",
            "The list shows what was made; use a new key to make another.",
        )
    answer: str = known.answer
    return answer


def used() -> Conflict:
    """The refusal of a key that came with something else before."""
    return Conflict("key_used", "This Idempotency-Key came with another request.", "Use a new key for a new one.")


def keep(tx: Tx, key: str, answer: str) -> None:
    """What a repetition is to hear."""
    tx.execute(sa.update(repeats).where(repeats.c.key == key).values(answer=answer))


def release(tx: Tx, key: str) -> None:
    """Nothing was made: the same key may try again."""
    tx.execute(sa.delete(repeats).where(repeats.c.key == key))
