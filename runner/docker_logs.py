"""The log stream of a Docker Engine into lines with cursors, without a gap and without a double.

A stream is a sequence of frames: 8 bytes (stream, length), then one log entry "TIMESTAMP text". The engine cuts lines
into entries of 16 KB; they are put together again up to `LIMIT`. stdout and stderr are one sequence here, as the entry
script makes them one. A cursor is `TIMESTAMP#n`: n entries of that nanosecond were read; a `+` says: inside a cut line.
Whatever offset and precision an engine writes, times are in one form here, UTC with nine digits, and compare as text.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from kit.errors import Fault
from runner.engine import LogLine
from runner.lines import LIMIT, decode

_HEADER = 8
_ENTRY_BYTES = 16 * 1024
_AS_STORED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Cursor(NamedTuple):
    at: str = ""
    entries: int = 0
    cut: bool = False

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        at, _, count = text.removesuffix("+").partition("#")
        return cls(at and stamp(at), int(count or 0), text.endswith("+"))

    def __str__(self) -> str:
        return f"{self.at}#{self.entries}{'+' if self.cut else ''}" if self.at else ""

    @property
    def since(self) -> str:
        """As the engine's `since` parameter takes it: seconds.nanoseconds; entries of that very moment come again."""
        if not self.at:
            return "0"
        seconds, _, nanoseconds = self.at.removesuffix("Z").partition(".")
        return f"{int(datetime.fromisoformat(seconds + '+00:00').timestamp())}.{nanoseconds}"


class LogReader:
    """Feed it the bytes of one opened stream after another; it goes on after its cursor each time."""

    def __init__(self, after: str) -> None:
        self.cursor = Cursor.parse(after)
        self._bytes = bytearray()
        self._line = bytearray()
        self._continued = self.cursor.cut
        self._place = self.cursor
        self._to_skip = self.cursor.entries

    def reopen(self) -> Cursor:
        """Forget what was read of an unfinished line; the new stream begins at this cursor."""
        self._bytes.clear()
        self._line.clear()
        self._continued = self.cursor.cut
        self._place = self.cursor
        self._to_skip = self.cursor.entries
        return self.cursor

    def feed(self, chunk: bytes) -> Iterator[LogLine]:
        self._bytes += chunk
        at = 0
        try:
            while len(self._bytes) - at >= _HEADER:
                end = at + _HEADER + int.from_bytes(self._bytes[at + 4 : at + _HEADER], "big")
                if end > len(self._bytes):
                    return
                at_, _, text = bytes(self._bytes[at + _HEADER : end]).partition(b" ")
                at, when = end, stamp(at_.decode())
                if self._to_skip and when > self._place.at:
                    yield self._lost(when)
                if (line := self._take(when, text)) is not None:
                    yield line
        finally:
            del self._bytes[:at]

    def rest(self) -> Iterator[LogLine]:
        """A last line without a newline, once the job has ended."""
        if self._line:
            yield self._emit(cut=False)

    def _lost(self, when: str) -> LogLine:
        """The entry at the cursor did not come back: what stood between it and this one, if anything, went with it."""
        between = f"Output between {self._place.at} and {when}"
        text = f"{between} may be lost: the engine had rotated its log before it was read."
        return LogLine(text=text, at=when, cursor=str(self.cursor), ours=True)

    def _take(self, stamp: str, text: bytes) -> LogLine | None:
        if self._to_skip and stamp <= self._place.at:
            self._to_skip -= stamp == self._place.at
            return None
        self._to_skip = 0
        count = self._place.entries + 1 if stamp == self._place.at else 1
        self._place = Cursor(stamp, count)
        whole = text.endswith(b"\n")
        self._line += text[:-1] if whole else text
        if whole:
            return self._emit(cut=False)
        return self._emit(cut=True) if len(self._line) > LIMIT - _ENTRY_BYTES else None

    def _emit(self, *, cut: bool) -> LogLine:
        self.cursor = Cursor(self._place.at, self._place.entries, cut)
        line = LogLine(text=decode(self._line, continued=self._continued), at=self._place.at, cursor=str(self.cursor))
        self._line.clear()
        self._continued = cut
        return line


def stamp(text: str) -> str:
    """The same moment in UTC with nine digits: '…T10:30:36.5+01:00' → '…T09:30:36.500000000Z'."""
    if _AS_STORED.fullmatch(text):
        return text
    found = _STAMP.fullmatch(text)
    if found is None:
        raise Fault("engine_refused", f"The engine's log has {text[:40]!r} where a time should be.")
    seconds, fraction, offset = found.groups("")
    if offset != "Z":
        seconds = datetime.fromisoformat(seconds + offset).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{fraction:0<9}Z"
