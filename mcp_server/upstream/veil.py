"""The credentials we send to a tool server, taken out of whatever it says again: the agent must not read them there.

Looked for in the bytes as they came, before anything is stored or passed on, and in what their escapes stand for, also
inside a text that is JSON once more. Found are the value itself, its hexadecimal digits, and base64 in one piece,
wherever in the encoded text it stands. One that the server encodes otherwise is not found.

Whether there is one at all is seen with the escapes of all levels read at once, in time that grows with the answer.
Only then places are mapped, level by level; an answer with one and with more escapes than `ESCAPES` is refused.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

import anyio

from kit import redaction
from kit.masking import MASK

DEPTH = 5
"""Texts that are looked at: the bytes as they came, and each time what the escapes in the one before stand for."""
ESCAPES = 100_000
"""Backslashes in an answer that holds a credential."""
AT_ONCE = 2_000
"""With more backslashes than that an answer is looked at in a thread."""
_MARK = MASK.encode()
_NUMBERS = re.compile(rb"(?<!\\)(\\++u[dD][89abAB][0-9a-fA-F]{2}\\++u[dD][c-fC-F][0-9a-fA-F]{2}|\\++u[0-9a-fA-F]{4})")
"""Characters written by their numbers, with the backslashes of however many levels."""
_ESCAPES = re.compile(rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[\"\\/bfnrt])")
_LETTERS = bytes.maketrans(b"\b\f\n\r\t", b"bfnrt")


class Unreadable(Exception):
    """An answer holds a credential and is too long to take it out."""


class Veil:
    """Over the answers of one tool server."""

    def __init__(self, values: Iterable[str]) -> None:
        secrets = {part for value in values for part in redaction.parts(value)}
        spelt = sorted({each for secret in secrets for each in _spellings(secret)}, key=len)[::-1]
        self._spelt = [each.encode() for each in spelt]
        self._bare = {bare for each in self._spelt for bare in (_bare(each), _bare(_by_characters(each)))}
        self._by_number = re.compile(rb"\\u00[0-7]" if "".join(spelt).isascii() else rb"\\u")

    async def aside(self, said: bytes) -> bytes:
        """`over` for an answer of any length, so that it holds nobody up."""
        if said.count(b"\\") <= AT_ONCE:
            return self.over(said)
        return await anyio.to_thread.run_sync(self.over, said)

    def over(self, said: bytes) -> bytes:
        """The same bytes, a mark in the place of every credential. Unreadable when that would take too long."""
        if b"\\" in said:
            if not self._may_hold(said):
                return said
            if said.count(b"\\") > ESCAPES:
                raise Unreadable("its answer repeats a credential of ours and is too long to take it out")
            return self._over_escaped(said)
        for secret in self._spelt:
            if secret in said:
                said = said.replace(secret, _MARK)
        return said

    def _may_hold(self, said: bytes) -> bool:
        """Is it worth mapping places? Where a credential is at any level, its characters are there without the
        backslashes of all levels, and with those that numbers stand for."""
        if self._by_number.search(said):
            said = _rewritten(said)
        seen = [_bare(said)]
        if self._by_number.search(said):
            seen.append(_bare(_by_characters(said)))
        return any(secret in bare for bare in seen for secret in self._bare)

    def _over_escaped(self, said: bytes) -> bytes:
        text, levels, found = said, list[_Level](), set[tuple[int, int]]()
        for _ in range(DEPTH):
            found |= {_down(levels, *span) for span in self._spans(text)}
            level = _Level(text)
            if level.text == text:
                break
            levels.append(level)
            text = level.text
        kept, end = [], 0
        for start, stop in sorted(found):
            if start >= end:
                kept += [said[end:start], _MARK]
            end = max(end, stop)
        return b"".join([*kept, said[end:]]) if found else said

    def _spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        for secret in self._spelt:
            start = text.find(secret)
            while start >= 0:
                yield start, start + len(secret)
                start = text.find(secret, start + len(secret))


class _Level:
    """A text whose escapes have been read once, and where it came from."""

    def __init__(self, source: bytes) -> None:
        self._from = _ESCAPES.split(source)
        self._to = self._from.copy()
        self._to[1::2] = map(_STANDS_FOR.__getitem__, self._from[1::2])
        self.text = b"".join(self._to)
        self._ends: tuple[list[int], list[int]] | None = None

    def source(self, place: int) -> int:
        """Where in the source a place of the text is."""
        if self._ends is None:
            self._ends = [0, *accumulate(map(len, self._from))], [0, *accumulate(map(len, self._to))]
        there, here = self._ends
        part = bisect_right(here, place) - 1
        return there[part] + place - here[part]


def _down(levels: list[_Level], start: int, stop: int) -> tuple[int, int]:
    for level in reversed(levels):
        start, stop = level.source(start), level.source(stop)
    return start, stop


class _StandsFor(dict[bytes, bytes]):
    """An escape → the character, in UTF-8. Pairs are worked out each time: there are a million of them."""

    def __missing__(self, escape: bytes) -> bytes:
        char: bytes = json.loads(b'"' + escape + b'"').encode(errors="surrogatepass")
        if len(escape) <= len(rb"\u0000"):
            self[escape] = char
        return char


class _Numbered(_StandsFor):
    """The same with as many backslashes as there are."""

    def __missing__(self, escape: bytes) -> bytes:
        plain = escape.replace(b"\\", b"").replace(b"u", rb"\u")
        if plain == escape:
            return super().__missing__(escape)
        return self[plain]


_STANDS_FOR = _StandsFor()
_NUMBERED = _Numbered()


def _bare(said: bytes) -> bytes:
    return said.translate(_LETTERS, b"\\")


def _by_characters(said: bytes) -> bytes:
    """With the characters that numbers stand for; a backslash that does may begin the next one."""
    for _ in range(DEPTH):
        parts = _NUMBERS.split(said)
        if len(parts) == 1:
            break
        parts[1::2] = map(_NUMBERED.__getitem__, parts[1::2])
        said = b"".join(parts)
    return said


def _rewritten(said: bytes) -> bytes:
    """JSON with as few escapes as it can have, at the speed of the parser; what is no JSON stays."""
    try:
        return json.dumps(json.loads(said.decode()), ensure_ascii=False).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return said


def _spellings(secret: str) -> set[str]:
    return {secret, *redaction.hexadecimal(secret), *redaction.encoded(secret)}
