"""What if: which rule decides about a call and why, and what changed rules would have said about past calls. Pure.

A past call is replayed over exactly what its rules saw, which is kept with it; `evaluate` is handed in, as in `policy`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control.approvals import policy
from control.approvals.policy import Allow, Ask, Evaluate
from control.identity.charter import Gate, ToolGrant

_NAMED = re.compile(r"\b(?:args|flow|execution|principal|now)(?:\.[A-Za-z_]\w*)*")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the flow's tools that speaks of the call, and what its two expressions came out as: true, false,
    always, or why they could not be decided."""

    number: int
    server: str
    tool: str
    deny: str | None
    deny_says: str | None
    group: str | None
    when: str | None
    when_says: str | None
    values: Mapping[str, Any]
    """What the expressions looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict in words: allow, ask or deny; whom it asks (the strictest gate's group first, and its quorum); the rule
    that decided."""

    verdict: str
    rule: str
    group: str | None = None
    quorum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    ruling: Ruling
    gate: Gate | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A call that was made, what its rules saw, and what they said."""

    id: str
    server: str
    tool: str
    facts: Mapping[str, Any]
    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    past: Past
    now: Ruling


def explain(tools: Sequence[ToolGrant], server: str, tool: str, facts: dict[str, Any], evaluate: Evaluate) -> Explained:
    """The verdict on a call, and what each entry that speaks of it said."""
    mine = policy.matching(tools, server, tool)
    verdict = policy.decide(mine, facts, evaluate)
    entries = [_entry(number, grant, facts, evaluate) for number, grant in enumerate(tools, 1) if grant in mine]
    gate = verdict.gate if isinstance(verdict, Ask) else None
    return Explained(ruling=_ruling(verdict), gate=gate, entries=tuple(entries))


def replay(tools: Sequence[ToolGrant], calls: Sequence[Past], evaluate: Evaluate) -> list[Change]:
    """The calls about which these rules would have said something else. Whom a past call asked may not be known
    (`group` is None): then only the verdict counts."""
    changes = []
    for past in calls:
        now = _ruling(policy.decide(policy.matching(tools, past.server, past.tool), dict(past.facts), evaluate))
        before = past.ruling
        same_people = before.group is None or (now.group, now.quorum) == (before.group, before.quorum)
        if now.verdict != before.verdict or not same_people:
            changes.append(Change(past=past, now=now))
    return changes


def _ruling(verdict: policy.Verdict) -> Ruling:
    if isinstance(verdict, Ask):
        groups = ", ".join(gate.group for gate in (verdict.gate, *verdict.also))
        return Ruling(verdict="ask", rule=verdict.rule, group=groups, quorum=verdict.gate.quorum)
    return Ruling(verdict="allow" if isinstance(verdict, Allow) else "deny", rule=verdict.rule)


def _entry(number: int, grant: ToolGrant, facts: dict[str, Any], evaluate: Evaluate) -> Entry:
    gate = grant.approval
    when = gate.when if gate else None
    return Entry(
        number=number,
        server=grant.server,
        tool=grant.tool,
        deny=grant.deny,
        deny_says=_says(grant.deny, facts, evaluate),
        group=gate.group if gate else None,
        when=when,
        when_says=_says(when, facts, evaluate) or (ALWAYS if gate else None),
        values={name: value for text in (grant.deny, when) if text for name, value in _seen(text, facts).items()},
    )


def _says(expression: str | None, facts: dict[str, Any], evaluate: Evaluate) -> str | None:
    if expression is None:
        return None
    try:
        return "true" if evaluate(expression, facts) else "false"
    except Exception as error:  # what policy takes for the strict answer is shown as what it is
        return f"could not be decided: {error}"


def _seen(expression: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The values an expression names, as far as they exist: {'args.amount': 1500}."""
    found: dict[str, Any] = {}
    for name in _NAMED.findall(_QUOTED.sub("", expression)):
        value: Any = facts
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                break
            value = value[part]
        else:
            found[name] = value
    return found
