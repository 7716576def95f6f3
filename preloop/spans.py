"""What the record says, as spans: events and rows in, `kit/traces.Span` out; only this file has their names.

OpenTelemetry's semantic conventions for generative AI, v0.1.0 (github.com/open-telemetry/semantic-conventions-genai, on
semantic-conventions v1.45.0, status Development), with `preloop.*` where they have no word. Never a prompt, an answer,
an argument, a result, a message or somebody's name.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Row

from control.events import Event
from control.executions.states import FINAL, Stored
from control.executions.toolcalls import REFUSED, Status
from kit import traces
from kit.traces import Context, Kind, Span, Value, span_of
from ledger.prices import INPUT, OUTPUT

OPERATIONS = {"gemini": "generate_content", "embeddings": "embeddings"}
"""Of our wires; every other one is a chat."""
PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""What the conventions call a provider that LiteLLM calls otherwise."""
USAGE = {
    "gen_ai.usage.input_tokens": INPUT,
    "gen_ai.usage.output_tokens": OUTPUT,
    "gen_ai.usage.cache_read.input_tokens": ("cache_read", "cache_read_audio"),
    "gen_ai.usage.cache_creation.input_tokens": ("cache_write", "cache_write_1h"),
    "gen_ai.usage.reasoning.output_tokens": ("reasoning",),
}
Attributes = dict[str, Value]


def context_of(stream: str, first: Event | None, about: str) -> Context:
    """The trace that belongs to a stream: an execution's, by its first event. What an enrolled agent does has no run
    around it: each call, named by `about`, is a trace of its own."""
    if first is None or first.type != "execution.created":
        return traces.context(about)
    return traces.context(stream, first.data.get("traceparent"))


def root(execution_id: str) -> int:
    """The span of an execution as a whole."""
    return span_of(execution_id, "execution")


def agent(stream: str) -> int | None:
    """The span that an agent's calls are in."""
    return span_of(stream, "agent") if stream.startswith("exe_") else None


def triggered(context: Context, event: Event) -> Span:
    """An event came and made an execution."""
    at = datetime.fromisoformat(event.at)
    kind = str(event.data["trigger"])
    told: Attributes = {"preloop.trigger": kind}
    return _part(context, event.stream, "trigger", f"trigger {kind}", (at, at), told, kind=Kind.PRODUCER)


def queued(context: Context, execution_id: str, since: datetime, until: datetime) -> Span:
    return _part(context, execution_id, "queued", "queued", (since, until), {})


def set_up(context: Context, row: Row[Any], until: datetime, *, failed: bool) -> Span:
    """From the claim to the agent's first word: a place is made for it."""
    told: Attributes = {"preloop.engine": str(row.engine or "").partition(":")[0]}
    return _part(context, row.id, "set up", "set up", (row.claimed_at, until), told, failed=failed)


def ended(context: Context, row: Row[Any], before: Context | None) -> list[Span]:
    """The execution as a whole, its agent, and what it never came out of. `before` is the trace of the one that it
    repeats."""
    failed = Stored(row.state) in FINAL and row.state not in (Stored.SUCCEEDED, Stored.CANCELLED)
    told: Attributes = {
        "preloop.execution.id": row.id,
        "preloop.execution.state": row.state,
        "preloop.execution.attempt": row.attempt,
        "preloop.execution.epoch": row.epoch,
        "preloop.execution.waited_ms": row.waited_ms,
        "preloop.flow.name": row.flow_name,
        "preloop.flow.version": row.flow_version,
        "preloop.trigger": row.trigger_type,
    } | _error(row.cause if failed else None)
    other = row.retry_of or row.reruns
    whole = Span(
        context=context,
        id=root(row.id),
        parent=context.parent,
        name=f"execution {row.flow_name}",
        start=row.created_at,
        end=row.ended_at,
        failed=failed,
        attributes=told,
        links=((before.trace, root(other)),) if before and other else (),
    )
    if row.claimed_at is None:
        return [whole, queued(context, row.id, row.created_at, row.ended_at)]
    if row.agent_started_at is None:
        return [whole, set_up(context, row, row.ended_at, failed=failed)]
    return [whole, _agent(context, row, failed=failed)]


def _agent(context: Context, row: Row[Any], *, failed: bool) -> Span:
    told: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": row.flow_name,
        "gen_ai.agent.version": str(row.flow_version),
        "gen_ai.conversation.id": row.id,
    } | _error(row.cause if failed else None)
    if row.exit_code is not None:
        told["process.exit.code"] = row.exit_code
    when = (row.agent_started_at, row.agent_ended_at or row.ended_at)
    return _part(context, row.id, "agent", f"invoke_agent {row.flow_name}", when, told, failed=failed)


