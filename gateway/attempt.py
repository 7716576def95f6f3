"""One attempt at a model: what was seen of it, and what it comes to.

Values and sums only; the clock is passed in. `admission` makes it, `relay` feeds it, `flush` commits what it became.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gateway.bounds import estimate
from gateway.dialects.dialect import Meter
from gateway.flush import Happened
from gateway.intent import Intent
from gateway.routing import Step
from gateway.upstream import UpstreamFailed
from gateway.wires.neutral import CallArguments, CallBegun, Counted, Delta, Reasoning, Stop, Text
from kit.clock import Clock
from kit.errors import Fault
from kit.observe import log
from ledger import prices
from ledger.book import Entry, Status
from ledger.prices import CLASSES, Usage


class Attempt:
    """An admitted call while it runs."""

    def __init__(self, intent: Intent, clock: Clock) -> None:
        self.intent = intent
        self.fault: Fault | None = None
        self.stopped = False
        self.unsent = False
        """No byte of it went to the provider, for certain."""
        self.whole = False
        """Its answer came in one piece, or began to."""
        self._clock = clock
        self._started = clock.monotonic()
        self._first_ms: int | None = None
        self._heard = 0
        self._usage: Usage | None = None
        self._last = False  # nothing is counted after it
        self._hosted: Mapping[str, int] = {}  # uses of tools at the provider
        self._charged_nano: int | None = None  # what the provider says it charges, if it does
        self.upstream_id: str | None = None
        self._answered_by: str | None = None
        self._reasons: tuple[str, ...] = ()

    @property
    def began(self) -> bool:
        """Something of the answer was heard: it can't be asked for again elsewhere."""
        return self._first_ms is not None

    def sent(self) -> None:
        """From now on the provider may have read it."""
        self.unsent = False

    def metered(self, meter: Meter) -> None:
        """Take note of where an answer stands that passes through."""
        self._heard, self.stopped = meter.heard, meter.stopped
        self._reasons = tuple(reason for reason in meter.reasons.values() if reason)
        self.counted(meter.counted)
        if self._first_ms is None:
            self._first_ms = self._elapsed()

    def counted(self, told: Counted | None, *, last: bool = False) -> None:
        """Take note of what the provider says it used; the `last` word of a failure is its bill."""
        if told is not None:
            self._usage, self._charged_nano, self._last = told.usage, told.cost_nano, last
            self._hosted = told.hosted or {}
            self.upstream_id = told.upstream_id or self.upstream_id
            self._answered_by = told.model or self._answered_by

    def overheard(self, size: int) -> None:
        """Take note of so many bytes of an answer that could not be read."""
        self._heard = self._heard or size

    def saw(self, delta: Delta) -> None:
        """Take note of one delta."""
        match delta:
            case Counted():
                self.counted(delta)
                return
            case Stop(reason=reason):
                self.stopped, self._reasons = True, (reason,)
                return
            case Text(text=text) | Reasoning(text=text) | CallArguments(text=text):
                self._heard += len(text.encode())
            case CallBegun(name=name):
                self._heard += len(name)
        if self._first_ms is None:
            self._first_ms = self._elapsed()

    def happened(self) -> Happened:
        """Its entry and its event, on whatever exit it came to."""
        entry = self._entry()
        answered = entry.status is Status.ANSWERED
        data = facts(self.intent, entry) | {"stage": None if answered else self._stage()}
        data |= {"answered_by": self._answered_by, "finish_reasons": self._reasons}
        if self.fault:
            data["message"] = self.fault.message
        if isinstance(self.fault, UpstreamFailed):
            data["upstream_status"], data["reason"] = self.fault.answered, self.fault.reason
        if self.intent.reports_cost and self._charged_nano != self._believed():
            data["unbelieved_nano"] = self._charged_nano
            log.warning("provider charges more than a call can cost", attempt=entry.id, nano=self._charged_nano)
        return Happened(
            account_id=entry.account_id,
            session_id=entry.session_id,
            stream=self.intent.stream,
            type="model.answered" if answered else "model.failed",
            data=data,
            entry=entry,
        )

    def _entry(self) -> Entry:
        usage, exact = self._used()
        calls, hosted_nano = self._ran(exact=exact) if self.intent.hosted else (0, 0)
        return self.intent.entry(
            self._status(),
            usage,
            prices.bill(usage, self.intent.price, exact=exact, charged_nano=self._believed(), hosted_nano=hosted_nano),
            hosted_calls=calls,
            hosted_nano=hosted_nano,
            error_class=self.fault.code if self.fault else None if self.stopped else "cancelled",
            first_token_ms=self._first_ms,
            total_ms=self._elapsed(),
            upstream_id=self.upstream_id,
        )

    def _status(self) -> Status:
        if self.stopped and self.fault is None:
            return Status.ANSWERED
        return Status.FAILED if self._free() else Status.CUT

    def _used(self) -> tuple[Usage, bool]:
        """What it used, and whether the provider said so: of both sides, and to the end, for some count as they speak
        (Google) or begin with the input (Anthropic)."""
        told = self._usage or Usage()
        if (self.stopped or self._last) and told.total_input and (told.total_output or not self._heard):
            return told, True
        if self._free():
            return Usage(), True
        return self._estimated(told), False

    def _estimated(self, told: Usage) -> Usage:
        """What was told, and in the place of what wasn't an estimate, which is never above what was reserved."""
        if not told.total_input:
            told = replace(told, input=self.intent.input_estimate)
        if self._unheard() and not told.total_output:
            return replace(told, output=self.intent.max_output)
        if not self._heard or (self.stopped and told.total_output):
            return told
        said = min(estimate(self._heard), self.intent.max_output)
        return replace(told, output=told.output + max(0, said - told.total_output))

    def _unheard(self) -> bool:
        """May the provider have worked to the end without a word of it here? It got the request, and we hung up, or
        what it sent in one piece was lost. One that hangs up itself before it speaks has nothing to bill but the
        input."""
        if self._heard or self.stopped or self._last:
            return False
        if not isinstance(self.fault, UpstreamFailed) or self.fault.code == "upstream_stalled":
            return True
        return self.whole and not self.fault.refused

    def _believed(self) -> int | None:
        """What the provider says it charges, if it is one that is asked for that and it is no more than the call can
        cost."""
        told = self._charged_nano
        if told is None or not self.intent.reports_cost:
            return None
        most = self.intent.ceiling_nano
        return told if most is None or told <= most else None

    def _ran(self, *, exact: bool) -> tuple[int, int]:
        """Uses of the provider's tools, and what they cost. Where nobody counted to the end, each ran once at least."""
        if self._free():
            return 0, 0
        least = 0 if exact else 1
        ran = {name: max(least, self._hosted.get(name, 0)) for name in self.intent.hosted}
        return sum(ran.values()), sum(count * self.intent.hosted[name] for name, count in ran.items())

    def _free(self) -> bool:
        """The provider refused before a word and counted nothing, or was never reached: nobody bills that."""
        refused = isinstance(self.fault, UpstreamFailed) and self.fault.refused and self._first_ms is None
        used = self._usage or Usage()
        return (refused and not used.total_input and not used.total_output) or self.unsent

    def _stage(self) -> str:
        """Where it broke: at the provider, or here (the session ended, we were stopped)."""
        return "upstream" if isinstance(self.fault, UpstreamFailed) else "session"

    def _elapsed(self) -> int:
        return round((self._clock.monotonic() - self._started) * 1000)


