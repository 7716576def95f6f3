"""From what was seen to a verdict: exit code, markers, tool and model calls, what the control plane knows. Pure.

Logs never decide; they feed suggestions. The sentences are the product page's where it has one. Neighbours:
`model_faults` speaks of models, `suggestions` finds what to do in an error's words.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from control.executions import model_faults, suggestions
from control.executions.model_faults import ModelEnd
from control.executions.states import Cause
from control.executions.verdict import Verdict, span

KILLED = {128 + number: number for number in (signal.SIGKILL, signal.SIGTERM)}
"""Exit codes of an agent that something outside ended. Others above 128 are CLIs' own: Gemini's is an HTTP status."""
REFUSALS = {"tool_not_allowed": Cause.TOOL_NOT_ALLOWED, "invalid_arguments": Cause.INVALID_ARGUMENTS}

LOST = Verdict(
    cause=Cause.RUNNER_LOST,
    message="The worker of this execution was lost and nobody could take it over.",
    hint="Run it again; if it happens often, look at the runner's memory and its engine.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnd:
    """How one tool call ended, in the order of asking. `status` is that of `toolcalls.Status`; or that of REFUSALS
    where the call never became a row."""

    tool: str
    status: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnd:
    """The last word of an agent's CLI about its work: some exit with 0 when it failed."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything the verdict is made of. `waiting` names tools whose approval was still open, `models` ended in this
    order, `waited` says that the wall clock was over and not the agent's own time, `tail` are the log's last lines.
    `speaks`: its CLI always has a last word, `final`. `metered`: its model calls come through the gateway. `result`
    says what is wrong with the result that its flow asks for."""

    exit_code: int | None
    agent_started: bool
    agent_ended: bool = False
    gone: bool = False
    oom_killed: bool = False
    stop_intent: Cause | None = None
    tools: Sequence[ToolEnd] = ()
    models: Sequence[ModelEnd] = ()
    waiting: Sequence[str] = ()
    on_tool_error: str = "report"
    speaks: bool = False
    final: AgentEnd | None = None
    needs_tools: bool = False
    tools_listed: bool = False
    metered: bool = True
    model_called: bool = False
    result: str = ""
    timeout_s: int = 1800
    wall_s: int = 86400
    waited: bool = False
    tail: Sequence[str] = ()


def judge(seen: Seen) -> Verdict:
    """The verdict on a run whose agent has ended or can't be reached any more."""
    if seen.stop_intent is not None:
        return _stopped(seen, seen.stop_intent)
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
            hint=suggestions.for_log(seen.tail),
        )
    return _agent(seen)


def _agent(seen: Seen) -> Verdict:
    if seen.waiting:
        return Verdict(
            cause=Cause.AGENT_ERROR,
            message=f"The agent ended while its call of '{seen.waiting[0]}' still waited for approval.",
            hint="Its client gave up waiting: raise its tool timeout above the approval's.",
            tool=seen.waiting[0],
        )
    unknown = [call for call in seen.tools if call.status == "unknown"]
    if unknown:
        return Verdict(
            cause=Cause.TOOL_OUTCOME_UNKNOWN,
            message=f"Tool '{unknown[-1].tool}' was sent and its answer was lost; whether it happened is not known.",
            hint="Look at the tool's own records before you run this again.",
            stage="tool",
            tool=unknown[-1].tool,
        )
    if call := model_faults.broken(seen.models):  # the last the agent heard: what tools said before, it was to weigh
        return model_faults.verdict(call)
    failed = _failed_tool(seen.tools)
    if failed and seen.on_tool_error != "ignore":
        return _tool(failed)
    if seen.exit_code != 0 or (seen.final and not seen.final.ok):
        return _ended_badly(seen)
    return _unverified(seen) or _result(seen) or Verdict(cause=None)


def _ended_badly(seen: Seen) -> Verdict:
    """Nothing that we know of explains it: the agent's own code, and its last word."""
    if killer := KILLED.get(seen.exit_code or 0):
        name = signal.Signals(killer).name
        return Verdict(
            cause=Cause.KILLED,
            message=f"The agent was killed by {name}, and not by us.",
            hint="Something in its container or on its machine ended it; for SIGKILL that is mostly a lack of memory.",
        )
    said = seen.final.message if seen.final and not seen.final.ok else ""
    return Verdict(
        cause=Cause.AGENT_ERROR,
        message=f"The agent ended with exit code {seen.exit_code}" + (f" and says: {said}" if said else "."),
        hint=suggestions.for_log(seen.tail),
    )


