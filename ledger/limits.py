"""Which budgets a call counts against: an operator's limits, a flow's own one, and the window of time each is in.

Pure. Periods are UTC's. A limit without a subject is each subject's own; one that names its subject takes the place of
the one that does not. Neighbours: `purse` holds money against these budgets in memory, `budgets` in the database.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

Scope = Literal["account", "flow", "execution", "principal", "alias", "run"]
"""`run` is a flow's `limits.budget_usd`: one execution with its automatic retries, or an enrolled agent's session."""
Period = Literal["hour", "day", "month", "total"]
Kind = Literal["hard", "soft"]
_WINDOWS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


class Limit(Struct, frozen=True, kw_only=True):
    """What an operator says. A hard one refuses; a soft one only tells when it is reached."""

    scope: Scope
    period: Period
    limit_nano: int
    kind: Kind = "hard"
    subject: str | None = None


class Budget(Struct, frozen=True, kw_only=True):
    """A limit of one subject in one window: `window` is where that begins, '' for all time. `key` is unique in an
    account."""

    key: str
    scope: Scope
    subject: str
    period: Period
    window: str
    kind: Kind
    limit_nano: int

    @property
    def hard(self) -> bool:
        return self.kind == "hard"


class Charge(Struct, frozen=True, kw_only=True):
    """What one attempt moves: `spent_nano` more is spent, and `held_nano` more (mostly less) is held."""

    budget: Budget
    spent_nano: int
    held_nano: int


class Payer(Struct, frozen=True, kw_only=True):
    """Who makes a call, by everything that a limit can be about; what it has not is None."""

    account_id: str
    flow: str | None
    execution_id: str | None
    principal: str
    alias: str
    run: str
    run_limit_nano: int | None


def budget(
    scope: Scope, subject: str, limit_nano: int, *, period: Period = "total", window: str = "", kind: Kind = "hard"
) -> Budget:
    key = f"{scope}/{period}/{window}/{kind}/{subject}"
    return Budget(key=key, scope=scope, subject=subject, period=period, window=window, kind=kind, limit_nano=limit_nano)


def window(period: Period, at: datetime) -> str:
    """'2026-11' for a month: where the window begins that this moment is in."""
    return at.astimezone(UTC).strftime(_WINDOWS[period]) if period != "total" else ""


def bounds(period: Period, begins: str) -> tuple[datetime, datetime] | None:
    """From when a window lasts until when it ends; None for all time."""
    if period == "total":
        return None
    start = datetime.strptime(begins, _WINDOWS[period]).replace(tzinfo=UTC)
    if period == "hour":
        return start, start + timedelta(hours=1)
    if period == "day":
        return start, start + timedelta(days=1)
    return start, (start + timedelta(days=32)).replace(day=1)


class Limits:
    """The limits of a plane. What applies to a payer is worked out once an hour."""

    def __init__(self, limits: Sequence[Limit] = ()) -> None:
        self.all = tuple(limits)
        self._hour = 0
        self._known: dict[Payer, tuple[Budget, ...]] = {}

    def of(self, payer: Payer, at: datetime) -> tuple[Budget, ...]:
        """The budgets that a call of this moment counts against, by their keys."""
        hour = int(at.timestamp()) // 3600
        if hour != self._hour or len(self._known) > 10_000:
            self._hour, self._known = hour, {}
        found = self._known.get(payer)
        if found is None:
            found = self._known[payer] = self._applying(payer, at)
        return found

    def binds(self, flow: str, alias: str) -> bool:
        """Does a hard one count what executions of this flow cost on a model?"""
        mine = {"flow": flow, "principal": f"flow:{flow}", "alias": alias}
        hard = [limit for limit in self.all if limit.kind == "hard"]
        return any(limit.subject is None or limit.subject == mine.get(limit.scope) for limit in hard)

    def named(self, account_id: str, at: datetime) -> tuple[Budget, ...]:
        """Those that are there before anything was spent: the account's, and those that name their subject."""
        subjects = [(limit, account_id if limit.scope == "account" else limit.subject) for limit in self.all]
        return tuple(_of(limit, subject, at) for limit, subject in subjects if subject)

    def _applying(self, payer: Payer, at: datetime) -> tuple[Budget, ...]:
        mine = {
            "account": payer.account_id,
            "flow": payer.flow,
            "execution": payer.execution_id,
            "principal": payer.principal,
            "alias": payer.alias,
        }
        found: dict[str, Budget] = {}
        for limit in sorted(self.all, key=lambda limit: limit.subject is not None):  # those with a subject come last
            subject = mine[limit.scope]
            if subject is not None and limit.subject in (None, subject):
                one = _of(limit, subject, at)
                found[one.key] = one
        if payer.run_limit_nano is not None:
            one = budget("run", payer.run, payer.run_limit_nano)
            found[one.key] = one
        return tuple(found[key] for key in sorted(found))


def _of(limit: Limit, subject: str, at: datetime) -> Budget:
    begins = window(limit.period, at)
    return budget(limit.scope, subject, limit.limit_nano, period=limit.period, window=begins, kind=limit.kind)
