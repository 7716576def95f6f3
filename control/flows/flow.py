"""A flow file: what starts it, who works, with which tools, models and limits. Pure.

Each key's docstring is its description in `/api/flow.schema.json`. Reading and writing files is next door in `source`.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from control.flows.quantities import Bytes, Nano, Pause, Seconds, mebibytes, seconds, usually
from control.flows.reach import GitRepository, Site
from control.flows.triggers import Trigger
from control.identity.charter import Charter, Confirm, Gate, Justification, OnDecline, OnToolError, ToolGrant
from kit import json_schema
from kit.errors import Invalid

_SLOT = re.compile(r"\{\{\s*args\.[^\s{}]+\s*\}\}")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Agent(Strict):
    runtime: Literal["codex", "gemini", "opencode", "claude", "command", "scripted"]
    """Which agent works."""
    model: str = "default"
    """An alias of preloop.toml's [models]."""
    gateway: bool | Literal["prefer"] = True
    """Do its model calls go through the gateway? `false` is past it, unmetered, with a key that an admin marked for
    this flow; `prefer` is that only where the gateway can't serve the model when the agent starts."""
    image: str = Field(default="", max_length=300, pattern=r"^\S*$")
    """With `runtime: command`, the image that it runs in."""
    command: tuple[str, ...] = ()
    """With `runtime: command`, the program and its arguments; no shell reads them. The prompt is its standard input."""

    @model_validator(mode="after")
    def _brings_its_own(self) -> "Agent":
        if self.runtime != "command" and (self.image or self.command):
            raise ValueError("`image` and `command` belong to `runtime: command`; other agents have their own")
        if self.runtime == "command" and not (self.image and self.command):
            raise ValueError("`runtime: command` needs an `image` and a `command`")
        return self


class Approval(Strict):
    group: str
    """Who is asked: a group of preloop.toml."""
    when: str | None = None
    """CEL over the call; without it every call is asked about, false runs without asking, one that errs asks."""
    timeout: Seconds = usually(seconds, "10m")
    """How long people have; then it counts as declined."""
    quorum: int = Field(default=1, ge=1, le=20)
    """How many must say yes."""
    escalate: str | None = None
    """A group that is asked too when three quarters of the time are over."""
    four_eyes: bool = False
    """Whoever started the run can't be the only vote."""
    confirm: Confirm = "press"
    """`typed`: approvers write what they agree to."""
    sign_in: bool = False
    """A link can look, not decide."""
    summary: str | None = Field(default=None, min_length=1, max_length=300)
    """The request in a sentence, with {{args.name}} in it."""

    @field_validator("summary")
    @classmethod
    def _speaks_of_arguments(cls, summary: str | None) -> str | None:
        if summary and ("{{" in _SLOT.sub("", summary) or "}}" in _SLOT.sub("", summary)):
            raise ValueError("a summary holds {{args.name}} and words, nothing else in braces")
        return summary


class Tool(Strict):
    server: str
    """A tool server of preloop.toml; `*` is all of them, `pay*` those that begin so."""
    tool: str
    """As the server names it; `*` works here too. All entries that fit a call apply, strictest wins."""
    approval: Approval | None = None
    """Whose yes a call needs."""
    justification: Justification = "none"
    """Does the agent say why it calls?"""
    deny: str | None = None
    """CEL over the call; true refuses it, one that errs refuses it too."""


