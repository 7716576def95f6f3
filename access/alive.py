"""Is the session behind a connection alive? Its end in this process is heard at once, one elsewhere in a second."""

from collections.abc import Awaitable, Callable

import anyio

from control.identity import sessions
from control.identity.doorkeeper import Doorkeeper
from kit.bus import Bus
from kit.errors import Unauthorized
from kit.observe import log

LOOK_S = 1.0


async def until_ended(bus: Bus, doorkeeper: Doorkeeper, token: str, session_id: str) -> None:
    """Returns when the session has ended."""
    with bus.watch(sessions.topic(session_id)) as watch:
        while True:
            try:
                await doorkeeper.admit(token)
            except Unauthorized:
                return
            except Exception:  # the database does not answer: that alone ends no connection
                log.exception("could not look after a session")
            await watch.changed(LOOK_S)


async def unless(ended: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]) -> bool:
    """Do the work, or cut it when `ended` returns before: False then. What the work raises is raised."""
    failed: Exception | None = None
    cut = False
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal cut
            await ended()
            cut = True
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            await work()
        except Exception as error:
            failed = error
        tasks.cancel_scope.cancel()
    if failed:
        raise failed
    return not cut
