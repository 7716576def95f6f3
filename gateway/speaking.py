"""Three ways to answer one attempt: `Passing` bytes through, `Reading` another dialect, `Telling` deltas.

Each feeds its attempt's figures while it speaks; what goes wrong is an `UpstreamFailed`. Neighbours: `voices` chooses,
`client` carries, `dialects/` meter and read.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Protocol

from gateway.attempt import Attempt
from gateway.client import Answer
from gateway.dialects.dialect import Broken, Meter, Reader
from gateway.post import Post
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.neutral import Delta, Face
from kit.errors import Fault

OPENING_S = 2.0
"""How long the events before the first word of an answer are held back: while they are, another may be asked."""
OPENING_BYTES = 64 * 1024
Put = Callable[[bytes], Awaitable[None]]


class Voice(Protocol):
    """One attempt's way to speak."""

    dropped: tuple[str, ...]
    """What of the request its provider is not told."""
    size: int
    """Bytes that its provider is told, which may be more than the client sent."""

    async def whole(self, attempt: Attempt) -> bytes:
        """The whole answer, in the words of the client's wire."""

    async def stream(self, attempt: Attempt, put: Put) -> None:
        """The answer's bytes, piece by piece and to their proper end."""

    def fail(self, fault: Fault) -> bytes:
        """The terminal event of a stream that broke."""


class Passing:
    """The provider speaks as the client does: its bytes go through while a meter looks on."""

    def __init__(self, post: Post, meter: Meter, dropped: tuple[str, ...]) -> None:
        self._post = post
        self._meter = meter
        self._held = b""  # events before the first word: until they went out, another upstream may be asked
        self._held_until = 0.0
        self.dropped = dropped
        self.size = post.size

    async def whole(self, attempt: Attempt) -> bytes:
        body = await self._post.whole(attempt, self._meter.whole)
        attempt.metered(self._meter)
        _check_end(attempt)
        return body

    async def stream(self, attempt: Attempt, put: Put) -> None:
        answer = await self._post.send(attempt)
        try:
            await self._pass(answer, attempt, put)
        except UpstreamFailed:
            if not attempt.stopped:  # what breaks behind the end of an answer breaks nothing
                raise
        finally:
            answer.close()
        _check_end(attempt)
        if rest := self._meter.end():
            await put(rest)

    async def _pass(self, answer: Answer, attempt: Attempt, put: Put) -> None:
        more = True
        while more and not self._meter.finished:
            data = await (self._next(answer, attempt, put) if self._held else answer.more())
            more = bool(data)
            try:
                self._held += self._meter.feed(data)
            except ValueError as error:
                self._held += error.passed if isinstance(error, Broken) else b""
                attempt.counted(self._meter.counted)
                if self._held and (attempt.began or self._meter.heard):
                    await self._let_go(attempt, put)
                raise self._post.broken(error, attempt) from error
            if self._held and (attempt.began or self._opened(attempt)):
                await self._let_go(attempt, put)
        if attempt.began:
            attempt.metered(self._meter)
        await answer.rest()

    def _opened(self, attempt: Attempt) -> bool:
        """Does what is held say something, or has it waited long enough?"""
        now, meter = asyncio.get_running_loop().time(), self._meter
        attempt.counted(meter.counted)
        self._held_until = self._held_until or now + OPENING_S
        full = now >= self._held_until or len(self._held) > OPENING_BYTES
        return full or meter.heard > 0 or meter.stopped or meter.finished

    async def _next(self, answer: Answer, attempt: Attempt, put: Put) -> bytes:
        """The next bytes; when they take too long, what is held goes out before them."""
        try:
            async with asyncio.timeout_at(self._held_until):
                return await answer.more()
        except TimeoutError:
            await self._let_go(attempt, put)
            return await answer.more()

    async def _let_go(self, attempt: Attempt, put: Put) -> None:
        held, self._held = self._held, b""
        attempt.metered(self._meter)
        await put(held)

    def fail(self, fault: Fault) -> bytes:
        return self._held + self._meter.fail(fault)


class _Rendered:
    """Deltas in the words of the client's wire."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self._begun = False

    def render(self, deltas: Iterable[Delta], attempt: Attempt) -> bytes:
        """Bytes for some deltas; the beginning goes before the first."""
        pieces = []
        for delta in deltas:
            attempt.saw(delta)
            if attempt.began:
                pieces.append(self._begin())
            pieces.append(self.face.render(delta))
        return b"".join(pieces)

    def end(self) -> bytes:
        return self._begin() + self.face.end()

    def fail(self, fault: Fault) -> bytes:
        return self._begin() + self.face.fail(fault)

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self.face.begin()


class Reading(_Rendered):
    """The provider speaks another dialect that we read ourselves."""

    def __init__(self, post: Post, reader: Reader, face: Face, dropped: tuple[str, ...]) -> None:
        super().__init__(face)
        self._post = post
        self._reader = reader
        self.dropped = dropped
        self.size = post.size

    async def whole(self, attempt: Attempt) -> bytes:
        await self._post.whole(attempt, lambda body: self.render(self._reader.whole(body), attempt))
        _check_end(attempt)
        return self.face.body()

    async def stream(self, attempt: Attempt, put: Put) -> None:
        answer = await self._post.send(attempt)
        try:
            more = True
            while more and not attempt.stopped:
                data = await answer.more()
                more = bool(data)
                await self._say(data, attempt, put)
            _check_end(attempt)
            await put(self.end())
            await answer.rest()
        finally:
            answer.close()

    async def _say(self, data: bytes, attempt: Attempt, put: Put) -> None:
        try:
            said = self.render(self._reader.feed(data), attempt)
        except ValueError as error:
            before = error.deltas if isinstance(error, Broken) else ()
            if said := self.render(before, attempt):
                await put(said)
            raise self._post.broken(error, attempt) from error
        if said:
            await put(said)


class Telling(_Rendered):
    """LiteLLM, or a script, tells us what the model said, delta by delta."""

    def __init__(
        self, deltas: AsyncGenerator[Delta, None], target: Target, face: Face, dropped: tuple[str, ...], size: int
    ) -> None:
        super().__init__(face)
        self._deltas = deltas
        self._idle_s = target.settings.stream_idle_s
        self.dropped = dropped
        self.size = size

    async def whole(self, attempt: Attempt) -> bytes:
        await self.stream(attempt, _nowhere)
        return self.face.body()

    async def stream(self, attempt: Attempt, put: Put) -> None:
        async with aclosing(self._deltas) as deltas:
            while True:
                try:
                    async with asyncio.timeout(self._idle_s):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    raise UpstreamFailed("The model went silent.", code="upstream_stalled") from error
                if said := self.render((delta,), attempt):
                    await put(said)
        _check_end(attempt)
        await put(self.end())


async def _nowhere(_: bytes) -> None:
    """For a whole answer: its face remembers."""


def _check_end(attempt: Attempt) -> None:
    if not attempt.stopped:
        raise UpstreamFailed("The model's answer was cut off.", code="upstream_cut")