def asked_model(context: Context, event: Event) -> Span:
    """One attempt at a model."""
    data = event.data
    began = datetime.fromisoformat(data["began"])
    failed = event.type != "model.answered"
    operation = OPERATIONS.get(data["wire"], "chat")
    told: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(data["provider"], data["provider"]),
        "gen_ai.request.model": data["model"],
        "gen_ai.conversation.id": event.stream,
        "preloop.attempt.id": data["attempt"],
        "preloop.attempt.number": data["number"],
        "preloop.model.alias": data["alias"],
        "preloop.model.wire": data["wire"],
        "preloop.cost.source": data["cost_source"],
    } | _error(data["error"] or data["status"] if failed else None)
    optional = {
        "gen_ai.response.id": data.get("upstream_id"),
        "gen_ai.response.model": data.get("answered_by"),
        "gen_ai.response.finish_reasons": tuple(data.get("finish_reasons") or ()) or None,
        "preloop.cost.nano_usd": data["cost_nano"],
    }
    if data["first_token_ms"] is not None:
        optional["gen_ai.response.time_to_first_chunk"] = data["first_token_ms"] / 1000
    told |= {name: value for name, value in optional.items() if value is not None}
    return Span(
        context=context,
        id=span_of(data["attempt"]),
        parent=agent(event.stream) or context.parent,
        name=f"{operation} {data['model']}",
        start=began,
        end=began + timedelta(milliseconds=data["total_ms"] or 0),
        kind=Kind.CLIENT,
        failed=failed,
        attributes=told | _used(data["tokens"]),
    )


def _used(tokens: Mapping[str, int]) -> Attributes:
    sums = {name: sum(tokens.get(one, 0) for one in classes) for name, classes in USAGE.items()}
    return {name: count for name, count in sums.items() if count or name in list(USAGE)[:2]}


def called_tool(context: Context, row: Row[Any]) -> list[Span]:
    """A tool call from request to end, and the part of it that was upstream."""
    stream = row.execution_id or row.session_id
    why = None if row.status == Status.SUCCEEDED else "tool_error" if row.status == Status.FAILED else row.status
    told: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": row.tool,
        "gen_ai.tool.type": "extension",
        "gen_ai.conversation.id": stream,
        "preloop.tool.server": row.server,
        "preloop.tool_call.id": row.id,
        "preloop.tool_call.status": row.status,
    } | _error(why)
    whole = Span(
        context=context,
        id=span_of(row.id),
        parent=agent(stream) or context.parent,
        name=f"execute_tool {row.tool}",
        start=row.asked_at,
        end=row.settled_at or row.asked_at,
        failed=why is not None and row.status not in REFUSED,
        attributes=told,
    )
    if row.sent_at is None or row.settled_at is None:
        return [whole]
    sent: Attributes = {name: told[name] for name in ("gen_ai.operation.name", "gen_ai.tool.name")}
    sent |= {"mcp.method.name": "tools/call", "preloop.tool.server": row.server} | _error(why)
    upstream = Span(
        context=context,
        id=span_of(row.id, "sent"),
        parent=whole.id,
        name=f"tools/call {row.tool}",
        start=row.sent_at,
        end=row.settled_at,
        kind=Kind.CLIENT,
        failed=whole.failed,
        attributes=sent,
    )
    return [whole, upstream]


def approved(context: Context, row: Row[Any]) -> Span:
    """The wait for people, in the call that had to wait."""
    return Span(
        context=context,
        id=span_of(row.id),
        parent=span_of(row.call_id),
        name="approval wait",
        start=row.asked_at,
        end=row.decided_at or row.asked_at,
        attributes={
            "preloop.approval.id": row.id,
            "preloop.approval.status": row.status,
            "preloop.approval.group": row.approver_group,
        },
    )


def _part(
    context: Context,
    execution_id: str,
    part: str,
    name: str,
    when: tuple[datetime, datetime],
    told: Attributes,
    *,
    kind: Kind = Kind.INTERNAL,
    failed: bool = False,
) -> Span:
    """A part of an execution, right under it."""
    return Span(
        context=context,
        id=span_of(execution_id, part),
        parent=root(execution_id),
        name=name,
        start=when[0],
        end=when[1],
        kind=kind,
        failed=failed,
        attributes={"preloop.execution.id": execution_id} | told,
    )


def _error(kind: str | None) -> Attributes:
    return {"error.type": kind} if kind else {}
