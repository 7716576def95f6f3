"""Which resources somebody wants to hear of, and from whom: a server is asked for what sessions want of it.

Lists and resources are listened to apart. When a server refuses some resources, the others are found by halves, and it
is asked for those from then on: nobody makes it deaf for somebody else. A new wish is news to its own servers only.
When wishes change, what was listened to is let go once the server acknowledged what is wanted now, so nothing is lost
between; for that while an update may be heard twice.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND

from kit.observe import log
from mcp_server.manner import Heard, Manner, Message
from mcp_server.upstream.post import Broken
from mcp_server.upstream.upstream import Upstream

MOST = 100
"""Resources one session may follow."""
FOREVER_S = 86_400.0
PAUSE_S = 5.0
"""Before an upstream that broke off is listened to again."""
APART_S = 1.0
"""Between two changes of what one upstream is asked for."""
SETTLE_S = 10.0
"""How long it has to acknowledge one."""
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class Updates:
    """The wishes of all sessions, and listening to upstreams for them."""

    def __init__(self) -> None:
        self._wanted: Counter[tuple[str, str]] = Counter()
        self._held: Counter[str] = Counter()
        self._refused: set[tuple[str, str]] = set()
        self._revised: dict[str, anyio.Event] = {}

    def hold(self, session_id: str, wanted: Mapping[str, Collection[str]]) -> Callable[[], None]:
        """Want resources, each of its servers, until the returned function is called; MCPError when it is too many."""
        if self._held[session_id] + len(wanted) > MOST:
            text = f"This session may follow {MOST} resources at once. Unsubscribe from some before you add others."
            raise MCPError(code=INVALID_PARAMS, message=text, data={"following": self._held[session_id]})
        pairs = [(server, uri) for uri, servers in wanted.items() for server in servers]
        self._held[session_id] += len(wanted)
        self._count(pairs, 1)

        def release() -> None:
            self._held[session_id] -= len(wanted)
            if not self._held[session_id]:
                del self._held[session_id]
            self._count(pairs, -1)

        return release

    async def follow(self, upstream: Upstream, heard: Heard) -> None:
        """Hear of what is wanted of one upstream, until cancelled."""
        before: _Hearing | None = None
        async with anyio.create_task_group() as listening:
            while True:
                revised = self._revised.setdefault(upstream.name, anyio.Event())
                hearing = _Hearing(heard)
                if uris := self.wanted_of(upstream.name):
                    listening.start_soon(self._hold, upstream, uris, hearing)
                    with anyio.move_on_after(SETTLE_S):
                        await hearing.settled.wait()
                if before is not None:
                    before.scope.cancel()
                before = hearing
                await anyio.sleep(APART_S)
                await revised.wait()

    def wanted_of(self, server: str) -> list[str]:
        """What this server is asked for: what is wanted of it and it did not refuse."""
        return sorted(uri for owner, uri in self._wanted.keys() - self._refused if owner == server)

    def _count(self, pairs: Collection[tuple[str, str]], by: int) -> None:
        before = set(self._wanted)
        for pair in pairs:
            self._wanted[pair] += by
        again = self._refused.intersection(pairs) if by > 0 else frozenset()
        self._refused -= again  # whoever wishes anew finds out anew
        for server in {server for server, _ in again}:
            self._revise(server)
        self._wanted = +self._wanted
        for server in {server for server, _ in before ^ set(self._wanted)}:
            self._revise(server)
        self._refused &= set(self._wanted)

    def _revise(self, server: str) -> None:
        if event := self._revised.pop(server, None):
            event.set()

    async def _hold(self, upstream: Upstream, uris: list[str], hearing: "_Hearing") -> None:
        with hearing.scope:
            await self._hear(upstream, uris, hearing)

    async def _hear(self, upstream: Upstream, uris: list[str], hearing: "_Hearing") -> None:
        settle = hearing.part()

        async def heard(message: Message) -> Message | None:
            if message.get("method") == ACKNOWLEDGED:
                settle()
            return await hearing.heard(message)

        refusal = await listen(upstream, {"resourceSubscriptions": uris}, heard)
        if refusal.code != METHOD_NOT_FOUND and len(uris) > 1:
            async with anyio.create_task_group() as halves:
                for half in (uris[: len(uris) // 2], uris[len(uris) // 2 :]):
                    halves.start_soon(self._hear, upstream, half, hearing)
                await anyio.lowlevel.checkpoint()  # they are parts of it by now
                settle()
            return
        settle()
        if refusal.code != METHOD_NOT_FOUND:
            self._refused.add((upstream.name, uris[0]))
            await anyio.sleep(PAUSE_S)  # others may be refused in the same moment: then all that are left go in one
            self._revise(upstream.name)


class _Hearing:
    """What one upstream is asked for at a time, in one request or several."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.scope = anyio.CancelScope()
        self.settled = anyio.Event()
        self._open = 0

    def part(self) -> Callable[[], None]:
        """One request more; the returned function is called when it was acknowledged or refused, maybe again."""
        self._open += 1
        told = False

        def settle() -> None:
            nonlocal told
            if not told:
                told = True
                self._open -= 1
            if not self._open:
                self.settled.set()

        return settle


async def listen(upstream: Upstream, wanted: Message, heard: Heard) -> MCPError:
    """Hear one upstream out, again and again; ends when it refuses, as one does that knows no subscriptions."""
    asked = {"notifications": wanted}
    while True:
        try:
            await upstream.ready(FOREVER_S)
            await upstream.ask("subscriptions/listen", asked, within=FOREVER_S, manner=Manner(heard=heard))
        except MCPError as error:
            log.debug("no subscriptions", server=upstream.name, reason=error.message)
            return error
        except (Broken, TimeoutError):
            pass
        await anyio.sleep(PAUSE_S)
