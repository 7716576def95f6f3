"""What is counted of executions and their calls for `/metrics`, by the process that did it, in the unit that does it.

Labels are our own words and names from settings; never an id or a text of an agent.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from kit.db import Tx
from kit.metrics import PATIENCE, Counter, Histogram

WAITS = (0.1, 0.5, *PATIENCE)
CREATED = Counter("preloop_executions_created_total", "Executions that were made, by what started them.", "trigger")
CLAIMED = Counter("preloop_executions_claimed_total", "Executions that a runner took from the queue.")
ADOPTED = Counter("preloop_executions_adopted_total", "Executions that were taken over from a runner that was lost.")
REFUSED = Counter("preloop_runner_refused_total", "Writes refused: over, or in another runner's hands.", "write")
ENDED = Counter("preloop_executions_ended_total", "Executions that ended, by how and why.", "state", "cause")
QUEUED_S = Histogram("preloop_queue_wait_seconds", "From when an execution may start to its claim.", bounds=WAITS)
RUN_S = Histogram("preloop_execution_seconds", "From claim to end, waits for people included.", "state", bounds=WAITS)
CALLS = Counter("preloop_tool_calls_total", "Tool calls that ended, by how.", "server", "status")
LINES = Counter("preloop_log_lines_total", "Lines of executions' logs that were stored.")
BYTES = Counter("preloop_log_bytes_total", "Bytes that they took.")


def created(tx: Tx, trigger: str) -> None:
    tx.at_last(lambda: CREATED.add(trigger))


def claimed(tx: Tx, row: Row[Any], at: datetime) -> None:
    waited = (at - (row.not_before or row.created_at)).total_seconds()

    def count() -> None:
        CLAIMED.add()
        QUEUED_S.observe(max(0.0, waited))

    tx.at_last(count)


def refused(tx: Tx, write: str) -> None:
    """A runner's `heartbeat`, `log` or `verdict` came to an execution that it holds no more."""
    tx.at_last(lambda: REFUSED.add(write))


def adopted(tx: Tx) -> None:
    tx.at_last(ADOPTED.add)


def ended(tx: Tx, row: Row[Any]) -> None:
    def count() -> None:
        ENDED.add(row.state, row.cause or "")
        if row.claimed_at is not None:
            RUN_S.observe((row.ended_at - row.claimed_at).total_seconds(), row.state)

    tx.at_last(count)


def called(tx: Tx, server: str, status: str) -> None:
    """A tool call is over; one whose outcome became known after it was given up counts once more, as what it was."""
    tx.at_last(lambda: CALLS.add(server, status))


def logged(tx: Tx, lines: int, size: int) -> None:
    def count() -> None:
        LINES.add(by=lines)
        BYTES.add(by=size)

    tx.at_last(count)