class Limits(Strict):
    timeout: Seconds = usually(seconds, "30m")
    """The agent's active time; the account's plan has a maximum. Waiting for people is not in it."""
    init: Seconds | None = None
    """What the commands of `init` may take; it counts in `timeout` too, and is half of it, 10 minutes at most, unless
    it is written."""
    wall: Seconds = usually(seconds, "24h")
    """From the claim to the end, waiting for people included, the queue not."""
    concurrency: int = Field(default=1, ge=1, le=1000)
    """Executions of this flow at a time; the others wait in the queue."""
    budget_usd: Nano | None = None
    """What the models of one execution may cost."""
    max_log_mb: int = Field(default=50, ge=1, le=100_000)
    """How much log of one execution is kept; beyond it the run goes on, and the log says that it was cut."""

    @property
    def log_bytes(self) -> int:
        return self.max_log_mb << 20

    def init_s(self, timeout_s: int) -> int:
        """Seconds for `init` in a run whose working time is `timeout_s`, which a plan may have lowered."""
        return self.init or max(1, min(600, timeout_s // 2))


Cause = Literal[
    "tool_failed",
    "tool_not_allowed",
    "invalid_arguments",
    "approval_declined",
    "approval_expired",
    "agent_error",
    "agent_unverified",
    "setup_failed",
    "model_error",
    "credits_exhausted",
    "budget_exceeded",
    "timeout",
    "runner_lost",
    "result_invalid",
    "tool_outcome_unknown",
    "out_of_memory",
    "killed",
    "stream_cut",
    "log_quota",
    "approver_unreachable",
    "internal_error",
]
"""Those of `executions/states` that may be repeated: what a person cancelled is never."""


class Retries(Strict):
    attempts: int = Field(default=0, ge=0, le=10)
    """How often a run that failed is started again by itself."""
    on: tuple[Cause, ...] = ("model_error", "runner_lost")
    """The causes it is done for."""
    after_tools: bool = False
    """Also when a tool that writes was called already? One is known to read only by its `readOnlyHint`."""


Days = Annotated[int, Field(ge=1, le=36_500)]


class Retention(Strict):
    """Days after the end of an execution; the account's rules hold too, and what is earlier counts."""

    logs_days: Days | None = None
    payloads_days: Days | None = None
    """The event, and the prompt made of it."""
    results_days: Days | None = None
    """Arguments and results of tool calls, and what the agent left."""

    def by_class(self) -> dict[str, int]:
        """Those that are said: {"logs": 7}."""
        told = {"logs": self.logs_days, "payloads": self.payloads_days, "results": self.results_days}
        return {kind: days for kind, days in told.items() if days is not None}


class Resources(Strict):
    memory: Bytes = usually(mebibytes, "2g")
    cpus: float = Field(default=1.0, gt=0, le=1024)
    pids: int = Field(default=256, ge=16, le=1_000_000)
    """Processes and threads."""


class Flow(Strict):
    version: Literal[1]
    """Of this file format."""
    name: Name
    """Small letters, digits and hyphens; its address."""
    description: str = ""
    agent: Agent
    triggers: tuple[Trigger, ...] = Field(default_factory=lambda: (Trigger(type="manual"),))
    """What starts it; without any, people by hand."""
    prompt: str
    """What the agent is told, with {{trigger_event.payload.…}} in it."""
    tools: tuple[Tool, ...] = ()
    """The tools it may call, and nothing else."""
    limits: Limits = Field(default_factory=Limits)
    retries: Retries = Field(default_factory=Retries)
    retention: Retention = Field(default_factory=Retention)
    """What of its executions is kept for less long than the account keeps it."""
    on_decline: OnDecline = "fail"
    """A refused approval ends the run, or the agent reads the refusal and goes on."""
    on_tool_error: OnToolError = "report"
    """`report`: the run fails when a tool's last call failed; `fail`: at the first; `ignore`: the agent's verdict."""
    on_undefined: Literal["render", "fail"] = "render"
    """A variable that the event does not have becomes `undefined`, or the event is refused."""
    egress: tuple[Site, ...] | Literal["open"] = ()
    """Hosts that it may open connections to, `name` or `name:port`; `open` is every public one."""
    git: tuple[GitRepository, ...] = ()
    """Repositories that it may clone and, where that is said, push to; their credentials stay outside."""
    init: tuple[str, ...] = ()
    """Shell lines before the agent; nothing is filled into them."""
    resources: Resources = Field(default_factory=Resources)
    post_exec_sleep: Pause = 0
    """Keep the container after the agent ended, to look into it."""
    result_schema: dict[str, Any] = Field(default_factory=dict)
    """JSON Schema of `result.json`, which the agent then has to leave in its work folder."""

    @field_validator("version", mode="before")
    @classmethod
    def _is_a_number(cls, version: object) -> object:
        if isinstance(version, bool):
            raise ValueError("Input should be 1")
        return version

    @field_validator("result_schema")
    @classmethod
    def _can_be_checked(cls, schema: dict[str, Any]) -> dict[str, Any]:
        try:
            json_schema.validator("the result", schema)
        except Invalid as refused:
            raise ValueError(refused.message) from refused
        return schema

    @field_validator("git")
    @classmethod
    def _are_different(cls, git: tuple[GitRepository, ...]) -> tuple[GitRepository, ...]:
        if len({(one.host, one.repo) for one in git}) < len(git):
            raise ValueError("a repository stands twice; what may be pushed to is one branch, or one `…*`")
        return git

    def charter(self) -> Charter:
        """What a session of this flow may do."""
        grants = [
            ToolGrant(
                server=tool.server,
                tool=tool.tool,
                approval=_gate(tool.approval),
                justification=tool.justification,
                deny=tool.deny,
            )
            for tool in self.tools
        ]
        return Charter(
            flow=self.name,
            tools=tuple(grants),
            models=(self.agent.model,),
            budget_nano=self.limits.budget_usd,
            on_decline=self.on_decline,
            on_tool_error=self.on_tool_error,
            egress=self.egress,
            git=tuple(repository.grant() for repository in self.git),
        )

    def starts_by(self, kind: str) -> bool:
        return any(trigger.type == kind for trigger in self.triggers)


def loads(stored: str) -> Flow:
    return Flow.model_validate(json.loads(stored))


def _gate(approval: Approval | None) -> Gate | None:
    if approval is None:
        return None
    return Gate(
        group=approval.group,
        when=approval.when,
        timeout_s=approval.timeout,
        quorum=approval.quorum,
        escalate=approval.escalate,
        four_eyes=approval.four_eyes,
        confirm=approval.confirm,
        sign_in=approval.sign_in,
        summary=approval.summary,
    )
