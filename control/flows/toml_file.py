"""TOML in and out, with the line of every key. Pure.

Python's own reader says what a file means; it keeps no places, so a scan of the same text finds them. The scan runs
over what was read already: it must find structure, not mistakes.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from control.flows.yaml_file import At, Lines, dotted
from kit.errors import Invalid

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'(?:.)*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''
_PART = rf"(?:[A-Za-z0-9_-]+|{_STRING})"
_PARTS = re.compile(_PART, re.DOTALL)
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*", re.DOTALL)
_VALUE = re.compile(rf"{_STRING}|[^,\]}}#\n]+", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")


def load(text: str) -> tuple[Any, Lines]:
    """What a file says, and on which line it says it. Invalid names the line."""
    try:
        body = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        place = _PLACE.search(str(error))
        line = place[1] if place and place[1] else text.count("\n") + 1
        said = _PLACE.sub("", str(error)).rstrip(".")
        raise Invalid(
            "flow_invalid", f"line {line}: this is not TOML: {said}.", "Check quotes and brackets."
        ) from error
    return body, _Scan(text).lines


class _Scan:
    """Walks a valid file once and notes where each key and each item of an array begins."""

    def __init__(self, text: str) -> None:
        self.lines: dict[At, int] = {}
        self._text, self._at = text.replace("\r\n", "\n"), 0
        self._line, self._counted = 1, 0
        self._arrays: dict[At, int] = {}
        table: At = ()
        while self._skip():
            table = self._statement(table)

    def _statement(self, table: At) -> At:
        """A header, which begins another table, or a pair of this one."""
        if not self._takes("["):
            self._pair(table)
            return table
        several = self._takes("[")
        self._skip()
        parts = self._key()
        place: At = ()
        for part in parts[:-1]:
            place = self._inside((*place, part))
        whole = (*place, parts[-1])
        if several:
            self._arrays[whole] = self._arrays.get(whole, -1) + 1
            self.lines.setdefault(whole, self._now())
        place = self._inside(whole)
        self.lines.setdefault(place, self._now())
        self._at = self._text.index("]", self._at) + (2 if several else 1)
        return place

    def _inside(self, place: At) -> At:
        """The last item, where a name stands for an array of tables."""
        return (*place, self._arrays[place]) if place in self._arrays else place

    def _pair(self, table: At) -> None:
        line, place = self._now(), table
        for part in self._key():
            place = (*place, part)
            self.lines.setdefault(place, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(place)

    def _key(self) -> list[str]:
        found = _KEY.match(self._text, self._at)
        assert found, "the file was read before"
        self._at = found.end()
        return [
            part if _BARE.fullmatch(part) else tomllib.loads(f"x = {part}")["x"] for part in _PARTS.findall(found[0])
        ]

    def _value(self, place: At) -> None:
        self._skip()
        if self._takes("["):
            number = 0
            while self._skip() and not self._takes("]"):
                if not self._takes(","):
                    self.lines[(*place, number)] = self._now()
                    self._value((*place, number))
                    number += 1
        elif self._takes("{"):
            while self._skip() and not self._takes("}"):
                if not self._takes(","):
                    self._pair(place)
        else:
            found = _VALUE.match(self._text, self._at)
            assert found, "the file was read before"
            self._at = found.end()

    def _skip(self) -> bool:
        """Past blanks and comments; is there more?"""
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _takes(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += 1
        return True

    def _now(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def dump(body: Mapping[str, Any]) -> str:
    """Plain values first, then tables; a key that is null is left out, as TOML has no word for it."""
    return "\n".join(_table((), body)).strip("\n") + "\n"


def _table(place: At, body: Mapping[str, Any]) -> list[str]:
    said = {key: value for key, value in body.items() if value is not None}
    later = {key: value for key, value in said.items() if _is_table(value) or _are_tables(value)}
    found = [f"{_word(key)} = {_spelled(value, (*place, key))}" for key, value in said.items() if key not in later]
    for key, value in later.items():
        name = ".".join(_word(str(part)) for part in (*place, key) if isinstance(part, str))
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            header = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            within = (*place, key, number) if isinstance(value, list) else (*place, key)
            found += ["", header, *_table(within, one)]
    return found


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _word(key: str) -> str:
    return key if _BARE.fullmatch(key) else _basic(key)


def _spelled(value: object, place: At) -> str:
    if isinstance(value, str):
        return _block(value) if "\n" in value.strip("\n") or value.endswith("\n") else _basic(value)
    if isinstance(value, list):
        return f"[{', '.join(_spelled(item, (*place, number)) for number, item in enumerate(value))}]"
    if isinstance(value, dict):
        pairs = (f"{_word(key)} = {_spelled(item, (*place, key))}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if value is None:
        raise Invalid("toml_has_no_null", f"{dotted(place)} is null, which TOML can't say.", "Export it as YAML.")
    return json.dumps(value)


def _basic(text: str) -> str:
    """A TOML basic string: JSON's, with DEL written out too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _block(text: str) -> str:
    lines = (_basic(line)[1:-1].replace('\\"', '"').replace('"""', '""\\"') for line in text.split("\n"))
    whole = "\n".join(lines)
    return f'"""\n{whole[:-1]}\\""""' if whole.endswith('"') else f'"""\n{whole}"""'
