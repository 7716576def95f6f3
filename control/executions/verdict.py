"""What a diagnosis comes to: a cause, a sentence, a suggestion, and where it broke. Pure."""

from dataclasses import dataclass
from typing import Literal

from control.executions.states import Cause

Stage = Literal["routing", "budget", "upstream", "approval", "tool"]
"""Where a run broke: before a model was chosen, at a budget, at the provider, where people were asked about a tool, or
in a tool that a model asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`cause` None is a success. `told` is the one line that the agent and the log get, `fix` the log's line after it.
    `tool`, `model` (an alias) and `provider` are what the message is about."""

    cause: Cause | None
    message: str = ""
    hint: str = ""
    told: str = ""
    fix: str = ""
    stage: Stage | None = None
    tool: str | None = None
    model: str | None = None
    provider: str | None = None


def span(seconds: int) -> str:
    """'30 minutes'."""
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}" + ("" if count == 1 else "s")
    return f"{seconds} seconds"
