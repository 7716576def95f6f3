"""Why an execution is PENDING, in a word, a sentence and its place in line. Pure.

The same facts decide in `queue`; here they are only told. What is known of them is read by `pending`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Reason(StrEnum):
    NO_ENGINE = "no_engine"  # nobody could run it: no runner lives, or none has an engine
    BACKOFF = "backoff"  # a retry whose time hasn't come
    ACCOUNT_SLOTS = "account_slots"  # as many run as the account may have
    FLOW_CONCURRENCY = "flow_concurrency"  # as many of its flow run as may
    RUNNER_BUSY = "runner_busy"  # every runner has as many as it takes
    NEXT = "next"  # nothing holds it but who comes before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides. `position` counts from 1 within the flow; `slots` None is no limit; `places` are those of all
    runners that live and have an engine; `problem` is why one has none."""

    position: int
    not_before: datetime | None
    flow_running: int
    concurrency: int
    running: int
    slots: int | None
    places: int
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """`position` is the place among the waiting executions of its flow: 1 starts first."""

    reason: Reason
    text: str
    position: int


def why(facts: Facts, now: datetime) -> Waiting:
    """The first thing that would have to change."""
    reason, text = _why(facts, now)
    ahead = facts.position - 1
    if ahead and reason is not Reason.BACKOFF:
        text = f"{text} {ahead} of its flow {'comes' if ahead == 1 else 'come'} before it."
    return Waiting(reason=reason, text=text, position=facts.position)


def _why(facts: Facts, now: datetime) -> tuple[Reason, str]:
    if facts.places == 0:
        return Reason.NO_ENGINE, _sentence(facts.problem or "No runner is up.")
    if facts.not_before is not None and facts.not_before > now:
        return Reason.BACKOFF, f"It is a retry and starts at {facts.not_before:%H:%M:%S} UTC at the earliest."
    if facts.slots is not None and facts.running >= facts.slots:
        return Reason.ACCOUNT_SLOTS, f"{_all(facts.slots, 'slot')} of the account {_are(facts.slots)} taken."
    if facts.flow_running >= facts.concurrency:
        return Reason.FLOW_CONCURRENCY, f"{facts.flow_running} of its flow run, and {facts.concurrency} may at a time."
    if facts.running >= facts.places:
        return Reason.RUNNER_BUSY, f"{_all(facts.places, 'place')} of the runners {_are(facts.places)} taken."
    return Reason.NEXT, "A slot is free for it."


def _all(count: int, what: str) -> str:
    return f"The only {what}" if count == 1 else f"All {count} {what}s"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
