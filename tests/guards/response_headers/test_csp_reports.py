"""Browsers' reports: read in both forms, reduced to a directive and a host, and to nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision import Answer
from sidecar.guards.response_headers.csp_advice import Advice
from sidecar.guards.response_headers.csp_reports import MAX_REPORTS, CspReportGuard, blocked_source, violations
from sidecar.stores.csp_violations import CspViolations, Violation
from sidecar.vocabulary import Event
from tests.support.exchanges import exchange

OLD = {"csp-report": {"violated-directive": "script-src 'self'", "blocked-uri": "inline"}}
NEW = [{"type": "csp-violation", "body": {"effectiveDirective": "img-src", "blockedURL": "https://evil.example/a?b=c"}}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(json.dumps(OLD), [Violation("script-src", "inline")], id="report-uri"),
        pytest.param(json.dumps(NEW), [Violation("img-src", "evil.example")], id="report-to"),
        pytest.param(json.dumps(NEW * 500), [Violation("img-src", "evil.example")] * MAX_REPORTS, id="too many"),
        pytest.param('[{"type":"deprecation","body":{}}, 5, null]', [], id="other reports"),
        pytest.param(
            '{"csp-report":{"violated-directive":"<x>","blocked-uri":7}}',
            [Violation("other", "other")],
            id="wrong types",
        ),
        pytest.param("{broken", [], id="no JSON"),
        pytest.param("", [], id="nothing"),
        pytest.param("7", [], id="a number"),
    ],
)
def test_what_a_body_reports(body, expected) -> None:
    assert list(violations(body.encode())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inline", "inline"), ("eval", "eval"), ("wasm-eval", "wasm-eval"), ("data", "data"), ("blob", "blob"),
        ("data:text/html,x", "data"), ("blob:https://x/y", "blob"),
        ("https://CDN.example:8443/path/secret?token=x#y", "cdn.example:8443"), ("https://u:p@cdn.example/", "cdn.example"),
        ("wss://live.example/socket", "wss://live.example"), ("http://plain.example/", "http://plain.example"),
        ("chrome-extension://abc/x.js", "extension"), ("moz-extension", "other"), ("https://[::1]:3000/", "[::1]:3000"),
        ("", "other"), ("https://", "other"), ("https://[broken", "other"), ("not a url", "other"),
    ],
)  # fmt: skip
def test_what_was_blocked(text, expected) -> None:
    assert blocked_source(text) == expected


@given(st.text(max_size=300))
def test_nothing_but_a_word_or_a_host_is_taken(text) -> None:
    found = blocked_source(text)
    assert len(found) <= 270
    assert not set(found) & set("?#@/ \n\r\"'") or found.startswith(("ws://", "wss://", "http://"))


def test_a_report_is_counted_and_its_line_of_the_policy_is_named() -> None:
    counts = CspViolations()
    guard = CspReportGuard(
        counts, lambda violation: Advice("security_headers.preset", "policy.yaml:4", "write preset: app")
    )
    answer = guard.inspect(exchange("POST"), json.dumps(OLD).encode())
    assert isinstance(answer, Answer)
    assert answer.status == 204
    (finding,) = answer.findings
    assert (finding.event, finding.detail) == (
        Event.CSP_VIOLATION,
        {
            "directive": "script-src", "blocked": "inline", "count": 1,
            "key": "security_headers.preset", "place": "policy.yaml:4", "instead": "write preset: app",
        },
    )  # fmt: skip
    assert guard.inspect(exchange("POST"), json.dumps(OLD).encode()) == Answer(204)
    assert (counts.reports, counts.directives) == (2, {"script-src": 2})
