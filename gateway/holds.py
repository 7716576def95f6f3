"""What a call may cost is put aside before it runs, and given back or spent after: the one place that asks the ledger.

`reserve` writes the journal too, so that what was put aside is settled even if this process dies.
"""

from control.identity.principals import Principal
from gateway.attempt import Intent
from gateway.flush import Flush, Happened
from kit.db import Database, Tx
from kit.errors import Refused
from kit.journal import Journal
from ledger import budgets, money, prices
from ledger.budgets import Budget, Exhausted


class Holds:
    """The reservations of one process."""

    def __init__(self, *, db: Database, flush: Flush, journal: Journal) -> None:
        self._db = db
        self._flush = flush
        self._journal = journal

    async def reserve(self, principal: Principal, intent: Intent) -> int | None:
        """Nano-dollars held for an attempt that may begin now, None without a budget; Refused when there is no room.

        If we are stopped in between, the reservation is given back.
        """
        await self._flush.room()
        limit, price = principal.charter.budget_nano, intent.price
        if limit is None or price is None:
            self._journal.open(intent.id, intent)
            return None
        amount = prices.ceiling(intent.input_bound, intent.max_output, price)
        try:
            refused = await self._hold(intent, budgets.of_session(principal.session_id, limit), amount)
            if refused is None:
                self._journal.open(intent.id, intent)
                return amount
        except BaseException:
            self._flush.put(_release(intent))
            raise
        raise _exhausted(refused, amount)

    def settle(self, happened: Happened) -> None:
        """Into the journal, so that the figures survive us, and on to the flush. Never waits: it may be cancelled."""
        assert happened.entry
        self._journal.note(happened.entry.id, happened)
        self._flush.put(happened)

    async def _hold(self, intent: Intent, budget: Budget, amount: int) -> Exhausted | None:
        worker = self._journal.name

        def hold(tx: Tx) -> Exhausted | None:
            return budgets.hold(tx, intent.account_id, intent.id, [budget], amount, worker=worker)

        refused = await self._db.write(hold)
        if refused is None or refused.held_nano == 0:
            return refused
        await self._flush.settled()  # what this agent's last call did not use comes back with the next flush
        return await self._db.write(hold)


def _release(intent: Intent) -> Happened:
    return Happened(
        account_id=intent.account_id,
        session_id=intent.session_id,
        stream=intent.stream,
        data={"attempt": intent.id},
        release=intent.id,
    )


def _exhausted(refused: Exhausted, amount: int) -> Refused:
    limit, spent, held = (money.usd(n) for n in (refused.limit_nano, refused.spent_nano, refused.held_nano))
    return Refused(
        "budget_exceeded",
        f"The budget of {limit} USD has no room for this call: {spent} spent, {held} held, "
        f"up to {money.usd(amount)} needed.",
        "Raise limits.budget_usd of the flow, or ask for fewer output tokens.",
    )
