"""How the command line prints: data on stdout, talk on stderr, JSON on wish. Agents' text loses its control
sequences."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kit.errors import Fault

out = Console(highlight=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else 500)
talk = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: the cursor, modes, colour
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS: titles, links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""ECMA-48."""
_UNSEEN = re.compile(
    r"[\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0"
    r"\U000e0000-\U000e007f]"
)
"""What turns the reading direction, and what takes no room."""
_COLOUR = re.compile(r"\x1b\[([0-9;]*)m")
_PLAIN = {*range(5), *range(21, 25), *range(30, 38), 39, *range(40, 48), 49, *range(90, 98), *range(100, 108)}
"""SGR without what blinks or hides."""
LONGEST = 40
"""Characters of one SGR; no colour needs more."""
STYLES = {"SUCCEEDED": "green", "FAILED": "red", "TIMEOUT": "yellow", "WAITING_FOR_APPROVAL": "magenta"}
WHOLE = ("ID", "STATUS")
"""Columns that are never broken over two lines: they are copied."""
DIFF = {"-": "red", "+": "green", "@": "cyan"}
LEVELS = {"error": "red", "warning": "yellow"}


def as_json(value: object) -> None:
    sys.stdout.write(_json(value, indent=2) + "\n")


def json_line(value: object) -> None:
    """One value of a stream, on a line of its own, at once."""
    sys.stdout.write(_json(value) + "\n")
    sys.stdout.flush()


def _json(value: object, indent: int | None = None) -> str:
    """In any language, but what a terminal would obey or not show is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f]", _escaped, _UNSEEN.sub(_escaped, text))


def _escaped(hit: re.Match[str]) -> str:
    return json.dumps(hit[0])[1:-1]


def clean(text: str) -> str:
    """An agent's text without what would move the cursor; what is not seen or turns the reading direction is named."""
    return _UNSEEN.sub(lambda hit: f"U+{ord(hit[0]):04X}", _CONTROL.sub("", text))


def coloured(text: str) -> Text:
    """The same with its colours, which a terminal alone shows."""
    pieces = _COLOUR.split(text)
    kept = (_shades(piece) if number % 2 else clean(piece) for number, piece in enumerate(pieces))
    return Text.from_ansi("".join(kept))


def _shades(codes: str) -> str:
    """One SGR with those of its codes that only colour; `38;5;n` and `38;2;r;g;b` are one."""
    left: list[str] = codes.split(";") if len(codes) < LONGEST else []
    kept: list[str] = []
    while left:
        code = left.pop(0)
        if code in ("38", "48") and left[:1] in (["5"], ["2"]):
            size = 2 if left[0] == "5" else 4
            kept += [code, *left[:size]]
            del left[:size]
        elif int(code or 0) in _PLAIN:
            kept.append(code)
    return f"\x1b[{';'.join(kept)}m" if kept else ""


def done(value: object, told: str, *, json_wanted: bool) -> None:
    """What came of it: JSON on wish, else what there is to say."""
    as_json(value) if json_wanted else out.print(told, markup=False)


def one(found: dict[str, Any], *, json_wanted: bool) -> None:
    """One thing: JSON on wish, else its keys and values."""
    if json_wanted:
        as_json(found)
        return
    table(("", ""), ((key, _cell(value)) for key, value in found.items() if value not in (None, "", [])), empty="")


def _cell(value: object) -> object:
    return yaml.safe_dump(value, sort_keys=False).strip() if isinstance(value, dict | list) else value


def items(
    found: Iterable[dict[str, Any]],
    columns: Sequence[str],
    cells: Callable[[dict[str, Any]], Sequence[object]],
    *,
    empty: str,
    json_wanted: bool,
) -> None:
    """A list: JSON on wish, else a table with the cells of each item."""
    if json_wanted:
        as_json(list(found))
        return
    table(columns, map(cells, found), empty=empty)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    count = 0
    for row in rows:
        count += 1
        cells = ["" if cell is None else clean(str(cell)) for cell in row]
        grid.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    if count:
        out.print(grid)
    else:
        talk.print(empty)


def file(text: str) -> None:
    """A file as it is; on a terminal without what would steer it."""
    sys.stdout.write(clean(text) if sys.stdout.isatty() else text)


def diff(text: str) -> None:
    """A unified diff, what goes red and what comes green."""
    for line in clean(text).splitlines():
        out.print(Text(line, style=DIFF.get(line[:1], "")))


def warning(text: str) -> None:
    talk.print(Text("Warning: ", style="yellow bold") + Text(clean(text)))


def log_line(line: dict[str, Any]) -> None:
    at = datetime.fromisoformat(line["at"]).astimezone().strftime("%H:%M:%S")
    tag = f"[{line['level'].upper()}] " if line["source"] == "preloop" and line["level"] in LEVELS else ""
    out.print(Text(f"{at} ", style="dim") + _line(line, tag))


def _line(line: dict[str, Any], tag: str) -> Text:
    """An agent's own colours, else the level's."""
    found = coloured(line["text"])
    return Text(tag) + found if found.spans else Text(tag + found.plain, style=LEVELS.get(line["level"], ""))


def fault(problem: Fault, *, json_wanted: bool = False) -> None:
    """One clear sentence and what to do about it."""
    if json_wanted:
        as_json({"code": problem.code, "detail": problem.message, "hint": problem.hint})
        return
    talk.print(Text("Error: ", style="red bold") + Text(clean(problem.message)))
    if problem.hint:
        talk.print(Text("Hint:  ", style="bold") + Text(clean(problem.hint)))


def ago(text: str | None) -> str:
    """'3 min ago' of an RFC 3339 time."""
    if text is None:
        return ""
    seconds = int((datetime.now().astimezone() - datetime.fromisoformat(text)).total_seconds())
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name} ago"
    return f"{max(seconds, 0)} s ago"


def span(ms: int | None) -> str:
    """'1 m 05 s' of milliseconds."""
    if ms is None:
        return ""
    minutes, seconds = divmod(ms / 1000, 60)
    return f"{int(minutes)} m {int(seconds):02} s" if minutes else f"{seconds:.1f} s"
