"""The credentials we send to a tool server, taken out of whatever it says again: the agent must not read them there.

Looked for in the bytes as they came, before anything is parsed, stored or passed on. Found are the value itself and its
spellings in JSON, also inside a text that is JSON once more, and base64 in one piece, wherever in the encoded text it
stands. One that the server encodes otherwise is not found.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable

from kit.masking import MASK

SHORTEST = 8
"""Characters: what is shorter would be found in harmless text too."""
_MARK = MASK.encode()


class Veil:
    """Over the answers of one tool server."""

    def __init__(self, values: Iterable[str]) -> None:
        secrets = {part for value in values for part in (value, value.partition(" ")[2]) if len(part) >= SHORTEST}
        self._spelt = sorted({each.encode() for secret in secrets for each in _spellings(secret)}, key=len)[::-1]

    def over(self, said: bytes) -> bytes:
        """The same bytes, a mark in the place of every credential."""
        for secret in self._spelt:
            if secret in said:
                said = said.replace(secret, _MARK)
        return said


def _spellings(secret: str) -> set[str]:
    """As it is and in base64; as a JSON string has them, and as JSON within JSON has that."""
    found = {secret, *_encoded(secret.encode())}
    for _ in range(2):
        for each in tuple(found):
            found |= {json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1], each.replace("/", "\\/")}
    return found


def _encoded(secret: bytes) -> set[str]:
    """In both alphabets of base64, after 0, 1 or 2 bytes of something else: the characters that are its own alone."""
    found = set()
    for before in range(3):
        own = slice(-(-before * 8 // 6), (before + len(secret)) * 8 // 6)
        found |= {encode(bytes(before) + secret)[own].decode() for encode in (b64encode, urlsafe_b64encode)}
    return found
