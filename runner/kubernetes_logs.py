"""A pod's output into lines with cursors: the API server's text as the frames that `docker_logs` reads.

What comes is "TIMESTAMP text" and a newline, however long the line; a kubelet joins what its runtime has cut. Long ones
are cut here, always at the same places, so that a cursor inside one finds it again.
"""

from collections.abc import Iterator

from kit.errors import Fault
from runner.docker_logs import LogReader, stamp
from runner.engine import LogLine

_PIECE = 16 * 1024
_STAMP_MOST = 40


class PodLog:
    """Feed it one opened stream after another; it goes on after its cursor each time."""

    def __init__(self, after: str) -> None:
        self._reader = LogReader(after)
        self._stamp = b""
        self._held = b""

    def reopen(self) -> str:
        """When to begin, as `sinceTime` takes it: the second of the cursor, as servers pass on no more. What was read
        of that second comes again, and is passed over."""
        self._stamp = self._held = b""
        at = self._reader.reopen().at
        return f"{at[:19]}Z" if at else ""

    def feed(self, chunk: bytes) -> Iterator[LogLine]:
        self._held += chunk
        while True:
            if not self._stamp and not self._begin():
                return
            end = self._held.find(b"\n")
            size = end + 1 if 0 <= end < _PIECE else _PIECE
            if len(self._held) < size:
                return
            piece, self._held = self._held[:size], self._held[size:]
            yield from self._reader.feed(_frame(self._stamp, piece))
            if piece.endswith(b"\n"):
                self._stamp = b""

    def rest(self) -> Iterator[LogLine]:
        """What there is of a last line, once the job has ended."""
        if self._stamp:
            yield from self._reader.feed(_frame(self._stamp, self._held))
            self._stamp = self._held = b""
        yield from self._reader.rest()

    def note(self, text: str, at: str) -> LogLine:
        """No output: what the cluster has to say of it."""
        return LogLine(text=text, at=at, cursor=str(self._reader.cursor), ours=True)

    def _begin(self) -> bool:
        """Take the time at the start of a line; False while it is not whole. A line without one is a node's own words,
        as for an output that it no longer has: those are passed over."""
        while True:
            at, space, rest = self._held.partition(b" ")
            if not space and len(self._held) <= _STAMP_MOST and b"\n" not in self._held:
                return False
            if space and _is_stamp(at):
                self._stamp, self._held = at, rest
                return True
            _, newline, rest = self._held.partition(b"\n")
            self._held = rest
            if not newline:
                return False


def _is_stamp(text: bytes) -> bool:
    try:
        stamp(text.decode())
    except (Fault, UnicodeDecodeError):
        return False
    return True


def _frame(at: bytes, text: bytes) -> bytes:
    """As an engine's stream has it: which output, length, entry."""
    entry = at + b" " + text
    return b"\1\0\0\0" + len(entry).to_bytes(4, "big") + entry
