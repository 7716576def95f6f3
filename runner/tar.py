"""A tar stream read with distrust, piece by piece: what an agent left, without anything being extracted. Pure.

Plain POSIX entries are read, with long names (pax `path`, GNU `L`) and sizes that no header can hold (pax `size`).
Whatever makes readers disagree about where an entry ends (another size in a pax record, sparse files, a link with
content, an unknown type) ends the reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

BLOCK = 512
LONGEST = 64 << 10
"""Bytes of a pax record or a long name."""
LARGE = 8 << 30
"""Bytes that are more than a header's own field can say."""


class Kind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a link, a device, a pipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`name` as it was written; what is no UTF-8 in it became U+FFFD."""

    name: str
    kind: Kind
    size: int = 0


class Malformed(ValueError):
    """This is no tar, or one that can be read in two ways."""


_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"5": Kind.FOLDER} | dict.fromkeys(
    (b"1", b"2", b"3", b"4", b"6"), Kind.OTHER
)


class TarReader:
    """Feed it what comes; it tells each entry, then that entry's content in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._left = 0
        self._padding = 0
        self._name: str | None = None
        self._size: int | None = None
        self.ended = False
        """The end was told: whatever follows is nothing."""

    def feed(self, chunk: bytes) -> Iterator[Entry | bytes]:
        """Raises `Malformed`."""
        self._held += chunk
        while not self.ended:
            if self._left:
                piece = self._take(min(self._left, len(self._held)))
                self._left -= len(piece)
                if not piece:
                    return
                yield piece
            elif len(self._held) < self._padding + BLOCK:
                return
            else:
                self._take(self._padding)
                self._padding = 0
                entry = self._next()
                if entry is None:
                    return
                yield entry

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def _next(self) -> Entry | None:
        """None when the tar is over, or when the next header is not all there."""
        while len(self._held) >= BLOCK:
            block = bytes(self._held[:BLOCK])
            if not any(block):
                self.ended = True
                return None
            _check(block)
            kind, size = block[156:157], _number(block[124:136])
            if kind not in (b"x", b"L"):
                self._take(BLOCK)
                return self._entry(block, kind, size)
            if size > LONGEST:
                raise Malformed("a name is too long")
            whole = BLOCK + size + -size % BLOCK
            if len(self._held) < whole:
                return None
            told = self._take(whole)[BLOCK : BLOCK + size]
            if kind == b"x":
                self._name, self._size = _pax(told)
            else:
                self._name = _text(told.split(b"\0")[0])
        return None

    def _entry(self, block: bytes, kind: bytes, size: int) -> Entry:
        found = _KINDS.get(kind)
        size, self._size = self._size or size, None
        if found is None or (found is not Kind.FILE and size):
            raise Malformed(f"an entry of type {kind!r} with {size} bytes")
        name, self._name = self._name or _name(block), None
        if kind == b"\0" and name.endswith("/"):
            found, size = Kind.FOLDER, 0
        self._left, self._padding = size, -size % BLOCK
        return Entry(name=name.rstrip("/") if found is Kind.FOLDER else name, kind=found, size=size)


def _check(block: bytes) -> None:
    if block[257:262] != b"ustar":
        raise Malformed("a header is none")
    if sum(block[:148]) + 8 * 32 + sum(block[156:]) != _number(block[148:156]):
        raise Malformed("a header's sum is wrong")


def _number(field: bytes) -> int:
    """Octal digits; the other spelling is for sizes that nobody keeps."""
    digits = field.strip(b" \0")
    if not digits or not all(48 <= digit <= 55 for digit in digits):
        if digits:
            raise Malformed("a number is none")
        return 0
    return int(digits, 8)


def _name(block: bytes) -> str:
    name, prefix = (part.split(b"\0")[0] for part in (block[:100], block[345:500]))
    posix = block[257:263] == b"ustar\0"
    return _text(prefix + b"/" + name if posix and prefix else name)


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _pax(told: bytes) -> tuple[str | None, int | None]:
    """Path and size, where records `LENGTH KEY=VALUE\\n` (POSIX pax) say them."""
    path, size, at = None, None, 0
    while at < len(told):
        digits, space, _ = told[at : at + 20].partition(b" ")
        if not space or not digits.isdigit():
            raise Malformed("a pax record has no length")
        end = at + int(digits)
        key, equals, value = told[at + len(digits) + 1 : end - 1].partition(b"=")
        if end > len(told) or told[end - 1 : end] != b"\n" or not equals:
            raise Malformed("a pax record is not whole")
        if key == b"path":
            path = _text(value)
        elif key == b"size" and value.isdigit() and len(value) < 20 and int(value) >= LARGE:
            size = int(value)
        elif key == b"size" or key.startswith(b"GNU.sparse"):
            raise Malformed(f"a pax record says {key.decode(errors='replace')}")
        at = end
    return path, size
