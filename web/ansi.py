"""A line with a terminal's escape sequences, as runs of text with the classes they are shown in. Pure.

Colours and weights of SGR (ECMA-48 §8.3.117) are kept; cursors, titles, links and backgrounds are dropped, concealed
text is shown. A look ends with its line. Characters that can't be seen are named as everywhere (`web/format.pieces`),
over the whole line: an escape sequence inside a word hides no foreign letter.
"""

import re
from collections.abc import Iterator

from web import format as shown

Segment = tuple[str, str]
"""(classes, text)."""
CHAR = "char"
"""The class of a character's name."""
_PLAIN = re.compile(r"[\t -~]*")
_ESCAPE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_WEIGHTS = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
_ENDS = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"underline"}, 39: set(_COLOURS)}


def segments(text: str) -> list[Segment]:
    """Runs in order; their texts joined are what a reader sees of the line."""
    if _PLAIN.fullmatch(text):
        return [("", text)]
    plain, looks = _looks(text)
    found: list[Segment] = []
    at, number = 0, 0
    for piece in shown.pieces(plain):
        end = at + (1 if piece.hidden else len(piece.text))
        while at < end:
            while number + 1 < len(looks) and looks[number + 1][0] <= at:
                number += 1
            stop = min(end, looks[number + 1][0]) if number + 1 < len(looks) else end
            found.append((CHAR, piece.text) if piece.hidden else (looks[number][1], plain[at:stop]))
            at = stop
    return found


def _looks(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text without escapes, and from which place on it has which classes."""
    plain, size, at, classes = [], 0, 0, list[str]()
    looks = [(0, "")]
    for found in _ESCAPE.finditer(text):
        plain.append(text[at : found.start()])
        size, at = size + found.start() - at, found.end()
        if found[2] == "m":
            for code in _codes(found[1]):
                classes = _after(classes, code)
            looks.append((size, " ".join(classes)))
    return "".join((*plain, text[at:])), looks


def _codes(parameters: str) -> Iterator[int]:
    """The numbers of one SGR; those that choose out of 256 colours or 16 million are passed over."""
    codes = iter([int(code[:4]) if code.isascii() and code.isdecimal() else 0 for code in parameters.split(";")])
    for code in codes:
        if code in (38, 48, 58):
            for _ in range({5: 1, 2: 3}.get(next(codes, 0), 0)):
                next(codes, 0)
        else:
            yield code


def _after(classes: list[str], code: int) -> list[str]:
    if code == 0:
        return []
    if code in _WEIGHTS:
        return [*(one for one in classes if one != _WEIGHTS[code]), _WEIGHTS[code]]
    if 30 <= code <= 37 or 90 <= code <= 97:
        return [*(one for one in classes if one not in _COLOURS), _COLOURS[code % 10]]
    return [one for one in classes if one not in _ENDS.get(code, ())]
