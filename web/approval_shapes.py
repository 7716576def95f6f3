"""What REST answers of approvals: requests with their votes, and what decides one. Forms are those of `shapes`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from control.identity.charter import Gate
from web.inputs import Body


class Vote(BaseModel):
    approver: str
    verdict: str
    reason: str | None
    at: datetime


class Approval(BaseModel):
    id: str
    url: str
    execution_id: str | None
    session_id: str
    flow: str | None
    call_id: str
    server: str
    tool: str
    status: str
    requester: str
    approver_group: str
    quorum: int
    rule: str
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class Receipt(BaseModel):
    """Where the record tells how a call ended; `preloop audit verify` walks that stream."""

    stream: str
    seq: int
    hash: str


class ApprovalDetail(Approval):
    arguments: Any
    """With secrets masked, as everywhere."""
    whole_arguments: Any = Field(exclude=True)
    approved_arguments: Any
    """What an approver changed them to, and what went upstream; None when nothing was changed."""
    whole_approved: Any = Field(exclude=True)
    content_deleted_at: datetime | None
    """When retention took arguments and result; the digest stays."""
    started_by: str | None
    """The person behind the run, who can't be the only vote under `four_eyes`."""
    four_eyes: bool
    gates: list[Gate]
    """All that must be passed: each wants people of its own group."""
    escalate_to: str | None
    escalated_at: datetime | None
    went_on: list[str] = Field(exclude=True)
    """The groups whose gates have asked the next one too."""
    confirm: str
    """`typed`: whoever approves writes the amount, or the tool's name."""
    sign_in: bool
    """A link can look, and not decide."""
    summary: str | None
    receipt: Receipt | None
    digest: str
    definition_digest: str | None
    justification: str | None
    call_status: str
    result: Any
    error: str | None
    votes: list[Vote]


class Verdict(Body):
    """A decision of somebody signed in; the digest is of the arguments that were looked at."""

    verdict: Literal["approved", "declined"]
    reason: str = Field(default="", max_length=2000)
    digest: str = ""
    typed: str = ""
    """What is written by hand where the request has `confirm: typed`."""
    arguments: dict[str, Any] | None = None
    """Approve, but with these arguments: a mask stands for the secret that was there."""
