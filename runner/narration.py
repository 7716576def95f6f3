"""A run's output as people read it: the events of its CLI told in lines, all else as it came. The raw log keeps both.
What events say is looked through for secrets once more: joined and unescaped it is another text than the lines were.

A line of JSON may be words that go on in the next one, or the first piece of one that was cut for its length. It waits
for what follows it, and the cursor waits with it: who adopts the run reads it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from control.executions.keeping import Stored
from kit.redaction import Redactor
from runner import watch
from runner.agents import events
from runner.agents.events import Read, Said
from runner.engine import LogLine
from runner.lines import CONTINUED, LIMIT, storable

LONG = LIMIT // 4
"""Characters from which a line may be the first piece of a longer one: a character has four bytes at most."""
MOST = 64
"""Pieces of one line that are put together again; a longer one is shown in its pieces."""
Entry = tuple[Sequence[Stored], str]
"""Lines to store together, and the cursor up to which all has been told then."""


class Narrator:
    """One reading of one run's output, from where a phase stands."""

    def __init__(self, read: Read | None, phase: watch.Phase, redactor: Redactor) -> None:
        self.phase = phase
        self.final: Said | None = None
        """How the agent itself says that it ended."""
        self._read = read
        self._redactor = redactor
        self._words: list[str] = []
        self._pieces: list[LogLine] = []
        self._last = LogLine(text="", at="", cursor="")
        self._tools: dict[str, str] = {}

    @property
    def at(self) -> str:
        """When the last line was said."""
        return self._last.at

    def tell(self, line: LogLine) -> Iterator[Entry]:
        """What is to be stored now that this line came; what waited comes first."""
        if line.ours:
            yield from self.rest()
            yield [(line.at, "preloop", "warning", line.text)], line.cursor
        elif self._pieces and line.text.startswith(CONTINUED) and len(self._pieces) < MOST:
            self._pieces.append(line)
        elif self._read and self.phase.source == "agent" and line.text.startswith("{") and len(line.text) >= LONG:
            yield from self.rest()
            self._pieces = [line]
        else:
            yield from self._whole()
            yield from self._tell(line, line.text)
        self._last = line

    def rest(self) -> Iterator[Entry]:
        """What still waited, when nothing follows it."""
        yield from self._whole()
        if said := self._spoken():
            yield said, self._last.cursor

    def _whole(self) -> Iterator[Entry]:
        """The line whose pieces waited."""
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return
        text = "".join((pieces[0].text, *(piece.text.removeprefix(CONTINUED) for piece in pieces[1:])))
        if events.parse(text) is not None:
            yield from self._tell(pieces[-1], text)
        else:
            for piece in pieces:
                yield self._plain(piece), piece.cursor

    def _tell(self, line: LogLine, text: str) -> Iterator[Entry]:
        self.phase, marker = watch.read(self.phase, text)
        event = events.parse(text) if self._read and self.phase.source == "agent" else None
        said = events.heard(self._read, event) if self._read and event is not None else None
        if said is not None and all(one.more for one in said) and said:
            self._words += [one.text for one in said]
            if self._words[-1].endswith("\n"):
                yield self._spoken(line.at), line.cursor
            return
        if waited := self._spoken():
            yield waited, self._last.cursor
        if not marker:
            yield self._plain(line) if said is None else self._lines(line, said), line.cursor

    def _spoken(self, at: str = "") -> list[Stored]:
        """The words that waited for more, looked through as one text before any of it is told."""
        if not self._words:
            return []
        words, self._words = self._fit("".join(self._words)), []
        shown = events.lines(Said(kind="text", text=words))
        return [(at or self._last.at, "agent", level, text) for level, text in shown]

    def _fit(self, text: str) -> str:
        """As it may be stored."""
        return self._redactor.text(storable(text))

    def _plain(self, line: LogLine) -> list[Stored]:
        return [(line.at, self.phase.source, watch.level(line.text), line.text)]

    def _lines(self, line: LogLine, said: Sequence[Said]) -> list[Stored]:
        return [(line.at, "agent", level, text) for one in map(self._named, said) for level, text in events.lines(one)]

    def _named(self, said: Said) -> Said:
        """Fit to be stored, before it is cut; with the tool's name at its end too; noted if it is the last word."""
        said = replace(said, text=self._fit(said.text), tool=self._fit(said.tool))
        if said.kind == "final":
            self.final = said
        if said.kind == "tool_start" and said.call:
            self._tools[said.call] = said.tool
        if said.kind == "tool_end" and not said.tool:
            return replace(said, tool=self._tools.pop(said.call, ""))
        return said
