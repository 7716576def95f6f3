"""What a call may cost is put aside before it runs, and spent or given back after: the one place that asks the budgets.

A reservation is taken from this process's leases in memory; only when those are too small does a call wait for the
database. `reserve` writes the journal too, so that what was put aside is settled even if this process dies.
"""

from collections.abc import Awaitable, Callable

import anyio
from msgspec.structs import replace

from control.identity.principals import Principal
from gateway.flush import Flush, Happened
from gateway.intent import Intent, Opened
from gateway.lender import Lender
from gateway.settings import belongs
from kit.clock import Clock
from kit.errors import Refused, Unavailable
from kit.journal import Journal
from kit.observe import log
from ledger import money
from ledger.budgets import Exhausted
from ledger.limits import Budget, Limits, Payer
from ledger.purse import Purse

WAIT_S = 0.6
"""How long a call waits for what other processes hold and do not need."""
AGAIN_S = 0.05
Reclaim = Callable[[], Awaitable[object]]
"""Settles what dead workers left, so that what they held comes back."""


class Holds:
    """The reservations of one process."""

    def __init__(
        self,
        *,
        limits: Limits,
        purse: Purse,
        lender: Lender,
        flush: Flush,
        journal: Journal,
        clock: Clock,
        reclaim: Reclaim,
        strict: bool = False,
    ) -> None:
        self._limits = limits
        self._purse = purse
        self._lender = lender
        self._flush = flush
        self._journal = journal
        self._clock = clock
        self._reclaim = reclaim
        self._strict = strict

    async def reserve(self, principal: Principal, intent: Intent) -> int | None:
        """Nano-dollars held for an attempt that may begin now, None without a budget; Refused when there is no room, or
        no price to hold it at, Unavailable when it can't be written down."""
        await self._flush.room()
        against = self._limits.of(_payer(principal, intent), self._clock.now())
        amount = self._amount(intent, against)
        while amount is not None and not self._purse.reserve(intent.id, intent.account_id, against, amount):
            await self._make_room(intent.account_id, against, amount)
        opened = Opened(intent=intent, budgets=against)
        self._open(opened)
        if self._strict:
            await self._intend(opened)
        return amount

    def settle(self, happened: Happened) -> None:
        """Into the journal, so that the figures survive us, and on to the flush. Never waits: it may be cancelled."""
        entry = happened.entry
        assert entry
        happened = replace(happened, charges=self._purse.settle(entry.id, entry.cost_nano or 0))
        try:
            self._journal.note(entry.id, happened)
        except OSError as error:  # if we die before the flush, it is settled at what was held for it
            log.error("journal can't be written", attempt=entry.id, error=str(error))
        self._flush.put(happened)

    async def settled(self) -> None:
        """Wait until what happened so far is in the ledger, and what is free is given back."""
        await self._lender.return_all()
        await self._flush.settled()

    def _amount(self, intent: Intent, against: tuple[Budget, ...]) -> int | None:
        if not against:
            return None
        if intent.price is None:
            raise Refused(
                "model_unpriced",
                f"The model {intent.alias!r} has no price, and {_name(against[0])} counts against a budget.",
                f"Set input_usd_per_mtok and output_usd_per_mtok {belongs(intent.alias)}.",
            )
        hard = next((one for one in against if one.hard), None)
        if intent.unbounded and hard:
            raise Refused(
                "cost_unbounded",
                f"What this call costs at most can't be said, and {_name(hard)} has a hard limit.",
                intent.unbounded,
            )
        return intent.ceiling_nano

    async def _make_room(self, account_id: str, against: tuple[Budget, ...], amount: int) -> None:
        """Return when there may be room now. What others hold is waited for a moment before that is a no."""
        until, reclaimed = self._clock.monotonic() + WAIT_S, False
        while refused := await self._lender.ask(account_id, against, amount):
            if not refused.elsewhere_nano or self._clock.monotonic() > until:
                raise _exhausted(refused, amount)
            if not reclaimed:
                reclaimed = True
                await self._reclaim()
            await anyio.sleep(AGAIN_S)

    def _open(self, opened: Opened) -> None:
        try:
            self._journal.open(opened.intent.id, opened)
        except OSError as error:
            self._purse.settle(opened.intent.id, 0)
            log.error("journal can't be written", attempt=opened.intent.id, error=str(error))
            raise Unavailable(
                "journal_unwritable", "The gateway can't write down what it begins.", "Its operator's log says why."
            ) from error

    async def _intend(self, opened: Opened) -> None:
        """Have the intent in the database before the call. One that is not made spends nothing."""
        intent = opened.intent
        try:
            await self._flush.intend(intent.id, opened.text())
        except BaseException:
            self._purse.settle(intent.id, 0)
            self._flush.put(
                Happened(
                    account_id=intent.account_id,
                    session_id=intent.session_id,
                    stream=intent.stream,
                    data={"attempt": intent.id},
                    unmade=intent.id,
                )
            )
            raise


def _payer(principal: Principal, intent: Intent) -> Payer:
    charter = principal.charter
    return Payer(
        account_id=intent.account_id,
        flow=intent.flow,
        execution_id=intent.execution_id,
        principal=intent.principal,
        alias=intent.alias,
        run=charter.budget_of or principal.execution_id or principal.session_id,
        run_limit_nano=charter.budget_nano,
    )


_PERIODS = {"hour": " an hour", "day": " a day", "month": " a month", "total": ""}
_SOURCES = {"run": "limits.budget_usd of the flow"}


def _name(budget: Budget) -> str:
    """'this run', 'the flow 'pay'', 'the account'."""
    if budget.scope in ("run", "account"):
        return "this run" if budget.scope == "run" else "the account"
    return f"the {budget.scope} {budget.subject!r}"


def _exhausted(refused: Exhausted, amount: int) -> Refused:
    budget = refused.budget
    spent, held = money.usd(refused.spent_nano), money.usd(refused.held_nano)
    return Refused(
        "budget_exceeded",
        f"The budget of {money.usd(budget.limit_nano)} USD{_PERIODS[budget.period]} for {_name(budget)} has no room for"
        f" this call: {spent} spent, {held} held, up to {money.usd(amount)} needed.",
        f"Raise {_SOURCES.get(budget.scope, 'it under [[budgets]] in preloop.toml')}, or ask for fewer output tokens.",
    )
