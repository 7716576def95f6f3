"""One model call: attempt after attempt until one answers, its words passed on, every attempt settled on every exit.

A whole answer is one request upstream and one write. A stream has a task that reads the provider into a pipe, so that a
silent one can be covered with pauses and a departed client does not stop the bill from being exact.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from gateway import figures
from gateway.admission import Admission
from gateway.attempt import Attempt, moved
from gateway.call import Call
from gateway.dialects.counting import Counting
from gateway.flush import Flush
from gateway.holds import Holds
from gateway.lookout import Lookout
from gateway.routing import Routing, Step
from gateway.settings import GatewaySettings
from gateway.speaking import Voice
from gateway.stream import END, JSON, SSE, End, Pause, Pipe
from gateway.upstream import Key, Route, Target, UpstreamFailed
from gateway.voices import Voices
from gateway.wires.neutral import Face
from kit.clock import Clock
from kit.errors import Fault
from kit.ids import new_id
from kit.observe import log

SILENT_MOST_S = 10.0
"""How long a stream's client waits for its headers while upstreams refuse one after the other."""
Speak = Callable[[Voice, Attempt], Awaitable[None]]


class Relay:
    """Answers the calls of one listener."""

    def __init__(
        self,
        *,
        admission: Admission,
        routing: Routing,
        voices: Voices,
        holds: Holds,
        flush: Flush,
        lookout: Lookout,
        settings: GatewaySettings,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._routing = routing
        self._voices = voices
        self._holds = holds
        self._flush = flush
        self._lookout = lookout
        self._settings = settings
        self._clock = clock
        self._shown: dict[Key, bool] = {}

    async def answer(self, call: Call) -> None:
        """Answer one call. A Fault is raised only while nothing was sent."""
        route = self._admission.route(call)
        call.drains = route.settings.on_disconnect == "drain"
        place = await self._admission.enter(call, route)
        self._lookout.begin(call)
        figures.RUNNING.add()
        try:
            await (self._stream(call, route) if call.request.stream else self._whole(call, route))
        finally:
            figures.RUNNING.add(by=-1)
            self._lookout.finish(call)
            self._admission.leave(place)

    async def count(self, counting: Counting, call: Call) -> bytes:
        """How many tokens a request has. Nothing is spent; the alias and the pace are checked all the same."""
        route = self._admission.route(call)
        place = await self._admission.enter(call, route)
        try:
            body = await self._voices.counted(counting, route.targets[0], call.request)
            if not counting.counts(body):
                raise UpstreamFailed("The provider's count can't be read.", code="upstream_cut")
            return body
        finally:
            self._admission.leave(place)

    async def _whole(self, call: Call, route: Route) -> None:
        body = b""

        async def speak(voice: Voice, attempt: Attempt) -> None:
            nonlocal body
            body = await voice.whole(attempt)

        with call.reading:
            await self._ask(call, route, speak)
        if call.fault:
            raise call.fault
        await call.outlet.whole(200, body, JSON)

    async def _stream(self, call: Call, route: Route) -> None:
        reading = _Reading()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, call, route, reading)
            await self._deliver(call, reading)
        if reading.fault and not call.outlet.started:
            raise reading.fault

    async def _read(self, call: Call, route: Route, reading: "_Reading") -> None:
        """Read the provider to its end; what went wrong is left in `reading`."""

        async def speak(voice: Voice, attempt: Attempt) -> None:
            reading.voice = voice
            await voice.stream(attempt, reading.pipe.put)

        try:
            with call.reading:
                await self._ask(call, route, speak)
            reading.fault = call.fault
        except Fault as fault:
            reading.fault = fault
        except Exception:
            log.exception("model call broke", alias=route.alias)
            reading.fault = Fault("internal_error", "The gateway broke on this request.", "The log says why.")
        finally:
            reading.pipe.end()

    async def _deliver(self, call: Call, reading: "_Reading") -> None:
        """Headers at once, unless the provider says no right away: then our client gets a real status."""
        outlet, pipe = call.outlet, reading.pipe
        item = await self._first(call, pipe)
        if item is END and reading.fault:
            return
        await outlet.start(200, SSE)
        while item is not END:
            if isinstance(item, bytes):
                await outlet.write(item)
            elif pipe.between:
                await outlet.write(call.wire.keep_alive)
                figures.KEEP_ALIVES.add(call.wire.name)
            item = await pipe.take(self._settings.keepalive_s)
        await outlet.write(self._failure(call, reading), last=True)

    async def _first(self, call: Call, pipe: Pipe) -> bytes | Pause | End:
        """What comes within our patience, which begins anew with every upstream that is asked."""
        until = self._clock.monotonic() + SILENT_MOST_S
        item = await pipe.take(self._settings.patience_s)
        while isinstance(item, Pause) and (left_s := min(call.hopeful_until, until) - self._clock.monotonic()) > 0:
            item = await pipe.take(left_s)
        return item

    def _failure(self, call: Call, reading: "_Reading") -> bytes:
        if reading.fault is None:
            return b""
        gap = b"" if reading.pipe.between else b"\n\n"
        if reading.voice is None:
            return self._face(call, "att_none").fail(reading.fault)
        return gap + reading.voice.fail(reading.fault)

    def _face(self, call: Call, id_: str) -> Face:
        return call.wire.face(call.request, id_, int(self._clock.now().timestamp()))

    async def _ask(self, call: Call, route: Route, speak: Speak) -> None:
        """Attempt after attempt until one answers; the Fault of the last one when none does. An upstream that can't be
        asked this is left out, and a call that no upstream can be asked gets the first reason."""
        tried: list[Target] = []
        failed: Attempt | None = None
        unfit: Fault | None = None
        target = self._begin(call, route, None)
        while True:
            attempt = await self._try(call, target, len(tried), speak)
            if isinstance(attempt, Fault):
                self._admission.skipped(call, target, attempt)
                unfit = unfit or attempt
                route = replace(route, targets=tuple(one for one in route.targets if one is not target))
            else:
                tried.append(target)
                failed = attempt
            if failed is None:
                target = self._begin(call, route, unfit)
                continue
            if failed.fault is None:
                return
            gone = failed.began or call.outlet.gone
            step = None if gone else await self._move(call, route, tried, failed)
            if step is None:
                raise failed.fault
            target = step.target

    def _begin(self, call: Call, route: Route, unfit: Fault | None) -> Target:
        """Whom to ask, taken; the Fault, noted, when there is nobody."""
        try:
            if unfit and not route.targets:
                raise unfit
            target = self._routing.first(route).target
        except Fault as fault:
            self._admission.refused(call, fault)
            raise
        self._routing.take(target)
        return target

    async def _move(self, call: Call, route: Route, tried: list[Target], attempt: Attempt) -> Step | None:
        """Where to go on, taken once its wait is over: a call that ends while it waits keeps nobody from trying."""
        assert attempt.fault
        while step := self._routing.next(route, tried, attempt.fault):
            self._flush.put(moved(attempt.intent, step, attempt.fault))
            figures.MOVES.add(route.alias, step.move)
            call.hopeful_until = self._clock.monotonic() + step.wait_s + self._settings.patience_s
            if step.wait_s:
                await anyio.sleep(step.wait_s)
            if self._routing.take(step.target):
                return step
        return None

    async def _try(self, call: Call, target: Target, number: int, speak: Speak) -> Attempt | Fault:
        """One attempt, settled whatever became of it; a Fault when this upstream can't be asked this. Only what came
        before it began is raised."""
        attempt: Attempt | None = None
        try:
            id_ = new_id("att")
            try:
                voice = await self._voices.of(target, call.request, call.wire, lambda: self._face(call, id_))
            except Fault as unfit:
                return unfit
            attempt = await self._admission.admit(call, target, id_, number, voice.dropped, voice.size)
            await speak(voice, attempt)
        except Fault as fault:
            if attempt is None:
                raise
            attempt.fault = fault
        except Exception:
            if attempt is None:
                raise
            log.exception("model call broke", alias=target.alias, attempt=attempt.intent.id)
            attempt.fault = UpstreamFailed("The model call broke inside the gateway.", code="upstream_cut")
        finally:
            self._settle(call, target, attempt)
        return attempt

    def _settle(self, call: Call, target: Target, attempt: Attempt | None) -> None:
        """Never waits: it may be cancelled."""
        if attempt is None:
            self._routing.went(target, None, ended=False)
            return
        attempt.fault = attempt.fault or call.fault
        self._routing.went(target, attempt.fault, ended=attempt.stopped)
        happened = attempt.happened()
        self._holds.settle(happened)
        if happened.entry:
            figures.count(happened.entry)
        self._show(target)

    def _show(self, target: Target) -> None:
        opened = self._routing.open(target)
        if self._shown.get(target.key) is not opened:
            self._shown[target.key] = opened
            place = (target.provider, target.model)
            open_ = any(found for key, found in self._shown.items() if key[:2] == place)
            figures.BREAKER.put(float(open_), *place)


class _Reading:
    """What the task that reads leaves for the one that writes."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.voice: Voice | None = None
        self.fault: Fault | None = None
