"""Bytes of output into lines of text, for every engine alike: bounded, decodable, storable.

A line longer than `LIMIT` bytes is cut, and each further piece begins with `CONTINUED`, so that the middle of a long
line can never look like a line of the entry script.
"""

from collections.abc import Iterator
from dataclasses import dataclass

LIMIT = 64 * 1024
CONTINUED = "… "


def decode(raw: bytes | bytearray, *, continued: bool) -> str:
    """NUL goes with what is no UTF-8: PostgreSQL stores text without it."""
    text = raw.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return CONTINUED + text if continued else text


def storable(text: str) -> str:
    """What JSON's escapes stood for: two halves of a character are one; a half (CLIs cut by UTF-16) and NUL go."""
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True, slots=True)
class Line:
    """`pending`: how many of the bytes fed so far come after it. `cut`: the line goes on in the next piece."""

    text: str
    pending: int
    cut: bool


class LineSplitter:
    """Feed it bytes as they come; it keeps what is not a whole line yet. `continued`: they begin inside a cut line."""

    def __init__(self, *, limit: int = LIMIT, continued: bool = False) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._continued = continued

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Each whole line without its newline, and the pieces of those that are too long."""
        self._pending += chunk
        at = 0
        try:
            while at < len(self._pending):
                end = self._pending.find(b"\n", at, at + self._limit + 1)
                cut = end < 0
                if cut and len(self._pending) - at <= self._limit:
                    return
                text = decode(self._pending[at : at + self._limit if cut else end], continued=self._continued)
                at = at + self._limit if cut else end + 1
                self._continued = cut
                yield Line(text, len(self._pending) - at, cut)
        finally:
            del self._pending[:at]

    def rest(self) -> Iterator[str]:
        """What stands after the last newline once the output has ended."""
        if self._pending:
            yield decode(self._pending, continued=self._continued)
            self._pending.clear()