def requested(intent: Intent, held_nano: int | None, dropped: tuple[str, ...]) -> Happened:
    """The event of an admitted call."""
    data: dict[str, Any] = {
        "attempt": intent.id,
        "number": intent.attempt,
        "alias": intent.alias,
        "provider": intent.provider,
        "model": intent.model,
        "wire": intent.wire,
        "held_nano": held_nano,
        "dropped": list(dropped),
    }
    return Happened(
        account_id=intent.account_id,
        session_id=intent.session_id,
        stream=intent.stream,
        type="model.requested",
        data=data,
    )


def facts(intent: Intent, entry: Entry) -> dict[str, Any]:
    """What the event of a settled attempt says of it."""
    return {
        "attempt": entry.id,
        "number": entry.attempt,
        "alias": entry.alias,
        "provider": entry.provider,
        "model": entry.model,
        "wire": entry.wire,
        "status": entry.status.value,
        "error": entry.error_class,
        "tokens": {name: count for name in CLASSES if (count := getattr(entry.usage, name))},
        "began": intent.at,
        "upstream_id": entry.upstream_id,
        "hosted_calls": entry.hosted_calls,
        "cost_nano": entry.cost_nano,
        "cost_source": entry.cost_source,
        "first_token_ms": entry.first_token_ms,
        "total_ms": entry.total_ms,
    }


def moved(intent: Intent, step: Step, fault: Fault) -> Happened:
    """The event of a call that goes on: asked again there, or elsewhere."""
    target = step.target
    data: dict[str, Any] = {
        "after": intent.id,
        "alias": intent.alias,
        "provider": target.provider,
        "model": target.model,
    }
    data |= {"wait_ms": round(step.wait_s * 1000), "error": fault.code, "message": fault.message}
    return Happened(
        account_id=intent.account_id,
        session_id=intent.session_id,
        stream=intent.stream,
        type=f"model.{step.move}",
        data=data,
    )
