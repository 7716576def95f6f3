"""A log as pages, sockets and REST tell it: each line with the segments it is shown in, and a page's rows in groups."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from control.executions.logs import Line
from web import ansi

CHUNK = 200
"""Rows that a browser lays out together, or not at all while they are out of sight; `log_rows.js` has the same."""

Told = dict[str, Any]


def told(line: Line) -> Told:
    """The fields of `shapes.LogLine`. `segments` is there where a line is shown as something else than its text."""
    found: Told = {
        "number": line.number,
        "at": line.at,
        "source": line.source,
        "level": line.level,
        "text": line.text,
    }
    segments = ansi.segments(line.text)
    return found if segments == [("", line.text)] else found | {"segments": segments}


@dataclass(slots=True)
class Group:
    """Rows in chunks; those of a set-up are folded."""

    folded: bool
    chunks: list[list[Told]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a page begins with; `last` is the number after which it reads on."""

    groups: Sequence[Group]
    first: int
    last: int
    began: bool
    """Are there lines of the agent among them?"""


def drawn(lines: Iterable[Line]) -> Drawn:
    """Lines as `log_rows.js` places further ones: what the set-up printed before the agent's first line is apart."""
    groups: list[Group] = []
    first, last, began = 1, 0, False
    for line in lines:
        first = first if last else line.number
        last = line.number
        began = began or line.source == "agent"
        folded = line.source == "setup" and not began
        if not groups or groups[-1].folded != folded:
            groups.append(Group(folded))
        chunks = groups[-1].chunks
        if not chunks or len(chunks[-1]) == CHUNK:
            chunks.append([])
        chunks[-1].append(told(line))
    return Drawn(groups, first, last, began)
