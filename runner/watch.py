"""Reading an agent's output: which phase a line belongs to, its level, and the two markers. Pure.

Only the entry script can write a marker: a line of the agent's own that looks like one arrives with a space before it.
"""

import re
from dataclasses import dataclass, replace

START = "PRELOOP_AGENT_EXEC_START"
END = re.compile(r"PRELOOP_AGENT_EXEC_END (\d{1,3})")
_ERROR = re.compile(r"^\W*(error|fatal|panic)\b|\[error\]|\"level\": ?\"error\"", re.IGNORECASE)
_WARNING = re.compile(r"^\W*warn(ing)?\b|\[warn(ing)?\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the output has told so far."""

    started: bool = False
    ended: bool = False
    code: int | None = None

    @property
    def source(self) -> str:
        """Whose lines these are: the set-up's before the agent's start, the agent's after it."""
        return "agent" if self.started and not self.ended else "setup"


def read(phase: Phase, line: str) -> tuple[Phase, bool]:
    """The phase after a line, and whether the line was a marker. Whoever adopts a run may read its start once more."""
    if line == START and not phase.ended:
        return replace(phase, started=True), True
    if phase.started and not phase.ended and (found := END.fullmatch(line)):
        return replace(phase, ended=True, code=int(found[1])), True
    return phase, False


def level(line: str) -> str:
    """info, warning or error: a colour on a page, never a verdict."""
    if _ERROR.search(line[:200]):
        return "error"
    return "warning" if _WARNING.search(line[:200]) else "info"
