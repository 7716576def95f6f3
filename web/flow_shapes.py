"""What REST answers about flow files: versions, what applying one does, a prompt with an event in it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from web.inputs import Body
from web.shapes import Execution, Unresolved

MOST = 2**31 - 1
"""No version has a greater number."""


class FlowVersion(BaseModel):
    version: int
    applied_at: datetime
    url: str


class Applied(BaseModel):
    """`version` is the one it is now; in a dry run, the one it would be. `diff` is unified, '' without a change."""

    name: str
    version: int
    changed: bool
    dry_run: bool
    diff: str
    warnings: list[str]


class RunCost(BaseModel):
    """What a run of the last days cost on average: of the newest 1,000 that started and ended, cancelled ones too.

    `per_run_usd` is the mean of the `runs` whose model calls went through the gateway; None without any, and where no
    call of theirs has a price. `unpriced_calls` are missing from it, and the `unmetered` runs are."""

    per_run_usd: str | None
    runs: int
    unpriced_calls: int
    unmetered: int


class FlowHealth(BaseModel):
    """`recent` are the last ten, newest first. The rest is of `runs`, the newest of `days` days that ended and were not
    cancelled; None without any. The rate is from 0 to 1; durations are from a run's start to its end, those that never
    started left out."""

    recent: list[Execution]
    days: int
    runs: int
    succeeded: int
    success_rate: float | None
    mean_ms: int | None
    p95_ms: int | None
    cost: RunCost


class RenderAsked(Body):
    """An event: that of an execution, or a payload. Without either, the flow's newest one."""

    execution: str | None = None
    payload: Any = None
    version: int | None = Field(default=None, ge=1, le=MOST)
    """Of the flow; without it the newest."""


class Rendered(BaseModel):
    flow: str
    version: int
    execution_id: str | None
    """Whose event it is."""
    trigger_event: Any
    prompt: str
    unresolved: list[Unresolved]
    refused: bool
    """`on_undefined: fail` refuses such an event."""
