"""What agents say on their output, in one vocabulary, whatever the CLI. Pure.

Each adapter has a `read`: from one JSON object of its CLI to what that says, nothing for what only its maker needs, or
None for what it does not know, which is then shown as it came.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["reasoning", "text", "tool_start", "tool_end", "usage", "notice", "error", "final"]
"""`notice` is a CLI's word about itself, such as a retry; `error` one after which it may go on; `final` is the last."""
Event = Mapping[str, Any]
SHOWN = 1000
"""Characters of arguments and results that a line shows; the raw log has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """`more`: the text goes on in the next event. `ok` is of a tool's end and of the final one. `call` ties a
    tool's end to its start, where only that one names the tool."""

    kind: Kind
    text: str = ""
    tool: str = ""
    call: str = ""
    ok: bool = True
    more: bool = False

    def __post_init__(self) -> None:
        texts: tuple[object, ...] = (self.text, self.tool, self.call)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("not a text")


Read = Callable[[Event], Sequence[Said] | None]


def parse(line: str) -> Event | None:
    """The object on a line, or None when there is something else."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def heard(read: Read, event: Event) -> Sequence[Said] | None:
    """What an event says; None when it has another shape than its maker's: anybody in a container may print."""
    try:
        return read(event)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def lines(said: Said) -> list[tuple[str, str]]:
    """(level, text) of the lines that show it."""
    text = said.text.strip("\n")
    match said.kind:
        case "text":
            return [("info", line) for line in text.split("\n")] if text else []
        case "reasoning":
            return [("info", f"(thinking) {line}") for line in text.split("\n") if line.strip()]
        case "tool_start":
            return [("info", f"Calling {said.tool} {_short(text)}".rstrip())]
        case "tool_end":
            told = "answered" if said.ok else "failed"
            answer = f": {_short(text)}" if text else "."
            return [("info" if said.ok else "warning", f"{said.tool or 'The tool'} {told}{answer}")]
        case "usage":
            return [("info", f"Tokens, as it counts them: {text}")] if text else []
        case "notice":
            return [("warning", line) for line in text.split("\n")]
        case "error":
            return [("error", line) for line in text.split("\n")]
        case "final":
            return [] if said.ok or not text else [("error", f"Ended: {_short(text)}")]


def compact(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def counted(read: object, written: object, cached: object = 0) -> Said:
    """Tokens that went in, came out, and were read from a cache."""
    if not (read or written):
        return Said(kind="usage")
    return Said(kind="usage", text=f"{read or 0} in ({cached or 0} of them cached), {written or 0} out")


def blocks(content: object) -> str:
    """The text of a list of content blocks, or of a text."""
    if not isinstance(content, list):
        return compact(content)
    return "\n".join(compact(block.get("text", block)) for block in content if isinstance(block, dict))


def _short(text: str) -> str:
    """On one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + " …"
