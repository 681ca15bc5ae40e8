"""What Prometheus reads from a sidecar that has worked."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import get, post
from tests.support.sidecar import ORIGIN, Running
from tests.support.tools import need

ALWAYS = [
    "sidecar_security_events_total", "sidecar_requests_total", "sidecar_request_duration_seconds_bucket",
    "sidecar_overhead_seconds_bucket", "sidecar_backend_duration_seconds_bucket", "sidecar_active_requests",
    "sidecar_active_streams", "sidecar_rate_limit_decisions_total", "sidecar_sessions_active", "sidecar_bans_active",
    "sidecar_policy_info", "sidecar_policy_last_reload_successful", "sidecar_policy_last_reload_timestamp_seconds",
    "sidecar_build_info",
]  # fmt: skip
"""With samples from the first request on, whatever the policy says."""
DECLARED = ["sidecar_store_up", "sidecar_credential_expiry_timestamp_seconds", "sidecar_llm_tokens_total"]
"""Known from the start; samples come with Redis, with credentials that expire, with answers that count tokens."""


@pytest.fixture
def worked(front: Running, backend: Backend) -> Running:
    with front.connect() as client:
        client.send(post("/api/chat", b'{"message": "hi"}', f"Origin: {ORIGIN}"))
        peer = backend.accept()
        peer.request()
        peer.send(answer())
        assert client.response().status == 200
        client.send(get("/secret-path-7", "Origin: https://evil.example"))
        assert client.response().status == 403
    return front


def test_promtool_accepts_it(worked: Running):
    text = worked.fetch("/metrics")[1]
    done = subprocess.run(
        [need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ALWAYS)
def test_every_metric_of_the_contract_has_samples(worked: Running, name: str):
    assert re.search(rf"^{name}(\{{[^}}]*\}})? \S+$", worked.fetch("/metrics")[1], re.MULTILINE)


@pytest.mark.parametrize("name", DECLARED)
def test_every_other_metric_of_the_contract_is_declared(worked: Running, name: str):
    family = name.removesuffix("_total")
    assert re.search(rf"^# TYPE {family}(_total)? (counter|gauge)$", worked.fetch("/metrics")[1], re.MULTILINE)


def test_openmetrics_when_asked(worked: Running):
    text = worked.fetch("/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
    assert text.endswith("# EOF\n")


def test_labels_are_of_closed_sets(worked: Running):
    text = worked.fetch("/metrics")[1]
    assert "secret-path-7" not in text
    assert "evil.example" not in text
    assert "127.0.0.1" not in text


def test_counts_are_of_what_happened(worked: Running, backend: Backend):
    before = worked.metric("sidecar_requests_total", route="chat", method="POST", status="200")
    backend.forget()
    with worked.connect() as client:
        client.send(post("/api/chat", b'{"message": "again"}'))
        peer = backend.accept()
        peer.request()
        peer.send(answer())
        client.response()
    assert worked.metric("sidecar_requests_total", route="chat", method="POST", status="200") == before + 1
    assert worked.metric("sidecar_security_events_total", event="CHAT_MESSAGE_PROCESSED", route="chat") >= before + 1
    assert worked.metric("sidecar_security_events_total", event="CORS_BLOCKED", outcome="refused") >= 1
    assert worked.metric("sidecar_rate_limit_decisions_total", limit="wide", decision="allowed") >= 2
    assert worked.metric("sidecar_active_requests") == 0
