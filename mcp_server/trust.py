"""Which definitions are served, as this process knows it: the rows of `approvals/pins`, read again when they change.

An upstream that learned its tools comes here first: they are recorded and judged before anybody is offered one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from control.approvals import pins
from control.identity.accounts import DEFAULT
from kit import canonical
from kit.bus import Bus
from kit.db import Database
from kit.observe import log
from mcp_server.schema import Definition, Unusable
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.upstream import Learned

LOOK_S = 1.0
"""How late this process may learn of what another one accepted."""
_Key = tuple[str, str]


def topic(server: str) -> str:
    """Woken when other tools of this server are served than before."""
    return f"served:{server}"


class Trust:
    """The accepted digests of all tools. `generation` moves when they do."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db = db
        self._bus = bus
        self._accepted: dict[_Key, str] = {}
        self._held: dict[_Key, Row[Any]] = {}
        self.generation = 0

    async def run(self) -> None:
        """Keep up with decisions until cancelled."""
        with self._bus.watch(pins.TOPIC) as news:
            while True:
                await news.changed(LOOK_S)
                try:
                    await self.refresh()
                except Exception:
                    log.exception("accepted tools could not be read and will be read again")

    async def refresh(self) -> None:
        rows = await pins.current(self._db, DEFAULT)
        accepted = {(row.server, row.tool): row.digest for row in rows if row.status == pins.Status.ACCEPTED}
        held = {(row.server, row.tool): row for row in rows if row.status != pins.Status.ACCEPTED}
        before = self._accepted
        if accepted != before or held.keys() != self._held.keys():
            self.generation += 1
        self._accepted, self._held = accepted, held
        for server in {key[0] for key in accepted.keys() | before.keys() if accepted.get(key) != before.get(key)}:
            self._bus.publish(topic(server))

    def learner(self, server: str, settings: UpstreamServer) -> Learned:
        """What an upstream tells its tools to."""
        pin = settings.pin
        trust = pins.Trust(first_use=pin == "first-use", pinned=pin if isinstance(pin, dict) else None)

        async def learned(found: Sequence[Definition], left_out: Sequence[Unusable]) -> None:
            seen = [pins.Seen(tool=d.tool, digest=d.digest, raw=canonical.dumps(d.raw)) for d in found]
            for each in left_out:
                digest = canonical.digest(canonical.parse(each.raw))
                seen.append(pins.Seen(tool=each.tool, digest=digest, raw=each.raw, flaw=each.reason))
            await self._db.write(lambda tx: pins.see(tx, DEFAULT, server, seen, trust))
            await self.refresh()
            self._bus.publish(topic(server))
            if waiting := sorted(d.tool for d in found if not self.serves(d)):
                log.warning("tools wait for an admin", server=server, tools=waiting, hint="preloop tools list")

        return learned

    def serves(self, definition: Definition) -> bool:
        return self._accepted.get((definition.server, definition.tool)) == definition.digest

    def refusal(self, name: str, definition: Definition) -> str:
        """Why this tool is not served, for the agent that called it."""
        row = self._held.get((definition.server, definition.tool))
        return pins.refusal(name, definition.server, definition.tool, row)
