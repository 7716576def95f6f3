"""What runs are made with; one set per worker."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from control.executions.lifecycle import Lifecycle
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database
from kit.redaction import Redactor
from runner.direct import Directs
from runner.engine import Engine, LogLine
from runner.redacted import redacted
from runner.settings import RunnerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The rooms, the engine, and where agents reach the plane."""

    db: Database
    bus: Bus
    blobs: Blobs
    lifecycle: Lifecycle
    engine: Engine
    engine_id: str
    instance: str
    mcp_url: str
    """The containers' listener of role `mcp` as an agent reaches it, without a path."""
    gateway_url: str
    """The same of role `gateway`."""
    settings: RunnerSettings
    directs: Directs = field(default_factory=Directs)
    """Providers' keys for agents that go past the gateway."""
    redactor: Redactor = field(default_factory=Redactor)
    """Knows what no stored line may hold."""
    starting: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(os.cpu_count() or 1))
    """Jobs that start at once: a crowd of them starts no sooner, and leaves no time for the lines of those that run."""

    def output(self, handle: str, *, after: str) -> AsyncIterator[LogLine]:
        """What a job says, as it may be stored; see `Engine.logs`."""
        return redacted(self.engine.logs(handle, after=after), self.redactor)
