"""What one attempt may come to, written into the journal before the call: enough to settle it if this process dies.

Values and sums only. `admission` makes it, `attempt` becomes its entry, `recovery` settles what a dead worker left.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from control.identity.principals import Principal
from gateway.bounds import read_bound, read_estimate, unbounded
from gateway.dialects import hosted
from gateway.upstream import Target
from gateway.wires.neutral import Request
from kit.clock import rfc3339
from ledger import prices
from ledger.book import Entry, Status
from ledger.limits import Budget
from ledger.prices import Bill, Price, Usage


class Intent(Struct, frozen=True, kw_only=True):
    """What is written into the journal before the call: enough to settle it if this process dies."""

    id: str
    account_id: str
    session_id: str
    execution_id: str | None
    stream: str
    flow: str | None
    principal: str
    alias: str
    provider: str
    model: str
    wire: str
    at: str
    attempt: int = 0  # of this call: retries and fallbacks count up
    input_estimate: int  # what it probably reads
    input_bound: int  # what it can't exceed: held for, and billed if this process dies
    max_output: int
    hosted: Mapping[str, int] = field(default_factory=dict)  # tools that run at the provider: nano-dollars per use
    hosted_most: int = 0  # uses of each
    unbounded: str | None = None  # why nobody can say what it costs at most
    reports_cost: bool = False  # what the provider says it charges is believed, up to the ceiling
    price: Price | None

    @property
    def hosted_nano(self) -> int:
        """What its tools at the provider cost at most."""
        return self.hosted_most * sum(self.hosted.values())

    @property
    def ceiling_nano(self) -> int | None:
        """What it costs at most, None without a price: held for, and the most that its provider is believed."""
        if self.price is None:
            return None
        return prices.ceiling(self.input_bound, self.max_output, self.price) + self.hosted_nano

    def entry(self, status: Status, usage: Usage, bill: Bill, **more: Any) -> Entry:  # noqa: ANN401 - Entry's fields
        return Entry(
            id=self.id,
            account_id=self.account_id,
            session_id=self.session_id,
            execution_id=self.execution_id,
            flow=self.flow,
            principal=self.principal,
            alias=self.alias,
            provider=self.provider,
            model=self.model,
            wire=self.wire,
            status=status,
            usage=usage,
            cost_nano=bill.cost_nano,
            cost_source=bill.source,
            price_version=bill.version,
            at=datetime.fromisoformat(self.at),
            attempt=self.attempt,
            **more,
        )


class Opened(Struct, frozen=True, kw_only=True):
    """What the journal is told of an attempt that begins: the intent, and the budgets it counts against."""

    intent: Intent
    budgets: tuple[Budget, ...]

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


def intent_of(
    id_: str,
    principal: Principal,
    target: Target,
    wire: str,
    *,
    at: datetime,
    attempt: int,
    request: Request,
    size: int,
) -> Intent:
    return Intent(
        id=id_,
        account_id=principal.account_id,
        session_id=principal.session_id,
        execution_id=principal.execution_id,
        stream=principal.stream,
        flow=principal.charter.flow,
        principal=principal.name,
        alias=target.alias,
        provider=target.provider,
        model=target.model,
        wire=wire,
        at=rfc3339(at),
        attempt=attempt,
        input_estimate=read_estimate(request, size, target),
        input_bound=read_bound(request, size, target),
        max_output=target.max_output(request) * request.choices,
        hosted={name: target.hosted_nano(name) or 0 for name in request.hosted},
        hosted_most=hosted.most(request),
        unbounded=unbounded(wire, request, target),
        reports_cost=target.reports_cost,
        price=target.price_at(at),
    )
