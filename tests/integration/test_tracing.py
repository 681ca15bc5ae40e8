"""Traces over the wire: to the backend, into every log line, to the metrics, and as spans to a collector."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.support.backends import Backend, Serving, answer
from tests.support.raw import get, post
from tests.support.sidecar import Running, threaded, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"


def heard(front: Running, backend: Backend, raw: bytes):
    with front.connect() as client:
        client.send(raw)
        peer = backend.accept()
        request = peer.request()
        peer.send(answer())
        return request, client.response()


def test_a_trace_is_passed_on_and_stands_in_every_line(front: Running, backend: Backend):
    request, reply = heard(front, backend, get("/", f"traceparent: {SAMPLED}", "tracestate: a=1,b=2"))
    assert request.get(b"traceparent") == SAMPLED.encode()
    assert request.get(b"tracestate") == b"a=1,b=2"
    assert front.logged(request_id=reply.get(b"x-request-id").decode())["trace_id"] == TRACE
    with front.connect() as client:
        refused = client.send(post("/", b"{}", "Origin: https://evil.example", f"traceparent: {SAMPLED}")).response()
    name = refused.get(b"x-request-id").decode()
    front.logged(request_id=name, category="ACCESS")
    assert [line["trace_id"] for line in front.lines() if line["request_id"] == name] == [TRACE, TRACE]


def test_one_is_begun_that_is_not_recorded(front: Running, backend: Backend):
    for lines in ((), ("traceparent: 00-none", "tracestate: a=1")):
        request, reply = heard(front, backend, get("/", *lines))
        backend.forget()
        made = re.fullmatch(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-00", request.get(b"traceparent") or b"")
        assert made is not None
        assert request.get(b"tracestate") is None
        assert front.logged(request_id=reply.get(b"x-request-id").decode())["trace_id"] == made[1].decode()


def test_a_trace_is_the_example_of_its_bucket(front: Running, backend: Backend):
    heard(front, backend, get("/", f"traceparent: {SAMPLED}"))
    until(lambda: TRACE in front.fetch("/metrics", "application/openmetrics-text; version=1.0.0")[1], "an exemplar")
    assert re.search(
        r'sidecar_request_duration_seconds_bucket\{[^}]*\} \S+ # \{trace_id="' + TRACE + r'"\} \S+ \S+',
        front.fetch("/metrics", "application/openmetrics-text; version=1.0.0")[1],
    )
    assert TRACE not in front.fetch("/metrics")[1]


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry.sdk") is None, reason="needs the extra otel")
def test_spans_reach_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with Serving(lambda _: answer(b"", content_type="application/x-protobuf")) as collector, Serving() as backend:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "chat"}
        for name, value in env.items():
            monkeypatch.setenv(name, value)  # the SDK reads the process's own
        with threaded(tmp_path, backend.url, env=env) as running:
            for lines in ((f"traceparent: {SAMPLED}",), (f"traceparent: 00-{TRACE}-{SPAN}-00",), ()):
                with running.connect() as client:
                    client.send(get("/a?secret=1", *lines)).response()
        exported = ExportTraceServiceRequest()
        for request in collector.seen:
            exported.MergeFromString(request.body)
    spans = [
        span for each in exported.resource_spans for scope in each.scope_spans for span in scope.spans
    ]  # the unsampled one is not among them
    assert len(spans) == 2
    passed, begun = spans
    assert (passed.trace_id.hex(), passed.parent_span_id.hex()) == (TRACE, SPAN)
    told = [request.get(b"traceparent").decode().split("-") for request in backend.seen]
    assert told[0][1:] == [TRACE, passed.span_id.hex(), "01"]
    assert told[1][1] == TRACE
    assert told[1][3] == "00"
    assert told[2][1:] == [begun.trace_id.hex(), begun.span_id.hex(), "01"]
    assert begun.parent_span_id == b""
    assert "secret" not in str(spans)
    assert passed.name == "GET unmatched"
    assert passed.end_time_unix_nano > passed.start_time_unix_nano
