"""The states of an execution and the moves between them. Pure; *doing* a move is `lifecycle`, nowhere else.

Six states are stored. WAITING_FOR_APPROVAL is shown while a RUNNING execution has an open approval.
"""

from enum import StrEnum


class Stored(StrEnum):
    PENDING = "PENDING"  # waits for a slot
    RUNNING = "RUNNING"  # a worker holds its lease
    SUCCEEDED = "SUCCEEDED"  # the agent ended well
    FAILED = "FAILED"  # it ended otherwise; `cause` says how
    TIMEOUT = "TIMEOUT"  # its time was over
    CANCELLED = "CANCELLED"  # a person ended it


class Shown(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING_FOR_APPROVAL = "WAITING_FOR_APPROVAL"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


class Cause(StrEnum):
    """Why an execution did not succeed. The list is closed: CONTRACT names it."""

    TOOL_FAILED = "tool_failed"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    INVALID_ARGUMENTS = "invalid_arguments"
    APPROVAL_DECLINED = "approval_declined"
    APPROVAL_EXPIRED = "approval_expired"
    AGENT_ERROR = "agent_error"
    AGENT_UNVERIFIED = "agent_unverified"
    SETUP_FAILED = "setup_failed"
    MODEL_ERROR = "model_error"
    CREDITS_EXHAUSTED = "credits_exhausted"
    BUDGET_EXCEEDED = "budget_exceeded"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RUNNER_LOST = "runner_lost"
    RESULT_INVALID = "result_invalid"
    TOOL_OUTCOME_UNKNOWN = "tool_outcome_unknown"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    STREAM_CUT = "stream_cut"
    LOG_QUOTA = "log_quota"
    RETRIES_EXHAUSTED = "retries_exhausted"
    APPROVER_UNREACHABLE = "approver_unreachable"
    INTERNAL_ERROR = "internal_error"


FINAL = frozenset({Stored.SUCCEEDED, Stored.FAILED, Stored.TIMEOUT, Stored.CANCELLED})
MOVES: dict[Stored, frozenset[Stored]] = {
    Stored.PENDING: frozenset({Stored.RUNNING, Stored.FAILED, Stored.CANCELLED}),
    Stored.RUNNING: FINAL,
    Stored.SUCCEEDED: frozenset(),
    Stored.FAILED: frozenset(),
    Stored.TIMEOUT: frozenset(),
    Stored.CANCELLED: frozenset(),
}


def may_move(source: Stored, target: Stored, *, open_approvals: int = 0) -> bool:
    """A success needs every approval closed; everything else the table says."""
    if target is Stored.SUCCEEDED and open_approvals > 0:
        return False
    return target in MOVES[source]


def shown(state: str, open_approvals: int) -> Shown:
    """The state people and agents see."""
    if state == Stored.RUNNING and open_approvals > 0:
        return Shown.WAITING_FOR_APPROVAL
    return Shown(state)


def verdict(cause: Cause | None) -> Stored:
    """The final state that a cause leads to."""
    if cause is None:
        return Stored.SUCCEEDED
    return {Cause.TIMEOUT: Stored.TIMEOUT, Cause.CANCELLED: Stored.CANCELLED}.get(cause, Stored.FAILED)
