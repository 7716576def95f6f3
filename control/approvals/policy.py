"""Which call runs, which needs a person, which never runs. Pure: the evaluator of expressions is handed in.

Every entry that matches applies and the strictest wins: deny over ask over allow. No entry is a denial. An erring
`deny` denies, an erring `when` asks. Of several entries that ask, each group's gate must be passed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from control.identity.charter import Confirm, Gate, ToolGrant, fits

Evaluate = Callable[[str, dict[str, Any]], bool]
UNDECIDED = " could not be decided"
"""In the words of a rule whose expression went wrong, after the expression and before the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`gate` is the strictest of those that fired, with what any of them wants of a decision; `also` are those of other
    groups."""

    gate: Gate
    rule: str
    also: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    rule: str


Verdict = Allow | Ask | Deny


def matching(grants: Sequence[ToolGrant], server: str, tool: str) -> tuple[ToolGrant, ...]:
    """The entries of an allowlist that speak of this tool."""
    return tuple(grant for grant in grants if fits(grant.server, server) and fits(grant.tool, tool))


def names_server(grants: Sequence[ToolGrant], server: str) -> bool:
    """Does an allowlist speak of any tool of this server?"""
    return any(fits(grant.server, server) for grant in grants)


def not_listed(name: str) -> str:
    """What an agent reads that calls a tool which no entry speaks of."""
    return f"Tool '{name}' not found in allowed tools"


def is_undecided(rule: str) -> bool:
    """Did this rule ask or deny because its expression went wrong?"""
    return UNDECIDED in rule


def without_error(rule: str) -> str:
    """The rule itself, without what went wrong: that may hold what a model wrote."""
    return rule.partition(UNDECIDED)[0]


def decide(grants: Sequence[ToolGrant], facts: dict[str, Any], evaluate: Evaluate) -> Verdict:
    """The verdict over entries that match. `facts` are the variables of `rules.VARIABLES`."""
    if not grants:
        return Deny(rule="no entry of the flow allows this tool")
    for grant in grants:
        if grant.deny is not None and (why := _denies(grant.deny, facts, evaluate)):
            return Deny(rule=why)
    asks = [ask for grant in grants if grant.approval and (ask := _asks(grant.approval, facts, evaluate))]
    if asks:
        return _together(asks)
    return Allow(rule="the flow lists this tool" + (" and its condition is false" if grants[0].approval else ""))


def _together(asks: Sequence[Ask]) -> Ask:
    """One gate a group, as strict as that group's strictest; the shortest time counts for all."""
    gates: dict[str, Gate] = {}
    for ask in asks:
        known = gates.get(ask.gate.group, ask.gate)
        gates[known.group] = _stricter(known, ask.gate)
    every = tuple(gates.values())
    first, *also = sorted(every, key=lambda gate: (-gate.quorum, not gate.four_eyes, gate.timeout_s))
    typed: Confirm = "typed" if any(gate.confirm == "typed" for gate in every) else "press"
    gate = replace(
        first,
        timeout_s=min(gate.timeout_s for gate in every),
        confirm=typed,
        sign_in=any(gate.sign_in for gate in every),
        summary=next((gate.summary for gate in (first, *also) if gate.summary), None),
    )
    return Ask(gate=gate, rule="; ".join(dict.fromkeys(ask.rule for ask in asks)), also=tuple(also))


def _stricter(one: Gate, other: Gate) -> Gate:
    """Two gates of one group as one. The next group may only stand in where both say so."""
    return replace(
        one,
        quorum=max(one.quorum, other.quorum),
        timeout_s=min(one.timeout_s, other.timeout_s),
        four_eyes=one.four_eyes or other.four_eyes,
        escalate=one.escalate if one.escalate == other.escalate else None,
        confirm="typed" if "typed" in (one.confirm, other.confirm) else "press",
        sign_in=one.sign_in or other.sign_in,
        summary=one.summary or other.summary,
    )


def _denies(expression: str, facts: dict[str, Any], evaluate: Evaluate) -> str | None:
    try:
        return f"deny: {expression}" if evaluate(expression, facts) else None
    except Exception as error:  # whatever went wrong, the answer is no
        return f"deny: {expression}{UNDECIDED} ({error})"


def _asks(gate: Gate, facts: dict[str, Any], evaluate: Evaluate) -> Ask | None:
    if gate.when is None:
        return Ask(gate=gate, rule=f"every call is asked of {gate.group}")
    try:
        hit = evaluate(gate.when, facts)
    except Exception as error:  # whatever went wrong, a person decides
        return Ask(gate=gate, rule=f"when: {gate.when}{UNDECIDED} ({error})")
    return Ask(gate=gate, rule=f"when: {gate.when}") if hit else None
