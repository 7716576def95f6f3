"""One model call: admit it, ask the provider, pass its words on, and record what it came to on every exit.

The provider is read by a task of its own, so that a silent one can be covered with keep-alive comments, a departed
client does not stop the bill from being exact, and a revoked session ends the stream in the words of its wire.
"""

from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from control.identity import sessions
from control.identity.principals import Principal
from gateway.admission import Admission
from gateway.attempt import Attempt, noted
from gateway.flush import Flush
from gateway.models import Models
from gateway.settings import GatewaySettings
from gateway.stream import END, JSON, KEEP_ALIVE, SSE, Outlet, Pause, following
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.neutral import Delta, Face, Request, Wire
from kit.bus import Bus
from kit.clock import Clock
from kit.errors import Fault, Unauthorized
from kit.journal import Journal
from kit.observe import log

BUFFERED = 64
"""Deltas that may wait for a slow client before the provider has to wait too."""
LOOK_AGAIN_S = 1.0


class Relay:
    """Answers requests of one listener."""

    def __init__(
        self,
        *,
        admission: Admission,
        models: Models,
        flush: Flush,
        journal: Journal,
        bus: Bus,
        settings: GatewaySettings,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._models = models
        self._flush = flush
        self._journal = journal
        self._bus = bus
        self._settings = settings
        self._clock = clock

    async def answer(
        self, token: str, principal: Principal, request: Request, wire: Wire, size: int, outlet: Outlet
    ) -> None:
        """Answer one request. A Fault is raised only while nothing was sent."""
        attempt, target = await self._admission.admit(principal, request, wire.name, size)
        face = wire.face(request, attempt.intent.id, int(self._clock.now().timestamp()))
        try:
            async with anyio.create_task_group() as tasks:
                upstream, deltas = anyio.create_memory_object_stream[Delta](BUFFERED)
                reading = anyio.CancelScope()
                tasks.start_soon(self._read, attempt, target, request, upstream, reading)
                tasks.start_soon(self._until_revoked, token, principal, attempt, reading)
                tasks.start_soon(self._until_left, outlet, attempt, reading)
                async with deltas:
                    deliver = self._stream if request.stream else self._whole
                    await deliver(attempt, face, deltas, outlet)
                tasks.cancel_scope.cancel()
        finally:
            self._settle(attempt)
        if attempt.fault and not outlet.started:
            raise attempt.fault

    async def _read(
        self,
        attempt: Attempt,
        target: Target,
        request: Request,
        upstream: MemoryObjectSendStream[Delta],
        reading: anyio.CancelScope,
    ) -> None:
        """Read the provider to its end; what went wrong is left in the attempt."""
        async with upstream:
            with reading:
                try:
                    await self._pass_on(attempt, target, request, upstream)
                except Fault as fault:
                    attempt.fault = attempt.fault or fault
                except Exception:
                    log.exception("model call broke", alias=target.alias, attempt=attempt.intent.id)
                    attempt.fault = UpstreamFailed("The model call broke inside the gateway.", code="upstream_cut")

    async def _pass_on(
        self, attempt: Attempt, target: Target, request: Request, upstream: MemoryObjectSendStream[Delta]
    ) -> None:
        async with aclosing(self._models.provider(target).stream(target, request)) as deltas:
            while True:
                try:
                    with anyio.fail_after(target.settings.stream_idle_s):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    raise UpstreamFailed("The model went silent.", code="upstream_stalled") from error
                attempt.saw(delta)
                await upstream.send(delta)
        if not attempt.stopped:
            raise UpstreamFailed("The model's answer was cut off.", code="upstream_cut")

    async def _stream(
        self, attempt: Attempt, face: Face, deltas: MemoryObjectReceiveStream[Delta], outlet: Outlet
    ) -> None:
        """Headers at once, unless the provider says no right away: then our client gets a real status."""
        item = await following(deltas, self._settings.patience_s)
        if item is END and attempt.fault:
            return
        await outlet.start(200, SSE)
        await outlet.write(face.begin())
        while item is not END:
            await outlet.write(KEEP_ALIVE if isinstance(item, Pause) else face.render(item))  # type: ignore[arg-type]
            item = await following(deltas, self._settings.keepalive_s)
        await outlet.write(face.fail(attempt.fault) if attempt.fault else face.end(), last=True)

    async def _whole(
        self, attempt: Attempt, face: Face, deltas: MemoryObjectReceiveStream[Delta], outlet: Outlet
    ) -> None:
        async for delta in deltas:
            face.render(delta)
        if attempt.fault is None:
            await outlet.whole(200, face.body(), JSON)

    async def _until_revoked(
        self, token: str, principal: Principal, attempt: Attempt, reading: anyio.CancelScope
    ) -> None:
        """End the call when its session ends: at once by the wake-up, within a second otherwise."""
        with self._bus.watch(sessions.topic(principal.session_id)) as watch:
            while True:
                await watch.changed(LOOK_AGAIN_S)
                try:
                    await self._admission.identify(token)
                except Unauthorized as fault:
                    attempt.fault = fault
                    return reading.cancel()
                except Exception:  # the database does not answer: that alone ends no stream
                    log.exception("could not look after a session", session=principal.session_id)

    async def _until_left(self, outlet: Outlet, attempt: Attempt, reading: anyio.CancelScope) -> None:
        """A client that left is still billed exactly: the answer is read to its end, within bounds."""
        await outlet.left()
        await anyio.sleep(self._settings.drain_s)
        attempt.fault = Fault("client_left", "The client left and the answer did not end in time.")
        reading.cancel()

    def _settle(self, attempt: Attempt) -> None:
        """Into the journal, so that the figures survive us, and on to the flush. Never waits: it may be cancelled."""
        happened = attempt.happened()
        self._journal.note(attempt.intent.id, noted(happened))
        self._flush.put(happened)
