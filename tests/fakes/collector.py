"""A collector of traces: a web server that takes OTLP/HTTP as OpenTelemetry's own messages describe it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.serving import serving


@dataclass(frozen=True)
class Got:
    """One span as it came."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    service: dict[str, Any]


@dataclass
class Collector:
    url: str = ""
    status: int = 200
    spans: list[Got] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    came: anyio.Event = field(default_factory=anyio.Event)

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.status == 200:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {one.key: _value(one.value) for one in resource.resource.attributes}
                self.spans += [_got(span, service) for scope in resource.scope_spans for span in scope.spans]
        self.came.set()
        self.came = anyio.Event()
        return Response(b"", self.status, media_type="application/x-protobuf")

    async def has(self, *names: str, limit_s: float = 60) -> dict[str, Got]:
        """All spans by their names, once those with these are among them."""
        with anyio.fail_after(limit_s):
            while True:
                found = {span.name: span for span in self.spans}
                if set(names) <= found.keys():
                    return found
                await self.came.wait()


def _got(span: Sent, service: dict[str, Any]) -> Got:
    return Got(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=Sent.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes={one.key: _value(one.value) for one in span.attributes},
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        service=service,
    )


def _value(value: AnyValue) -> Any:
    name = value.WhichOneof("value")
    if name == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, name or "string_value")


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    kept = Collector()
    app = Starlette(routes=[Route("/v1/traces", kept.take, methods=["POST"])])
    async with serving(app) as url:
        kept.url = url
        yield kept
