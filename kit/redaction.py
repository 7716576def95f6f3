"""Secrets in running text, found by their value or by how those of ours begin, and replaced before the text is stored.

Each is found plain, percent-encoded, in hexadecimal digits and in base64, wherever it stands in what was encoded. Text
that comes in pieces is looked at across their edges. Pure. Neighbour: `masking`, which knows how others' secrets look.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator

from kit.masking import MASK

SHORTEST = 8
"""Characters: what is shorter would be found in harmless text too."""
SCHEMES = ("basic", "bearer", "token")
RUNTIME = "eyJhbGciOiJFZERTQSIs"
"""How a runtime token begins: a JWT whose header says EdDSA first."""
OPAQUE = ("plb_", "ple_", "apl_", "whsec_")
"""How opaque ones begin (`tokens.mint`), and the secrets of webhooks."""
_WORD = re.compile(r"[A-Za-z0-9_-]*")
_JWT = re.compile(r"[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,2}")
_CODED = re.compile(r"[A-Za-z0-9+/_-]*=*")
_DIGITS = re.compile(r"[0-9A-Fa-f]*")
_SPELT = re.compile(r"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9_.-])*")
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_PERCENTED = re.compile("%[0-9A-Fa-f]{2}")
_RANDOM = 20
"""Characters that follow the beginning of an opaque token at least, coded or not."""


_BEGINNINGS = ("opaque", "begun", "spelt", "hexed")
"""Of what is no secret without what follows."""


class Redactor:
    """Looks for `values` and, whatever they are, for tokens of ours."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({part for value in values for part in parts(value)}, key=len, reverse=True)
        plain = [form for value in known for form in (value, value.replace(" ", "+"), *hexadecimal(value))]
        inner = [core for value in (*known, RUNTIME) for core in encoded(value)]
        begun = [core for prefix in OPAQUE for core in encoded(prefix)]
        hexed = [digits for prefix in (RUNTIME, *OPAQUE) for digits in hexadecimal(prefix)]
        forms = {"plain": plain, "jwt": [RUNTIME], "opaque": [*OPAQUE], "inner": inner, "begun": begun, "hexed": hexed}
        self._signs = tuple(dict.fromkeys(form for group in forms.values() for form in group))
        groups = [_group(name, map(re.escape, group)) for name, group in forms.items() if group]
        self._sign = re.compile("|".join(groups))
        percent = [_group("percent", map(percented, known))] if known else []
        spelt = _group("spelt", map(percented, (RUNTIME, *OPAQUE)))
        self._sign_percented = re.compile("|".join([*percent, spelt, *groups]))
        # the longest form of a value or of a token of ours: percent-encoding takes three times as long
        self._reach = max([1200, *(3 * len(value.encode()) for value in known)])

    def text(self, value: str) -> str:
        """The same text with a mask in the place of each secret."""
        if not any(sign in value for sign in self._signs) and not _PERCENTED.search(value):
            return value
        pieces, at = [], 0
        for start, end in self._spans(value):
            pieces += [value[at:start], MASK]
            at = end
        return "".join((*pieces, value[at:]))

    def value(self, value: object) -> object:
        """The same JSON value with masks in its texts, names included. RecursionError when it is nested too deep."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(inner) for name, inner in value.items()}
        return [self.value(inner) for inner in value] if isinstance(value, list) else value

    def pieces(self, before: str, after: str) -> tuple[str, str]:
        """Two pieces of one text, redacted: a secret across their edge is masked in the first and gone from the
        second. What is no part of it stays on its side."""
        edge = len(before)
        near, rest = before[max(0, edge - self._reach) :] + after[: self._reach], max(0, edge - self._reach)
        for start, end in self._spans(near):
            if start + rest < edge < end + rest:
                return self.text(before[: start + rest]) + MASK, self.text(after[end + rest - edge :])
        return self.text(before), self.text(after)

    def _spans(self, value: str) -> Iterator[tuple[int, int]]:
        """Where secrets stand, in order and apart."""
        at = 0
        signs = self._sign_percented if _PERCENTED.search(value) else self._sign
        while sign := signs.search(value, at):
            start, end = sign.span()
            match sign.lastgroup:
                case "jwt":
                    end = _end(_JWT, value, end)
                case "opaque":
                    end = _end(_WORD, value, end)
                case "inner" | "begun":
                    end = _end(_CODED, value, end)
                case "spelt":
                    end = _end(_SPELT, value, end)
                case "hexed":
                    end = _end(_DIGITS, value, end)
            if sign.lastgroup in _BEGINNINGS and end - sign.end() < _RANDOM:
                at = sign.start() + 1
                continue
            while sign.lastgroup == "inner" and start > at and value[start - 1] in _LETTERS:
                start -= 1
            yield start, end
            at = end


def _group(name: str, patterns: Iterable[str]) -> str:
    return f"(?P<{name}>{'|'.join(patterns)})"


def _end(what: re.Pattern[str], value: str, at: int) -> int:
    found = what.match(value, at)
    return found.end() if found else at


def parts(value: str) -> list[str]:
    """What of a value is worth hiding: the whole, and what follows its first word, unless that only says the scheme."""
    first, _, rest = value.partition(" ")
    named = first.lower() in SCHEMES and len(rest) >= SHORTEST
    return [part for part in ((rest,) if named else (value, rest)) if len(part) >= SHORTEST]


def percented(secret: str) -> str:
    """A pattern of its spellings in addresses and forms: encoders differ in which characters they leave as they are, in
    the case of their digits, and in what a space becomes."""
    return "".join(f"(?:{_digits(char)}|{re.escape(char)}{'|[+]' if char == ' ' else ''})" for char in secret)


def _digits(char: str) -> str:
    digits = "".join(f"%{byte:02x}" for byte in char.encode())
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def hexadecimal(secret: str) -> tuple[str, str]:
    """Its bytes as digits, all in one case."""
    digits = secret.encode().hex()
    return digits, digits.upper()


def encoded(secret: str) -> set[str]:
    """In both alphabets of base64, after 0, 1 or 2 bytes of something else: the characters that are its own alone."""
    found, plain = set(), secret.encode()
    for before in range(3):
        own = slice(-(-before * 8 // 6), (before + len(plain)) * 8 // 6)
        found |= {encode(bytes(before) + plain)[own].decode() for encode in (b64encode, urlsafe_b64encode)}
    return found
