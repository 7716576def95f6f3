"""An engine's output without secrets, before anything of it is stored. A line that is a JSON object is looked at in its
texts too, as their escapes stand for characters; what words of several lines make together `narration` looks at.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator

from kit.redaction import Redactor
from runner.agents import events
from runner.engine import LogLine
from runner.lines import CONTINUED, LIMIT, storable

_LONG = LIMIT // 4
"""Characters from which a line may be the first piece of a longer one: a character has four bytes at most."""


async def redacted(lines: AsyncIterator[LogLine], redactor: Redactor) -> AsyncGenerator[LogLine]:
    """The same lines with masks in them. A line that may go on waits for the one behind it, as a secret may stand on
    the edge; who reads on from the cursor between the two sees what is left of it."""
    waiting: LogLine | None = None
    async for line in lines:
        if waiting is None:
            waiting = line
        elif line.text.startswith(CONTINUED):
            before, after = redactor.pieces(waiting.text, line.text.removeprefix(CONTINUED))
            yield waiting._replace(text=before)
            waiting = line._replace(text=CONTINUED + after)
        else:
            yield _whole(waiting, redactor)
            waiting = line
        if len(waiting.text) < _LONG:
            yield _whole(waiting, redactor)
            waiting = None
    if waiting is not None:
        yield _whole(waiting, redactor)


def _whole(line: LogLine, redactor: Redactor) -> LogLine:
    """A line on no edge."""
    shown = _shown(line.text, redactor)
    return line if shown is line.text else line._replace(text=shown)


def _shown(text: str, redactor: Redactor) -> str:
    """Without a backslash its texts are what it says letter by letter."""
    event = events.parse(text) if "\\" in text else None
    try:
        shown = redactor.value(event)
    except RecursionError:
        shown = event
    if shown != event:
        text = storable(json.dumps(shown, ensure_ascii=False))
    return redactor.text(text)
