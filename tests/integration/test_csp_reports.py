"""A page that the Content-Security-Policy breaks: counted, and the log says which line of the policy allows it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.backends import Serving
from tests.support.raw import get, post
from tests.support.sidecar import threaded

REPORT = {"csp-report": {"effective-directive": "script-src-elem", "blocked-uri": "inline"}}
LIMITS = [
    {"name": "chat", "per": "ip", "limit": 2, "window": "1h"},
    {"name": "all", "per": "ip", "limit": 50, "window": "1h", "counts": "all"},
]


def test_strict_is_one_word_and_its_violations_name_that_word(tmp_path: Path) -> None:
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, security_headers={"preset": "strict"}, rate_limits=LIMITS) as running,
        running.connect() as client,
    ):
        policy = client.send(get("/")).response().get(b"content-security-policy") or b""
        assert b"script-src 'self';" in policy
        assert policy.endswith(b"; report-uri /.csp-reports")
        for _ in range(5):
            raw = post("/.csp-reports", json.dumps(REPORT).encode())
            assert client.send(raw).response().status == 204
        assert client.send(get("/.csp-reports")).response().status == 405
        assert client.send(post("/.csp-reports", b"x" * 70_000)).response().status == 413
        line = running.logged(event="CSP_VIOLATION")
        written = next(n for n, text in enumerate(running.policy.read_text().splitlines(), 1) if "preset" in text)
        assert line["detail"] == {
            "directive": "script-src-elem", "blocked": "inline", "count": 1, "key": "security_headers.preset",
            "place": f"{running.policy}:{written}", "instead": "write preset: app",
        }  # fmt: skip
        assert running.metric("sidecar_csp_violations_total", directive="script-src-elem") == 5
        assert running.metric("sidecar_csp_reports_total") == 5


def test_reports_take_nothing_of_a_chat_limit(tmp_path: Path) -> None:
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, rate_limits=LIMITS) as running,
        running.connect() as client,
    ):
        for _ in range(10):
            assert client.send(post("/.csp-reports", json.dumps(REPORT).encode())).response().status == 204
        assert [client.send(post("/api/chat", b"{}")).response().status for _ in range(3)] == [200, 200, 429]


def test_observe_mode_blocks_nothing_and_leaves_the_backends_own_policy(tmp_path: Path) -> None:
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, mode="observe") as running,
        running.connect() as client,
    ):
        reply = client.send(get("/")).response()
        assert reply.get(b"content-security-policy") is None
        assert b"script-src" in (reply.get(b"content-security-policy-report-only") or b"")
        assert reply.get(b"reporting-endpoints") == b'csp="/.csp-reports"'


def test_no_reports_are_asked_for_where_the_path_is_null(tmp_path: Path) -> None:
    listen = {"public": {"paths": {"csp_reports": None}}}
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, listen=listen) as running,
        running.connect() as client,
    ):
        reply = client.send(get("/.csp-reports")).response()
        assert (reply.status, reply.get(b"reporting-endpoints")) == (200, None)
