"""What the people's door is given when it is built, and how a handler reaches it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from starlette.requests import HTTPConnection

from control.approvals.desk import Desk
from control.flows.review import Known
from control.identity.accounts import DEFAULT
from control.identity.plans import PRESETS, Plan
from control.paces import Rate
from control.retention.rules import Rules
from kit.blobs import Blobs
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database
from kit.limits import Pace
from kit.secrets import Sealer
from ledger.limits import Limits
from web.settings import WebSettings
from web.shared import Shared

if TYPE_CHECKING:
    from web.issuer import Issuer

Check = Callable[[], Awaitable[None]]
"""A named question of /readyz: returns when the part answers, raises when it does not."""


class Upstreams(Protocol):
    """The models' upstreams, as the gateway knows them. Each is a dataclass with the fields of `shapes.Upstream`."""

    def standings(self) -> Sequence[object]: ...

    async def check(self) -> Sequence[object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What an operator set, as it is shown, and what an account may choose from."""

    settings: Sequence[object] = ()
    """Each has the fields of `web.in_force.Setting`."""
    plans: Mapping[str, Plan] = field(default_factory=lambda: PRESETS)
    retention: Rules = field(default_factory=Rules)
    issuer: "Issuer | None" = None
    """Who signs people in beside us: `[server.oidc]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Neighbours and settings of this listener."""

    settings: WebSettings
    db: Database
    bus: Bus
    sealer: Sealer
    blobs: Blobs
    decoy: str
    """What webhooks to unknown flows are checked against: sealed, and nobody has it."""
    deliveries: Rate
    """How often one trigger may be fired from outside."""
    known: Known
    desk: Desk
    checks: Mapping[str, Check] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    """Of the budgets, as the settings have them."""
    operated: Operated = field(default_factory=Operated)
    """What an operator set."""
    upstreams: Upstreams | None = None
    """None where no gateway runs in this process."""
    clock: Clock = field(default_factory=Clock)
    looks: Pace = field(default_factory=lambda: Pace(burst=600, every_s=0.2))
    """How often one address may look at one approval through its link,"""
    guesses: Pace = field(default_factory=lambda: Pace(burst=30, every_s=2.0))
    """how often one may come with a link that is none,"""
    decisions: Pace = field(default_factory=lambda: Pace(burst=20, every_s=3.0))
    """and how often a form may be sent for one approval."""
    refused: Pace = field(default_factory=lambda: Pace(burst=60, every_s=1.0))
    """How often deliveries to one address may be refused before they are told to come more slowly."""
    shared: Shared = field(default_factory=Shared)
    """What sockets read for each other."""
    account_id: str = DEFAULT
    """Where webhooks and sign-ins belong: there is one account in v1."""


def parts(connection: HTTPConnection) -> Parts:
    return cast(Parts, connection.app.state.parts)
