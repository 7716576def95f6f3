"""What REST answers, as pydantic models; pages are drawn from the same values, so each page has its JSON twin.

Money is a decimal string in `*_usd`, durations are `*_ms`, times RFC 3339 UTC. None means unknown, never zero.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from control.executions.states import Shown
from control.executions.waiting import Reason
from control.flows.reach import GitRepository
from web.inputs import Body
from web.model_shapes import Told

T = TypeVar("T")


class Listed(BaseModel, Generic[T]):
    """A page of a list; `next` is the cursor of the following one."""

    items: list[T]
    next: str | None = None


class WaitingFor(BaseModel):
    """Why an execution is PENDING; `position` is its place among the waiting ones of its flow."""

    reason: Reason
    text: str
    position: int


class Execution(BaseModel):
    id: str
    url: str
    flow: str
    flow_version: int
    state: Shown
    waiting_for: WaitingFor | None
    cause: str | None
    message: str | None
    hint: str | None
    stop_intent: str | None
    trigger_type: str
    source_url: str | None
    reruns: str | None
    resends: str | None
    """What the same delivery had made, which was over by then."""
    retry_of: str | None
    """The one before it, which failed and made this one by its flow's `retries`."""
    retried_by: str | None
    """The one that it made in turn."""
    attempt: int
    """0 first, then retries."""
    not_before: datetime | None
    """When a retry starts at the earliest."""
    session_id: str | None
    created_at: datetime
    """When the event came."""
    started_at: datetime | None
    """When a runner claimed it, after `queued_ms`; None while it is PENDING."""
    agent_started_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    """Since the start, approvals included; None for one that never started."""
    queued_ms: int
    active_ms: int
    waited_ms: int
    open_approvals: int
    exit_code: int | None
    cost_usd: str | None
    unpriced_calls: int
    input_tokens: int
    output_tokens: int
    metered: bool
    """False where its model calls go past the gateway: then its cost is not known."""

    @property
    def final(self) -> bool:
        return self.ended_at is not None


class Tool(BaseModel):
    server: str
    tool: str
    approval_group: str | None
    approval_when: str | None
    justification: str
    deny: str | None


class Unresolved(BaseModel):
    """A variable of a prompt that the event had no value for, and what was there instead."""

    name: str
    hint: str = ""


class Failure(BaseModel):
    """Where a run broke, and what it is about, as far as that is known; `model` is an alias."""

    stage: str | None
    tool: str | None
    model: str | None
    provider: str | None


class Forgotten(BaseModel):
    """When retention took what of an execution; since when its lines are not kept, for want of room."""

    log_cut_at: datetime | None
    logs_deleted_at: datetime | None
    payload_deleted_at: datetime | None
    results_deleted_at: datetime | None


class Reach(BaseModel):
    """What a flow may reach outside: models past the `gateway`, hosts, or `open` for every public one, repositories."""

    gateway: bool | Literal["prefer"] = True
    egress: tuple[str, ...] | Literal["open"] = ()
    git: tuple[GitRepository, ...] = ()


class ExecutionDetail(Execution, Forgotten, Reach):
    failure: Failure | None
    runtime: str
    model: str
    engine: str | None
    tools: list[Tool]
    trigger_event: Any
    template: str
    """What the prompt was made from."""
    prompt: str
    unresolved: list[Unresolved]


class LogLine(BaseModel):
    number: int
    at: str
    source: str
    level: str
    text: str
    segments: list[tuple[str, str]] | None = None
    """(classes, text) runs as a page shows them, where that is not just the text: colours, and names of characters."""


class Event(BaseModel):
    seq: int
    type: str
    at: str
    data: dict[str, Any]
    hash: str


class ToolCall(BaseModel):
    id: str
    execution_id: str | None
    session_id: str
    server: str
    tool: str
    name: str
    status: str
    arguments: Any
    approved_arguments: Any
    """What a person changed them to; None when they went as they were."""
    justification: str | None
    rule: str | None
    result: Any
    is_error: bool | None
    error: str | None
    late: bool
    """It came after the execution's end."""
    content_deleted_at: datetime | None
    """When retention took arguments and result."""
    approval_id: str | None
    asked_at: datetime
    settled_at: datetime | None
    duration_ms: int
    """Without the wait for a person."""
    waited_ms: int


class ModelCall(BaseModel):
    id: str
    at: datetime
    alias: str
    model: str
    provider: str
    wire: str
    status: str
    attempt: int
    input_tokens: int
    output_tokens: int
    hosted_calls: int
    """Uses of tools that ran at the provider; they are in the cost."""
    cost_usd: str | None
    cost_source: str
    corrects: str | None
    """The call whose cost this adds to, when it was billed anew: no call of its own."""
    duration_ms: int | None
    first_token_ms: int | None
    error: str | None
    told: Told | None = None


class Budget(BaseModel):
    """A limit of one subject. Without `since` and `until` it is for all time; a soft one refuses nothing."""

    scope: str
    subject: str
    period: str
    since: datetime | None
    until: datetime | None
    kind: str
    limit_usd: str
    spent_usd: str
    held_usd: str
    """Of calls under way, and what gateways have put by for the next ones."""
    reached: bool


class Flow(BaseModel):
    name: str
    url: str
    description: str
    version: int
    runtime: str
    model: str
    triggers: list[str]
    tools: list[Tool]
    created_at: datetime


class Schedule(BaseModel):
    """One schedule trigger of a flow, and its next three fire times."""

    cron: str
    zone: str
    missed: str
    next: list[datetime]


class FlowDetail(Flow, Reach):
    newest_version: int
    applied_at: datetime
    """When this version was."""
    prompt: str
    hook_url: str | None
    schedules: list[Schedule]
    """Of the newest version; an older one fires no more."""
    body: Any


class TestRun(Body):
    """What starts a Test Run."""

    payload: Any = Field(default_factory=dict)


class Started(BaseModel):
    execution_id: str
    url: str
    repeated: bool = False


class Session(BaseModel):
    id: str
    kind: str
    principal: str
    flow: str | None
    """Whose tools, models and budget it has."""
    owner: str | None
    """Who enrolled the agent; None for an execution's, which says itself who started it."""
    execution_id: str | None
    created_at: datetime
    opened_at: datetime | None
    """None while the token of an enrolled agent was never used."""
    alive_until: datetime
    revoked_at: datetime | None


class Problem(BaseModel):
    """RFC 9457, with our two members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
