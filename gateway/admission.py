"""Who may call a model, and what is reserved for it: token, alias, budget, journal, in that order.

Everything that can say no does so here, before the provider hears of the request and before a byte is answered.
"""

from dataclasses import asdict

from control.identity.principals import Principal
from control.identity.sessions import Doorkeeper
from gateway.attempt import Attempt, Intent, estimate, intent_of, requested
from gateway.flush import Flush, Happened
from gateway.models import Models
from gateway.upstream import Route, Target
from gateway.wires.neutral import Request
from kit.clock import Clock
from kit.db import Database, Tx
from kit.errors import Fault, Missing, Refused
from kit.ids import new_id
from kit.journal import Journal
from ledger import budgets, money, prices
from ledger.budgets import Budget, Exhausted

PREFIX = "preloop-"
"""Agents may write an alias with this before it: some CLIs change their tool protocol for names they know."""


class Admission:
    """The gate of one listener."""

    def __init__(
        self, *, db: Database, doorkeeper: Doorkeeper, models: Models, flush: Flush, journal: Journal, clock: Clock
    ) -> None:
        self._db = db
        self._doorkeeper = doorkeeper
        self._models = models
        self._flush = flush
        self._journal = journal
        self._clock = clock

    async def identify(self, token: str) -> Principal:
        """Whose token this is, or Unauthorized."""
        return await self._doorkeeper.admit(token)

    def route(self, principal: Principal, alias: str) -> Route:
        """Where the alias leads; one that the charter does not name might as well not exist."""
        mine = principal.charter.models
        named = alias if alias in mine else alias.removeprefix(PREFIX)
        route = self._models.route(named) if named in mine else None
        if route is None:
            known = ", ".join(mine) or "none"
            raise Missing("model_not_found", f"There is no model {alias!r} for this agent.", f"It may use: {known}.")
        return route

    async def admit(self, principal: Principal, request: Request, wire: str, size: int) -> tuple[Attempt, Target]:
        """An attempt, held for at its worst price and in the journal; or a Fault. `size` is the body's bytes."""
        try:
            target = self.route(principal, request.alias).targets[0]
            self._priced(principal, target)
        except Fault as fault:
            self._refused(principal, request, wire, fault, "routing")
            raise
        await self._flush.room()
        intent = intent_of(
            new_id("att"),
            principal,
            target,
            wire,
            at=self._clock.now(),
            input_estimate=estimate(size),
            max_output=target.max_output(request),
        )
        held = await self._hold(principal, request, intent)
        self._flush.put(requested(intent, held, request.dropped))
        return Attempt(intent, self._clock), target

    async def _hold(self, principal: Principal, request: Request, intent: Intent) -> int | None:
        """Reserve, then write the journal. If we are stopped in between, the reservation is given back."""
        limit, price = principal.charter.budget_nano, intent.price
        if limit is None or price is None:
            self._journal.open(intent.id, asdict(intent))
            return None
        amount = prices.ceiling(intent.input_estimate, intent.max_output, price)
        try:
            refused = await self._reserve(intent, budgets.of_session(principal.session_id, limit), amount)
            if refused is None:
                self._journal.open(intent.id, asdict(intent))
                return amount
        except BaseException:
            self._flush.put(_release(intent))
            raise
        fault = _exhausted(refused, amount)
        self._refused(principal, request, intent.wire, fault, "budget")
        raise fault

    async def _reserve(self, intent: Intent, budget: Budget, amount: int) -> Exhausted | None:
        worker = self._journal.name

        def hold(tx: Tx) -> Exhausted | None:
            return budgets.hold(tx, intent.account_id, intent.id, [budget], amount, worker=worker)

        refused = await self._db.write(hold)
        if refused is None or refused.held_nano == 0:
            return refused
        await self._flush.settled()  # what this agent's last call did not use comes back with the next flush
        return await self._db.write(hold)

    def _priced(self, principal: Principal, target: Target) -> None:
        if target.price is None and principal.charter.budget_nano is not None:
            raise Refused(
                "model_unpriced",
                f"The model {target.alias!r} has no price, and this agent has a budget.",
                f"Set models.{target.alias}.input_usd_per_mtok and output_usd_per_mtok.",
            )

    def _refused(self, principal: Principal, request: Request, wire: str, fault: Fault, stage: str) -> None:
        data = {"alias": request.alias, "wire": wire, "stage": stage, "error": fault.code, "message": fault.message}
        self._flush.put(
            Happened(
                account_id=principal.account_id,
                session_id=principal.session_id,
                stream=principal.stream,
                type="model.refused",
                data=data,
            )
        )


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
