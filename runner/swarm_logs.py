"""A task's output into lines: an engine's frames, and between them a manager's own words where it can't read on."""

from collections.abc import Iterator

from kit.clock import Clock, rfc3339
from runner.docker_logs import LogReader
from runner.engine import LogLine

_HEADER = 8
_SYSTEM = 3  # the stream of what is no output


class TaskLog:
    """Feed it one opened stream after another; it goes on after its cursor each time."""

    def __init__(self, after: str) -> None:
        self._reader = LogReader(after)
        self._held = bytearray()
        self.broken = False
        """Did the manager say that something of it could not be read?"""

    def reopen(self) -> str:
        """When to begin, as the `since` of an engine."""
        self._held.clear()
        self.broken = False
        return self._reader.reopen().since

    def feed(self, chunk: bytes) -> Iterator[LogLine]:
        self._held += chunk
        while len(self._held) >= _HEADER:
            end = _HEADER + int.from_bytes(self._held[4:_HEADER], "big")
            if len(self._held) < end:
                return
            frame = bytes(self._held[:end])
            del self._held[:end]
            if frame[0] == _SYSTEM:
                self.broken = True
            else:
                yield from self._reader.feed(frame)

    def rest(self) -> Iterator[LogLine]:
        """A last line without a newline, once the job has ended."""
        return self._reader.rest()

    def note(self, text: str) -> LogLine:
        """No output: what the swarm has to say of it."""
        return LogLine(text=text, at=rfc3339(Clock().now()), cursor=str(self._reader.cursor), ours=True)
