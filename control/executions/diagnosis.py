"""From what was seen to a verdict: exit code, markers, tool calls, what the control plane knows. Pure.

Logs never decide. The sentences are the product page's where it has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from control.executions.states import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnd:
    """How one tool call ended, in the order of asking. `status` is that of `toolcalls.Status`."""

    tool: str
    status: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything the verdict is made of. `waiting` names tools whose approval was still open."""

    exit_code: int | None
    agent_started: bool
    agent_ended: bool = False
    gone: bool = False
    oom_killed: bool = False
    stop_intent: Cause | None = None
    tools: Sequence[ToolEnd] = ()
    waiting: Sequence[str] = ()
    on_tool_error: str = "report"
    needs_tools: bool = False
    tools_listed: bool = False
    model_called: bool = False
    timeout_s: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`cause` None is a success. `told` is the one line that the agent and the log get."""

    cause: Cause | None
    message: str = ""
    hint: str = ""
    told: str = ""


def judge(seen: Seen) -> Verdict:
    """The verdict on a run whose agent has ended or can't be reached any more."""
    if seen.stop_intent is not None:
        return stopped(seen.stop_intent, seen.timeout_s)
    if seen.gone:
        return Verdict(
            cause=Cause.RUNNER_LOST,
            message="The agent's container is gone and left no exit code.",
            hint="Something else removed it, or the machine restarted. Run it again.",
        )
    if seen.oom_killed:
        return Verdict(
            cause=Cause.OUT_OF_MEMORY,
            message="The agent used more memory than it may and was killed.",
            hint="Raise resources.memory in the flow.",
        )
    if not seen.agent_started:
        return Verdict(
            cause=Cause.SETUP_FAILED,
            message=f"The set-up ended with exit code {seen.exit_code} before the agent began.",
            hint="The last lines of the log before the agent's start say which step failed.",
        )
    return _agent(seen)


def _agent(seen: Seen) -> Verdict:
    if seen.waiting:
        return Verdict(
            cause=Cause.AGENT_ERROR,
            message=f"The agent ended while its call of '{seen.waiting[0]}' still waited for approval.",
            hint="Its client gave up waiting: raise its tool timeout above the approval's.",
        )
    unknown = [call for call in seen.tools if call.status == "unknown"]
    if unknown:
        return Verdict(
            cause=Cause.TOOL_OUTCOME_UNKNOWN,
            message=f"Tool '{unknown[-1].tool}' was sent and its answer was lost; whether it happened is not known.",
            hint="Look at the tool's own records before you run this again.",
        )
    failed = _failed_tool(seen.tools)
    if failed and seen.on_tool_error != "ignore":
        return Verdict(
            cause=Cause.TOOL_FAILED,
            message=f"Tool '{failed.tool}' failed with error: {failed.error}",
            hint="Look at the arguments of the failed call; the prompt may name a value wrongly.",
        )
    if seen.exit_code != 0:
        return Verdict(
            cause=Cause.AGENT_ERROR,
            message=f"The agent ended with exit code {seen.exit_code}.",
            hint="The end of its log says why.",
        )
    if seen.needs_tools and not seen.tools_listed:
        return Verdict(
            cause=Cause.AGENT_UNVERIFIED,
            message="The agent ended well but never asked for its tools.",
            hint="It could not reach the MCP endpoint, or was not configured to.",
        )
    if not seen.model_called:
        return Verdict(
            cause=Cause.AGENT_UNVERIFIED,
            message="The agent ended well but never called its model through the gateway.",
            hint="It was not configured to, or it talks to a model that we don't see.",
        )
    return Verdict(cause=None)


def _failed_tool(calls: Sequence[ToolEnd]) -> ToolEnd | None:
    """The last call of a tool failed and no later call of it succeeded."""
    last: dict[str, ToolEnd] = {}
    for call in calls:
        if call.status in ("failed", "succeeded"):
            last[call.tool] = call
    return next((call for call in last.values() if call.status == "failed"), None)


def stopped(cause: Cause, timeout_s: int = 1800) -> Verdict:
    """The verdict on a run that was stopped on purpose."""
    if cause is Cause.TIMEOUT:
        return Verdict(
            cause=cause,
            message=f"Execution exceeded maximum time limit ({span(timeout_s)})",
            hint="Break down the task into smaller flows or increase timeout",
        )
    if cause is Cause.CANCELLED:
        return Verdict(cause=cause, message="Cancelled.", hint="")
    if cause is Cause.TOOL_FAILED:
        return Verdict(cause=cause, message="A tool failed, and this flow ends at the first failure.", hint="")
    return Verdict(cause=cause, message=cause.value.replace("_", " ").capitalize() + ".", hint="")


def declined(approver: str, reason: str) -> Verdict:
    return Verdict(
        cause=Cause.APPROVAL_DECLINED,
        message=f"Approval request declined by {approver}" + (f"\nReason: {reason}" if reason else ""),
        hint="Adjust what the agent asks for, or talk to the approver, and run it again.",
        told=f"Approval declined by {approver}: {reason.rstrip('.')}.",
    )


def expired(tool: str, timeout_s: int) -> Verdict:
    return Verdict(
        cause=Cause.APPROVAL_EXPIRED,
        message=f"Nobody decided on '{tool}' within {span(timeout_s)}.",
        hint="Ask the approvers to watch their notices, or raise the approval's timeout.",
        told=f"Approval timed out: nobody decided within {span(timeout_s)}.",
    )


def span(seconds: int) -> str:
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}" + ("" if count == 1 else "s")
    return f"{seconds} seconds"
