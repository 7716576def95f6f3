"""What a runtime session may do: one value, resolved from a flow version or an enrolled token. Doors read this, never
a flow.

Pure. Amounts are nano-dollars, durations seconds.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from kit import canonical

Justification = Literal["none", "optional", "required"]
OnDecline = Literal["fail", "continue"]
Confirm = Literal["press", "typed"]
OnToolError = Literal["report", "fail", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who must say yes. `when` is CEL over the call; absent means always. `escalate` is a group that is asked too when
    three quarters of the time are over; under `four_eyes` whoever started the run can't be the only vote. For what is
    dear, `typed` has the approver write what they agree to, and `sign_in` lets a link look but not decide. `summary` is
    the request in a sentence, with `{{args.name}}` in it."""

    group: str
    when: str | None = None
    timeout_s: int = 600
    quorum: int = 1
    escalate: str | None = None
    four_eyes: bool = False
    confirm: Confirm = "press"
    sign_in: bool = False
    summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGrant:
    """One entry of an allowlist. Server and tool may be `*` or end in it; all entries that match apply, strictest
    wins."""

    server: str
    tool: str
    approval: Gate | None = None
    justification: Justification = "none"
    deny: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitGrant:
    """A repository that may be read; `push` is the branch that may be written, or the beginning of it before a `*`."""

    host: str
    repo: str
    push: str | None = None


def fits(pattern: str, name: str) -> bool:
    """Does an entry's server, tool or branch speak of this one?"""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """Tools, models, money and reach of one session. An execution that repeats another by itself spends of that one's
    budget: `budget_of` is the first one of them; without it the execution's, or the session's, is its own. `egress` are
    the hosts, with their port where it is not 443, that it may open connections to; `open` is every public one."""

    flow: str | None
    tools: tuple[ToolGrant, ...]
    models: tuple[str, ...]
    budget_nano: int | None = None
    budget_of: str | None = None
    on_decline: OnDecline = "fail"
    on_tool_error: OnToolError = "report"
    egress: tuple[str, ...] | Literal["open"] = ()
    git: tuple[GitGrant, ...] = ()


def dumps(charter: Charter) -> str:
    return canonical.dumps(asdict(charter))


def loads(text: str) -> Charter:
    body: dict[str, Any] = canonical.parse(text)
    grants = []
    for entry in body.pop("tools"):
        gate = entry.pop("approval")
        grants.append(ToolGrant(**entry, approval=Gate(**gate) if gate else None))
    body |= {"tools": tuple(grants), "models": tuple(body["models"])}
    if body.get("egress") != "open":
        body["egress"] = tuple(body.get("egress", ()))
    body["git"] = tuple(GitGrant(**entry) for entry in body.get("git", ()))
    return Charter(**body)
