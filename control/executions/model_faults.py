"""From a model call that broke to a verdict: whose fault, in which stage, and what to do. Pure.

It knows what the gateway's events say, not what a CLI made of the answer: those replace messages, repeat calls and end
with codes of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from control.executions.states import Cause
from control.executions.verdict import Stage, Verdict

OURS = frozenset({"cancelled", "session_ended", "worker_lost"})
"""Errors that say nothing about the model: its client left, the session was over, the gateway's process died."""
LEFT_ALONE = "upstream_out_of_order"
"""Our word for a model that failed too often to be asked right now."""
NAMES = {
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "gemini": "Google",
    "vertex_ai": "Google",
    "azure": "Azure OpenAI",
    "azure_ai": "Azure",
    "bedrock": "AWS Bedrock",
    "mistral": "Mistral",
    "deepseek": "DeepSeek",
    "openrouter": "OpenRouter",
    "groq": "Groq",
    "xai": "xAI",
    "ollama": "Ollama",
}
LIMITS = {
    "run": "Raise limits.budget_usd in the flow, or use a cheaper model",
    "": "Raise it under [[budgets]] in preloop.toml, or wait for its next period",
}
ASKS = "`preloop models check {alias}` asks it with the key of [models.{alias}]"
ELSE = "Retry later, or give [models.{alias}] a second upstream to fall back on"
SAID = {
    "rate_limited": (
        Cause.MODEL_ERROR,
        "Rate limit exceeded",
        "Wait a few minutes and retry, or upgrade your {name} plan",
    ),
    "credits_exhausted": (
        Cause.CREDITS_EXHAUSTED,
        "Out of API credits for {which}",
        "Add credits to your {name} account, or raise its spending limit; no budget of Preloop's is the reason",
    ),
    "unauthorized": (
        Cause.MODEL_ERROR,
        "The key of {which} was refused",
        f"Set another key in [models.{{alias}}], or give it access to the model; {ASKS}",
    ),
    "model_unknown": (
        Cause.MODEL_ERROR,
        "There is no {which}",
        f"Correct `model` of [models.{{alias}}] in preloop.toml; {ASKS}",
    ),
    "context_length": (
        Cause.MODEL_ERROR,
        "Context length of {which} exceeded",
        "Shorten the prompt or what tools answer, or use a model that reads more",
    ),
    "refused": (
        Cause.MODEL_ERROR,
        "{said} ({which})",
        "The agent sent what this model does not take: try another model, or another version of the agent",
    ),
    "overloaded": (Cause.MODEL_ERROR, "Overloaded, {which} did not answer", ELSE),
    "cut": (Cause.STREAM_CUT, "The answer of {which} broke off", f"{ELSE}; look at the way to {{name}} too"),
    "stalled": (Cause.MODEL_ERROR, "No answer in time from {which}", f"{ELSE}; {ASKS}"),
    "status": (Cause.MODEL_ERROR, "Status {status} from {which}", f"{ELSE}; {ASKS}"),
    "unreached": (Cause.MODEL_ERROR, "Nothing was reached for {which}", f"{ELSE}; {ASKS}"),
}
"""By the word for why the provider said no, or how it ended without one: cause, message, hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd:
    """How one attempt at a model ended, or one call that was refused before it. `error` is our code, `reason` the word
    for why a provider said no (`gateway/dialects/reasons`), `upstream_status` what it answered."""

    answered: bool
    alias: str = ""
    provider: str = ""
    model: str = ""
    error: str = ""
    message: str = ""
    reason: str = ""
    stage: str = ""
    status: str = ""
    upstream_status: int | None = None


def broken(calls: Sequence[ModelEnd]) -> ModelEnd | None:
    """The last of these calls, if it broke: one that was answered after it makes up for it. Where we left an upstream
    alone, it is what the upstream said before, if it was to this run."""
    heard = [call for call in reversed(calls) if call.error not in OURS]
    if not heard or heard[0].answered:
        return None
    last = heard[0]
    return (_before(last.alias, heard) if last.error == LEFT_ALONE else None) or last


def _before(alias: str, heard: Sequence[ModelEnd]) -> ModelEnd | None:
    """The newest failure at the provider of an alias, unless it was made up for; `heard` has the newest first."""
    for call in heard:
        if call.alias == alias and (call.answered or call.stage == "upstream"):
            return None if call.answered else call
    return None


def verdict(call: ModelEnd) -> Verdict:
    """What a run ends with whose last model call broke so."""
    if call.stage in ("routing", "budget"):
        return _refused(call, "routing" if call.stage == "routing" else "budget")
    name = NAMES.get(call.provider, call.provider.replace("_", " ").title() or "Model")
    cause, said, hint = _said(call, name)
    return _verdict(call, "upstream", cause, said, hint)


def _verdict(call: ModelEnd, stage: Stage, cause: Cause, message: str, hint: str) -> Verdict:
    model, provider = call.alias or None, call.provider or None
    return Verdict(cause=cause, message=message, hint=hint, stage=stage, model=model, provider=provider)


def _refused(call: ModelEnd, stage: Stage) -> Verdict:
    """We said no, in words that name the model and the limit."""
    if call.error == "budget_exceeded":
        hint = LIMITS["run" if " for this run " in call.message else ""]
        return _verdict(call, stage, Cause.BUDGET_EXCEEDED, call.message, hint)
    cause = Cause.TOOL_NOT_ALLOWED if call.error == "hosted_tool_not_allowed" else Cause.MODEL_ERROR
    hints = {
        "model_not_found": "Set agent.model in the flow to the alias that its agent asks for",
        "model_unpriced": f"Give it a price: input_usd_per_mtok and output_usd_per_mtok of [models.{call.alias}]",
        "cost_unbounded": "Make the budget soft, or leave out of the request what nobody can bound",
        "rate_limited": f"Raise requests_per_minute or concurrency of [models.{call.alias}], or let fewer agents run",
        "hosted_tool_not_allowed": "List the tool in the flow with `server: provider`",
        LEFT_ALONE: f"`preloop models check {call.alias}` says how it is; give it a fallback",
    }
    hint = hints.get(call.error, f"`preloop models check {call.alias}` says how the model is set up")
    return _verdict(call, stage, cause, call.message, hint)


def _said(call: ModelEnd, name: str) -> tuple[Cause, str, str]:
    """Cause, message and hint of a call that the provider, or the way to it, broke."""
    kind = call.reason if call.reason in SAID else _silent(call)
    cause, message, hint = SAID[kind]
    which = f"model '{call.alias}'" + (f" ({call.model})" if call.model not in ("", call.alias) else "")
    told = {"name": name, "which": which, "alias": call.alias, "said": call.message, "status": call.upstream_status}
    return cause, f"{name} API error: {message.format(**told)}", hint.format(**told)


def _silent(call: ModelEnd) -> str:
    """How a call ended of which the provider did not say why."""
    if call.status == "cut" or call.error == "upstream_cut":
        return "cut"
    if call.error == "upstream_stalled":
        return "stalled"
    return "status" if call.upstream_status is not None else "unreached"
