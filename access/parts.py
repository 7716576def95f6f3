"""What the egress and git doors share: whose token it is, until when, how much it may move, and the run's record."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from access.alive import until_ended
from access.allowance import Allowance
from control import events
from control.identity.doorkeeper import Doorkeeper
from control.identity.principals import Principal
from kit.bus import Bus
from kit.db import Database

RECORD_S = 5.0
"""How long the end of a connection may take to be written down when we stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Of one process; the doorkeeper is that of the containers' listener."""

    db: Database
    bus: Bus
    doorkeeper: Doorkeeper
    allowance: Allowance

    def ended(self, token: str, principal: Principal) -> Callable[[], Awaitable[None]]:
        """What returns when the session has ended."""
        return partial(until_ended, self.bus, self.doorkeeper, token, principal.session_id)

    async def tell(self, principal: Principal, type_: str, **data: object) -> int:
        """An event on the execution; its number."""
        return await self.db.write(lambda tx: events.append(tx, principal.account_id, principal.stream, type_, **data))

    async def tell_end(self, principal: Principal, type_: str, **data: object) -> None:
        """The same of what is over, also while we stop."""
        with anyio.move_on_after(RECORD_S, shield=True):
            await self.tell(principal, type_, **data)