def _unverified(seen: Seen) -> Verdict | None:
    """It says that it is done, and we saw nothing of it."""
    if seen.needs_tools and not seen.tools_listed:
        return Verdict(
            cause=Cause.AGENT_UNVERIFIED,
            message="The agent ended well but never asked for its tools.",
            hint="It could not reach the MCP endpoint, or was not configured to.",
        )
    if seen.metered and not seen.model_called:
        return Verdict(
            cause=Cause.AGENT_UNVERIFIED,
            message="The agent ended well but never called its model through the gateway.",
            hint="It was not configured to, or it talks to a model that we don't see.",
        )
    if seen.speaks and seen.final is None:
        return Verdict(
            cause=Cause.AGENT_UNVERIFIED,
            message="The agent ended with exit code 0 and never said that it was done.",
            hint="Its output breaks off before its last event: look at the end of its log.",
        )
    return None


def _result(seen: Seen) -> Verdict | None:
    """It says that it is done, and its result is not what was asked for."""
    if not seen.result:
        return None
    return Verdict(
        cause=Cause.RESULT_INVALID,
        message=seen.result,
        hint="Tell the agent in the prompt to write result.json into its work folder, and what is to be in it.",
    )


def _failed_tool(calls: Sequence[ToolEnd]) -> ToolEnd | None:
    """The last call of a tool failed, or was refused as none of its calls, and no later call of it succeeded."""
    last: dict[str, ToolEnd] = {}
    for call in calls:
        if call.status in ("failed", "succeeded", *REFUSALS):
            last[call.tool] = call
    return next((call for call in last.values() if call.status != "succeeded"), None)


def _tool(call: ToolEnd) -> Verdict:
    cause = REFUSALS.get(call.status)
    if cause is not None or call.error.startswith("Tool '"):  # the agent was told a whole sentence
        hint = suggestions.for_refusal(call.error)
        message = call.error
    else:
        hint = suggestions.for_tool(call.error)
        message = f"Tool '{call.tool}' failed with error: {call.error}"
    return Verdict(cause=cause or Cause.TOOL_FAILED, message=message, hint=hint, stage="tool", tool=call.tool)


def _stopped(seen: Seen, cause: Cause) -> Verdict:
    if cause is Cause.TOOL_FAILED and (failed := [call for call in seen.tools if call.status == "failed"]):
        return _tool(failed[0])
    verdict = stopped(cause, seen.timeout_s, wall_s=seen.wall_s if seen.waited else None)
    if cause is Cause.STREAM_CUT and seen.waiting:
        return replace(
            verdict,
            message=f"The agent did not listen any more while its call of '{seen.waiting[0]}' waited for a person.",
            stage="approval",
            tool=seen.waiting[0],
        )
    return verdict


def stopped(cause: Cause, timeout_s: int = 1800, *, wall_s: int | None = None) -> Verdict:
    """The verdict on a run that was stopped on purpose; `wall_s` if it was the wall clock that was over."""
    if cause is Cause.TIMEOUT and wall_s is not None:
        return Verdict(
            cause=cause,
            message=f"Execution exceeded maximum time limit ({span(wall_s)})",
            hint="This limit counts waiting for people too: watch the approvals, or increase limits.wall",
        )
    if cause is Cause.TIMEOUT:
        return Verdict(
            cause=cause,
            message=f"Execution exceeded maximum time limit ({span(timeout_s)})",
            hint="Break down the task into smaller flows or increase timeout",
        )
    if cause is Cause.CANCELLED:
        return Verdict(cause=cause, message="Cancelled.", hint="")
    if cause is Cause.STREAM_CUT:
        return Verdict(
            cause=cause,
            message="The agent did not listen any more while its tool call waited for a person.",
            hint="It may have died, hung or given up: its last lines say more. Run it again",
        )
    if cause is Cause.TOOL_FAILED:
        return Verdict(cause=cause, message="A tool failed, and this flow ends at the first failure.", hint="")
    return Verdict(cause=cause, message=cause.value.replace("_", " ").capitalize() + ".", hint="")


def declined(tool: str, approver: str, reason: str) -> Verdict:
    return Verdict(
        cause=Cause.APPROVAL_DECLINED,
        message=f"Approval request declined by {approver}" + (f"\nReason: {reason}" if reason else ""),
        hint=suggestions.for_decline(reason),
        told=f"Approval declined by {approver}: Reason: {reason.rstrip('.')}",
        fix="Adjust approval workflow or amount",
        stage="approval",
        tool=tool,
    )


def expired(tool: str, timeout_s: int) -> Verdict:
    return Verdict(
        cause=Cause.APPROVAL_EXPIRED,
        message=f"Nobody decided on '{tool}' within {span(timeout_s)}.",
        hint="Ask the approvers to watch their notices, or raise the approval's timeout.",
        told=f"Approval timed out: nobody decided within {span(timeout_s)}",
        fix="Ask the approvers to watch their notices, or raise the approval's timeout",
        stage="approval",
        tool=tool,
    )
