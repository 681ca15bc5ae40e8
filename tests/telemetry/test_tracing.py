"""When spans are asked for; what they say is in tests/integration/test_tracing.py."""

from __future__ import annotations

import pytest

from sidecar.telemetry.tracing import wants_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
CASES = {
    "nothing said": ({}, False),
    "an endpoint": (ENDPOINT, True),
    "an endpoint of traces": ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
    "the exporter": ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
    "no exporter": ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    "switched off": ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
}


@pytest.mark.parametrize(("environ", "wanted"), CASES.values(), ids=CASES)
def test_when_spans_are_made(environ, wanted) -> None:
    assert wants_tracing(environ) is wanted
