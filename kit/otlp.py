"""Spans to a collector by OTLP/HTTP, off the caller's path: a bounded queue, and a thread that sends what is in it.

OpenTelemetry's SDK does it; it comes with the extra `otel`, so this file is imported only where traces are on. The SDK
reads the OTEL_… variables that are left to it: timeouts, compression, certificates, the queue's size, resource
attributes. A collector that can't be reached is said once, and once when it is back.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from kit.metrics import Counter
from kit.observe import log
from kit.traces import Context, Kind, Span

KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.CLIENT: SpanKind.CLIENT, Kind.PRODUCER: SpanKind.PRODUCER}
SPANS = Counter("preloop_spans_total", "Spans that were made, by what became of them.", "outcome")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Sends spans of one process. `endpoint` is the whole address of the traces, or None for what the variables say;
    so are `headers`."""

    def __init__(
        self,
        *,
        service: str,
        scope: str,
        ratio: float,
        about: Mapping[str, str | Sequence[str]],
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells each failure; we tell the first
        told = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES: the operator's word
        self._resource = Resource.create({SERVICE_NAME: service, **about}).merge(told)
        self._scope = InstrumentationScope(scope)
        self._sampler = TraceIdRatioBased(ratio)
        self._sending = _Telling(OTLPSpanExporter(endpoint, headers=headers or None))
        self._queue = BatchSpanProcessor(self._sending)

    def keeps(self, context: Context) -> bool:
        """Is this trace sent? Every process answers the same."""
        if context.sampled is not None:
            return context.sampled
        return self._sampler.should_sample(None, context.trace, "").decision is Decision.RECORD_AND_SAMPLE

    def send(self, span: Span) -> None:
        """Never waits: when the queue is full, what is oldest in it goes."""
        self._queue.on_end(self._readable(span))

    def close(self, limit_s: float) -> None:
        """Send what is queued, for so long at most. Blocks."""
        ending = threading.Thread(target=self._queue.shutdown, name="traces-close", daemon=True)
        ending.start()
        ending.join(limit_s)
        self._sending.shutdown()

    def _readable(self, span: Span) -> ReadableSpan:
        trace = span.context.trace
        return ReadableSpan(
            span.name,
            context=_context(trace, span.id),
            parent=_context(trace, span.parent) if span.parent else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            links=[Link(_context(*one)) for one in span.links],
            kind=KINDS[span.kind],
            status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
            start_time=_nanos(span.start),
            end_time=max(_nanos(span.start), _nanos(span.end)),
            instrumentation_scope=self._scope,
        )


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False, trace_flags=_SAMPLED)


def _nanos(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


class _Telling(SpanExporter):
    """Says in the log when spans can't be sent, and when they can again; not each time."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:
            log.debug("spans broke their export", error=str(error))
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        SPANS.add("failed" if failed else "sent", by=len(spans))
        if failed and not self._failing:
            log.warning("traces can't be sent; what is not sent is dropped. Said once, until they can be again.")
        elif self._failing and not failed:
            log.info("traces are sent again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._inner.shutdown()
