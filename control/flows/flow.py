"""A flow file: what starts it, who works, with which tools, models and limits. Pure; reading is strict.

Unknown keys are errors that name their line. A known key whose behaviour isn't built yet is refused as
`not_supported_yet`: `UNSUPPORTED` is the whole list.
"""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from control.identity.charter import Charter, Confirm, Gate, Justification, OnDecline, OnToolError, ToolGrant
from kit import canonical
from kit.errors import Invalid

NANO = 1_000_000_000
_SLOT = re.compile(r"\{\{\s*args\.[^\s{}]+\s*\}\}")
_DURATION = re.compile(r"(\d+)(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str | int) -> int:
    """'10m' → 600; a bare number is seconds."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _DURATION.fullmatch(str(text))
    if not found:
        raise ValueError(f"{text!r} is not a duration; write 90s, 10m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def mebibytes(text: str | int) -> int:
    """'2g' → bytes."""
    found = re.fullmatch(r"(\d+)(m|g)", str(text))
    if not found:
        raise ValueError(f"{text!r} is not a size; write 512m or 2g")
    return int(found[1]) << (20 if found[2] == "m" else 30)


def dollars(text: object) -> int:
    """'2.00' → nano-dollars. A float would not be exact, so only text is taken."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise ValueError(f'{text!r} is not an amount; write it in quotes: "2.00"')
    whole, _, part = text.partition(".")
    return int(whole) * NANO + int(part.ljust(9, "0"))


Seconds = Annotated[int, BeforeValidator(seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(mebibytes), Field(gt=0)]
Nano = Annotated[int, BeforeValidator(dollars), Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Agent(Strict):
    runtime: Literal["codex", "gemini", "opencode", "claude", "command", "scripted"]
    model: str = "default"
    gateway: bool | Literal["prefer"] = True


class Trigger(Strict):
    type: Literal["webhook", "github", "gitlab", "schedule", "manual"]


class Approval(Strict):
    group: str
    when: str | None = None
    timeout: Seconds = 600
    quorum: int = Field(default=1, ge=1, le=20)
    escalate: str | None = None
    four_eyes: bool = False
    confirm: Confirm = "press"
    sign_in: bool = False
    summary: str | None = Field(default=None, min_length=1, max_length=300)

    @field_validator("summary")
    @classmethod
    def _speaks_of_arguments(cls, summary: str | None) -> str | None:
        if summary and ("{{" in _SLOT.sub("", summary) or "}}" in _SLOT.sub("", summary)):
            raise ValueError("a summary holds {{args.name}} and words, nothing else in braces")
        return summary


class Tool(Strict):
    server: str
    tool: str
    approval: Approval | None = None
    justification: Justification = "none"
    deny: str | None = None


class Limits(Strict):
    timeout: Seconds = 1800
    wall: Seconds = 86400
    concurrency: int = Field(default=1, ge=1, le=1000)
    budget_usd: Nano | None = None
    max_log_mb: int = Field(default=50, ge=1)


class Retries(Strict):
    attempts: int = Field(default=0, ge=0, le=10)
    on: tuple[str, ...] = ()
    after_tools: bool = False


class Resources(Strict):
    memory: Bytes = 2 << 30
    cpus: float = Field(default=1.0, gt=0)
    pids: int = Field(default=256, ge=16)


class Flow(Strict):
    version: Literal[1]
    name: Name
    description: str = ""
    agent: Agent
    triggers: tuple[Trigger, ...] = (Trigger(type="manual"),)
    prompt: str
    tools: tuple[Tool, ...] = ()
    limits: Limits = Limits()
    retries: Retries = Retries()
    on_decline: OnDecline = "fail"
    on_tool_error: OnToolError = "report"
    on_undefined: Literal["render", "fail"] = "render"
    egress: tuple[str, ...] | Literal["open"] = ()
    init: tuple[str, ...] = ()
    resources: Resources = Resources()
    post_exec_sleep: Annotated[int, BeforeValidator(seconds), Field(ge=0, le=3600)] = 0
    result_schema: dict[str, Any] = {}

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
        )

    def starts_by(self, kind: str) -> bool:
        return any(trigger.type == kind for trigger in self.triggers)


UNSUPPORTED: tuple[tuple[str, Callable[[Flow], bool]], ...] = (
    ("agent.runtime", lambda f: f.agent.runtime not in ("codex", "scripted")),
    ("agent.gateway", lambda f: f.agent.gateway is not True),
    ("triggers.type", lambda f: any(t.type not in ("webhook", "manual") for t in f.triggers)),
    ("limits.max_log_mb", lambda f: f.limits.max_log_mb != 50),
    ("retries", lambda f: f.retries != Retries()),
    ("egress", lambda f: bool(f.egress)),
    ("result_schema", lambda f: bool(f.result_schema)),
)
"""Known keys whose behaviour is not built yet, each with the test that finds them used."""


def parse(text: str) -> Flow:
    """A flow from YAML (JSON is YAML too). Errors name the line and the key."""
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        body = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise Invalid("flow_invalid", f"The flow file is not YAML: {error}.", "Check indents and quotes.") from error
    if not isinstance(body, dict):
        raise Invalid("flow_invalid", "The flow file is empty or not a mapping.", "It begins with `version: 1`.")
    try:
        flow = Flow.model_validate(body)
    except ValidationError as error:
        raise _explain(error, node) from error
    for key, used in UNSUPPORTED:
        if used(flow):
            where = f"line {_line(node, tuple(key.split('.')))}, {key}"
            raise Invalid("not_supported_yet", f"{where}: this is known but not built yet.", "Leave it out for now.")
    return flow


def dumps(source: str) -> str:
    """What is stored of a flow: the file's own values as canonical JSON, so that it can be exported as it was
    written."""
    parse(source)
    return canonical.dumps(yaml.load(source, Loader=yaml.CSafeLoader))


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


def _explain(error: ValidationError, node: yaml.Node | None) -> Invalid:
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    path = tuple(part for part in first["loc"] if not str(part).startswith(("literal[", "function-")))
    key = ".".join(str(part) for part in path)
    known = "an unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return Invalid(
        "flow_invalid", f"line {_line(node, path)}, {key}: {known}{more}.", "`preloop flows export` shows a whole file."
    )


def _line(node: yaml.Node | None, path: tuple[str | int, ...]) -> int:
    """The line of the deepest node on a path that the file has, counted from 1."""
    line = node.start_mark.line + 1 if node else 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
