"""Spans by OpenTelemetry, one for each request, by OTLP over HTTP. Needs the extra `otel`; `OTEL_…` configures it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from sidecar.events import SecurityEvent, Served
from sidecar.trace_context import NewIds, TraceContext, read_traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_log = logging.getLogger(__name__)
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wants_tracing(environ: Mapping[str, str]) -> bool:
    """Return whether the environment asks for spans: an endpoint or exporter is named, and none switches it off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter == "otlp" or (exporter == "" and any(environ.get(name) for name in _ENDPOINTS))


def open_tracing(environ: Mapping[str, str], ids: NewIds) -> Tracing | None:
    """Return what makes spans if the environment asks for it; None otherwise, and where the extra is not installed."""
    if not wants_tracing(environ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import IdGenerator
    except ImportError:
        _log.warning("OTEL_… asks for traces, which need the extra: pip install 'chat-sidecar[otel]'")
        return None
    given = _GivenIds()
    provider = TracerProvider(
        id_generator=cast(IdGenerator, given), resource=Resource.create({"service.name": _service(environ)})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, given, ids)


def _service(environ: Mapping[str, str]) -> str:
    return environ.get("OTEL_SERVICE_NAME") or "chat-sidecar"


class _GivenIds:
    """An IdGenerator of the SDK that gives what was decided when the request came."""

    def __init__(self) -> None:
        self.trace = 0
        self.span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span

    def is_trace_id_random(self) -> bool:
        return True


class Tracing:
    """Traces whose spans are made here, and an EventSink that makes them once a request is over."""

    def __init__(self, provider: TracerProvider, given: Any, ids: NewIds) -> None:
        self._provider = provider
        self._given = given
        self._ids = ids
        self._tracer = provider.get_tracer("sidecar")

    def of(self, traceparent: bytes | None) -> TraceContext:
        """Return the trace of a request; the backend receives our span as its parent."""
        from opentelemetry.sdk.trace.sampling import Decision

        trace, span = self._ids.draw()
        passed = read_traceparent(traceparent)
        if passed is not None:
            header = f"00-{passed.trace_id}-{span}-{int(passed.sampled):02x}".encode()
            return TraceContext(passed.trace_id, passed.parent_id, span, passed.sampled, header)
        decided = self._provider.sampler.should_sample(None, int(trace, 16), "request")
        sampled = decided.decision is Decision.RECORD_AND_SAMPLE
        return TraceContext(trace, "", span, sampled, f"00-{trace}-{span}-{int(sampled):02x}".encode())

    def record(self, event: SecurityEvent) -> None:
        """Events have lines of their own."""

    def served(self, served: Served) -> None:
        """Make the span of a finished request: names, statuses and times, no text."""
        trace = served.trace
        if trace is None or not trace.span_id or not trace.sampled:
            return
        from opentelemetry import trace as api

        parent = None
        if trace.parent_id:
            flags = api.TraceFlags(api.TraceFlags.SAMPLED)
            context = api.SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, flags)
            parent = api.set_span_in_context(api.NonRecordingSpan(context))
        self._given.trace, self._given.span = int(trace.trace_id, 16), int(trace.span_id, 16)
        begun = int(served.at * 1e9)
        span = self._tracer.start_span(
            f"{served.method} {served.route}",
            context=parent,
            kind=api.SpanKind.SERVER,
            start_time=begun,
            attributes={
                "http.request.method": served.method,
                "http.response.status_code": served.status,
                "url.path": served.path,
                "sidecar.route": served.route,
                "sidecar.organization": served.organization,
                "sidecar.request_id": served.request_id,
                "sidecar.overhead_ms": served.overhead * 1000,
            },
        )
        if served.status >= 500:
            span.set_status(api.StatusCode.ERROR)
        span.end(begun + int(served.duration * 1e9))

    def close(self) -> None:
        """Send what waits; takes up to the exporter's timeout, so call it in a thread."""
        self._provider.shutdown()
