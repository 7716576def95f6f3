"""What workers that died left open, settled from their journals: at a start, and by whoever lives on beside them.

Safe to run at any time and in several processes: a living worker's journal is locked, and an attempt has one entry.
A record that can't be read, or that the database refuses, stops nobody: its journal is kept under another name.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio

from gateway.attempt import facts
from gateway.flush import BATCH, Happened, unit
from gateway.intent import Intent, Opened
from kit.db import Database, Lane
from kit.errors import Unavailable
from kit.journal import Remains, remains
from kit.observe import log
from ledger import book, budgets, prices
from ledger.book import Entry, Status
from ledger.limits import Budget, Charge
from ledger.prices import Usage

EVERY_S = 1.0


async def settle_lost(db: Database, folder: Path) -> int:
    """Settle what dead workers left open; how many attempts that were."""
    with remains(folder) as dead:
        return sum([await _settle(db, one) for one in dead])


async def watch_for_lost(db: Database, folder: Path) -> None:
    """Settle what a worker left that died beside us."""
    while True:
        await anyio.sleep(EVERY_S)
        try:
            await settle_lost(db, folder)
        except Exception:
            log.exception("could not settle what a dead worker left")


async def _settle(db: Database, one: Remains) -> int:
    """All its attempts, then its leases."""
    found = {left.key: (left.record, left.note) for left in one.left}
    for id_, body in (await db.write(lambda tx: book.intents_of(tx, one.journal))).items():
        found.setdefault(id_, (json.loads(body), None))  # a power cut may have taken the journal's last lines
    settled = [happened for key, left in found.items() if (happened := _settled(key, *left))]
    written = 0
    for start in range(0, len(settled), BATCH):
        written += await _write(db, one.journal, settled[start : start + BATCH])
    await db.write(lambda tx: budgets.release_of(tx, one.journal))
    if written == len(found):
        one.remove()
    else:
        kept = one.set_aside()
        log.error("a dead worker's journal is set aside: not all of it is in the ledger", path=str(kept))
    if written:
        log.warning("settled what a dead worker left", attempts=written, journal=one.journal)
    return written


async def _write(db: Database, worker: str, batch: list[Happened]) -> int:
    """How many of them are in the ledger now: all that it takes."""
    try:
        await db.write(unit(batch, worker=worker), lane=Lane.BULK)
    except Unavailable:
        raise
    except Exception:
        if len(batch) > 1:  # one of them is at fault: each on its own
            return sum([await _write(db, worker, [happened]) for happened in batch])
        log.exception("ledger entry of a dead worker refused", attempt=batch[0].attempt)
        return 0
    return len(batch)


def _settled(key: str, record: dict[str, Any], note: dict[str, Any] | None) -> Happened | None:
    """Exact when it had ended and only the commit was missing; else an estimate, marked as lost. None: unreadable."""
    try:
        return _happened(note) if note else _lost(_opened(record))
    except (KeyError, TypeError, ValueError, AttributeError):
        log.exception("a dead worker's record can't be read", attempt=key)
        return None


def _lost(opened: Opened) -> Happened:
    """What a worker that died left open: billed at what was reserved for it, and marked."""
    intent = opened.intent
    usage = Usage(input=intent.input_bound, output=intent.max_output)
    bill = prices.bill(usage, intent.price, exact=False, hosted_nano=intent.hosted_nano)
    calls = intent.hosted_most * len(intent.hosted)
    entry = intent.entry(
        Status.LOST,
        usage,
        bill,
        error_class="worker_lost",
        hosted_calls=calls,
        hosted_nano=intent.hosted_nano,
    )
    cost = entry.cost_nano or 0
    charges = (Charge(budget=one, spent_nano=cost, held_nano=-cost if one.hard else 0) for one in opened.budgets)
    return Happened(
        account_id=intent.account_id,
        session_id=intent.session_id,
        stream=intent.stream,
        type="model.failed",
        data=facts(intent, entry) | {"stage": "worker", "message": "The gateway's process died during this call."},
        entry=entry,
        charges=tuple(charges),
    )


def _opened(record: Mapping[str, Any]) -> Opened:
    """What the journal was told, read back."""
    intent = dict(record["intent"])
    intent["price"] = prices.from_record(intent["price"]) if intent["price"] else None
    return Opened(intent=Intent(**intent), budgets=tuple(Budget(**one) for one in record["budgets"]))


def _happened(note: Mapping[str, Any]) -> Happened:
    """A settlement read back from the journal."""
    entry = dict(note["entry"])
    entry |= {"usage": Usage(**entry["usage"]), "status": Status(entry["status"])}
    entry["at"] = datetime.fromisoformat(entry["at"])
    charges = tuple(Charge(**{**one, "budget": Budget(**one["budget"])}) for one in note["charges"])
    return Happened(**{**note, "entry": Entry(**entry), "charges": charges})
